"""Files of formats that do not exist yet, and what a directory looks like, to the byte and the nanosecond."""

from __future__ import annotations

import struct
from pathlib import Path

import duckdb
import h5py
from xxhash import xxh3_64_intdigest

from braid_hpc.log.header import unpack_header, write_header
from tests.rank_logs import overwrite


def newer_major(folder: Path, part: str) -> None:
    """Make a log, or the store in a folder, one of format 9."""
    if part == "header":
        write_header(folder, unpack_header((folder / "header.json").read_bytes()) | {"major": 9})
    elif part == "tail":
        path = sorted(folder.glob("tail-*"))[-1]
        head = bytearray(path.read_bytes()[:80])
        struct.pack_into("<H", head, 8, 9)
        overwrite(path, 0, bytes(head) + struct.pack("<Q", xxh3_64_intdigest(bytes(head))))
    elif part == "arrays":
        with h5py.File(folder / "arrays-1.h5", "r+", libver=("v110", "v110")) as file:
            file.attrs["format"] = "braid arrays 9"
    else:
        store_version(folder, "major", 9)


def store_version(store: Path, which: str, number: int) -> None:
    """Let a store say that its format is another one; `which` is ``major`` or ``minor``."""
    for path in {path.resolve() for path in (store, *store.with_name(store.name + ".d").glob("*.duckdb"))}:
        path.chmod(0o644)
        with duckdb.connect(str(path)) as connection:
            connection.execute("update meta set value = ? where key = ?", [str(number), which])
            connection.execute("checkpoint")


def states(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Give mode, size, time of change and bytes of everything below a folder."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        state = path.stat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (state.st_mode, state.st_size if data else 0, state.st_mtime_ns, data)
    return found
