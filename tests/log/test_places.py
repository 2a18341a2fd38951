"""Where logs go, and on which file system they lie."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from braid_hpc.log.places import SITE_VARIABLES, FileSystem, default_log_dir, file_system_of
from tests.rank_logs import tmpfs


@pytest.fixture(autouse=True)
def _no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRAID_LOG_DIR", *SITE_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_the_variable_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it is, whether it exists or not."""
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    monkeypatch.setenv("BRAID_LOG_DIR", "/somewhere/else")
    assert default_log_dir() == Path("/somewhere/else")


def test_then_the_node_local_directory_of_the_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first that is a directory; below it a folder of the user's own."""
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setenv("LOCAL_SCRATCH", str(tmp_path))
    assert default_log_dir() == tmp_path / f"braid-{os.getuid()}"


def test_then_the_temporary_directory() -> None:
    """Without any of them."""
    assert default_log_dir() == Path(tempfile.gettempdir()) / f"braid-{os.getuid()}"


def test_known_mounts_are_told() -> None:
    """Also for a path that does not exist."""
    assert file_system_of("/proc/no/such/file") == FileSystem("proc", "/proc")
    assert file_system_of("/sys").type == "sysfs"


def test_links_are_followed(tmp_path: Path) -> None:
    """What counts is where the bytes would lie."""
    (tmp_path / "link").symlink_to("/proc")
    assert file_system_of(tmp_path / "link" / "x").type == "proc"


def test_a_mount_with_a_blank_in_its_name(tmp_path: Path) -> None:
    """Which the kernel writes as an escape; a folder whose name only begins like it lies elsewhere."""
    with tmpfs(tmp_path / "a b", "1m") as mounted:
        (tmp_path / "a bc").mkdir()
        assert file_system_of(mounted / "x") == FileSystem("tmpfs", str(mounted))
        assert file_system_of(tmp_path / "a bc") == file_system_of(tmp_path)


@pytest.mark.parametrize(
    ("kind", "mappable", "volatile", "network"),
    [
        ("ext4", True, False, False),
        ("xfs", True, False, False),
        ("tmpfs", True, True, False),
        ("overlay", True, False, False),
        ("nfs4", False, False, True),
        ("lustre", False, False, True),
        ("gpfs", False, False, True),
        ("fuse.sshfs", False, False, True),
        ("btrfs", False, False, False),
        ("unknown", False, False, False),
    ],
)
def test_what_a_file_system_promises(kind: str, mappable: bool, volatile: bool, network: bool) -> None:
    """Only what is known to be good is mapped."""
    found = FileSystem(kind, "/")
    assert (found.mappable, found.volatile, found.network) == (mappable, volatile, network)
