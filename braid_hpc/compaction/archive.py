"""The archive beside a store: what each commit took from the logs, so that the store can be made again.

One directory for each commit, complete before the snapshot is published. The files of a log that nobody writes any
more are linked into it where the file system can, which costs nothing; else its rows are copied into
``events.arrows`` and its large batches into ``batches.arrows``, a part at a time, each with its sum in the file of
sums beside it. ``writers.jsonl`` says whose they are and what was found of each log, ``numbers.tsv`` which version
numbers were given, ``arrays.jsonl`` which arrays were copied, and ``commit.json``, written last, when, after which
commit, and the sums of these three. Ranks that shared the work have files ``events-<rank>.arrows`` and so on of their
own. It is read again in :mod:`braid_hpc.compaction.archived`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.compaction.archive_files import file_sum
from braid_hpc.compaction.archive_part import ArchivePart, part_file, sync_tree
from braid_hpc.compaction.extract import Speaker
from braid_hpc.log.header import pack_header
from braid_hpc.snapshots.files import sync_path

if TYPE_CHECKING:
    from braid_hpc.compaction.commit import Commit
    from braid_hpc.compaction.write import Writer

__all__ = ["ARCHIVE", "MAJOR", "Archive", "Elsewhere"]

ARCHIVE = "braid archive"
MAJOR = 1
MINOR = 0

#: Gives the parts of an archive that others have kept: the number of each, from 1, and its directory.
Elsewhere = Callable[[], Iterable[tuple[int, Path]]]


class Archive(ArchivePart):
    """Writes the archive of one commit.

    Parameters
    ----------
    directory : Path
        Made here; it must not exist.
    elsewhere : callable, optional
        Gives the parts that others have kept, closed and on the disk.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, directory: Path, elsewhere: Elsewhere | None = None) -> None:
        super().__init__(directory)
        self._elsewhere = elsewhere

    def take_line(self, line: dict[str, Any], number: int) -> None:
        """Add a writer that another part keeps.

        Parameters
        ----------
        line : dict
            Of :attr:`lines` there.
        number : int
            Of the part.
        """
        self.lines.append({**line, "part": number})

    def finish(self, commit: Commit, out: Writer) -> None:
        """Complete the archive and bring it to the disk.

        Parameters
        ----------
        commit : Commit
            What was taken.
        out : Writer
            Which has given the numbers.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self.close()
        for about, facts in zip(self.lines, commit.taken, strict=True):
            about |= {"apart": commit.apart.get(facts.writer), **_state(facts)}
        files = {
            "writers.jsonl": self._write("writers.jsonl", map(_line, self.lines)),
            "numbers.tsv": self._write("numbers.tsv", (f"{uid}\t{number}\n" for uid, number in out.numbering())),
            "arrays.jsonl": self._write("arrays.jsonl", (_line(row) for row in commit.arrays)),
        }
        about = {
            "format": ARCHIVE,
            "major": MAJOR,
            "minor": MINOR,
            "snapshot": commit.snapshot,
            "tag": commit.tag,
            "base": commit.base,
            "committed_ns": commit.committed,
            "braid_version": commit.version,
            "cuts": commit.cuts,
            "lost_arrays": commit.lost_arrays,
            "counts": commit.counted(out),
            "files": files,
        }
        (self.directory / "commit.json").write_bytes(pack_header(about))
        sync_tree(self.directory)
        for number, folder in self._elsewhere() if self._elsewhere is not None else ():
            self._adopt(number, folder)
        sync_path(self.directory)
        # The name too: a published snapshot whose archive is gone after a power cut could not be made again.
        sync_path(self.directory.parent)

    def _adopt(self, number: int, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            name = path.name if path.is_dir() else part_file(path.stem, number) + path.suffix
            os.rename(path, self.directory / name)

    def _write(self, name: str, lines: Iterator[str]) -> dict[str, Any]:
        with (self.directory / name).open("x") as file:
            file.writelines(lines)
        return file_sum(self.directory / name)


def _line(value: Any) -> str:
    return json.dumps(value) + "\n"


def _state(facts: Speaker) -> dict[str, Any]:
    """Return what was found of a log that its rows do not say, and which of its rows were there."""
    log = facts.log
    return {
        "taken": facts.taken.flat(),
        "there": log.ranges.flat(),
        "state": str(log.state),
        "faults": log.faults,
        "lost": log.lost,
        "closed": None if log.close is None else {"outcome": log.outcome, "error": log.close.error},
        "header": log.header,
        "process": None if log.process is None else [str(log.process.how), log.process.code, log.process.utc_ns],
    }
