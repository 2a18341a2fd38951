"""File systems that crash: a disk image mounted through a loop device, cut off, and mounted again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["Disk", "disk"]

#: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number: _IOR('X', 125, __u32).
SHUTDOWN = 0x8004587D
#: What is in memory only, the journal's too, is gone.
NO_LOG_FLUSH = 2

#: mkfs.xfs refuses less. The image has holes where nothing was written.
SIZE = {"ext4": 128 << 20, "xfs": 320 << 20}
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
#: Nothing comes to the disk by itself within a trial, however slow the machine is: else ext4 commits every 5 seconds.
OPTIONS = {"ext4": "loop,commit=600", "xfs": "loop"}
PACKAGE = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}


class Disk:
    """A file system that is mounted at `place`."""

    def __init__(self, image: Path, place: Path, options: str = "loop") -> None:
        self.image, self.place, self._options = image, place, options

    def crash(self) -> None:
        """Lose what the disk does not have; nothing can be written or read any more."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def mount(self) -> str:
        """Mount it, and replay its journal; return what was refused."""
        done = subprocess.run(["mount", "-o", self._options, self.image, self.place], capture_output=True, text=True)
        return done.stderr.strip() if done.returncode else ""

    def mount_again(self) -> None:
        """Take it off and mount it, as after a reboot."""
        subprocess.run(["umount", self.place], check=True, timeout=60)
        assert not (refused := self.mount()), refused

    def empty(self) -> None:
        """Remove all files."""
        for path in self.place.iterdir():
            if path.name != "lost+found":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def disk(folder: Path, kind: str) -> Iterator[Disk]:
    """Make and mount a file system; the test is skipped where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system to crash it needs root")
    if shutil.which(MAKE[kind][0]) is None:
        pytest.skip(f"there is no {MAKE[kind][0]} here (Debian has it in {PACKAGE[kind]})")
    image, place = folder / f"{kind}.image", folder / kind
    with image.open("wb") as file:
        file.truncate(SIZE[kind])
    subprocess.run([*MAKE[kind], image], check=True, capture_output=True)
    place.mkdir()
    made = Disk(image, place, OPTIONS[kind])
    if refused := made.mount():
        pytest.skip(f"an image cannot be mounted here: {refused}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
        image.unlink()
