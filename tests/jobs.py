"""Jobs for tests: ranks that record in this process, and stores that are made of their logs."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from braid_hpc.compaction.compact import compact
from braid_hpc.run.process import world_size
from braid_hpc.run.recorder import Run
from braid_hpc.store.store import Store
from tests.ranks import LAUNCHER_VARIABLES


class Job:
    """All ranks of one run, open at once: `job[2]` is what rank 2 records with.

    They are real runs with real logs; only the launcher's variables are made up. Handles of one rank may be given to
    another one as they are, which is what a message would do with them.
    """

    def __init__(
        self,
        logs: Path,
        size: int = 1,
        *,
        name: str = "job",
        launcher: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.logs = logs
        self.name = name
        self.size = size
        self._launcher = launcher
        self._env = {"BRAID_RUN_ID": uuid.uuid4().hex, **(env or {})}
        self.runs = [self._open(rank) for rank in range(size)]

    def _open(self, rank: int) -> Run:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_VARIABLES)}
        if self._launcher:
            kept |= self._env | {"PMI_RANK": str(rank), "PMI_SIZE": str(self.size)}
        # The world of this process stays out of the logs: other tests may have loaded MPI, and these ranks are made up.
        with patch.dict(os.environ, kept, clear=True), patch("braid_hpc.run.recorder.world_size", return_value=None):
            run = Run(self.name, log_dir=self.logs)
        run._world = world_size()
        return run

    def __getitem__(self, rank: int) -> Run:
        return self.runs[rank]

    def folder(self, rank: int) -> Path:
        """The directory of a rank's log."""
        return self.logs / self.runs[rank].writer.hex()

    def close(self) -> None:
        """End all ranks."""
        for run in self.runs:
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def one(logs: Path, name: str = "job") -> Job:
    """Give a run of one process without a launcher."""
    return Job(logs, 1, name=name, launcher=False)


def deliver(folder: Path, to: Path) -> Path:
    """Copy a rank's log as it is now, as a copy from its node would: what was delivered before is replaced."""
    target = to / folder.name
    for _ in range(100):
        if target.exists():
            shutil.rmtree(target)
        try:
            return Path(shutil.copytree(folder, target))
        except (shutil.Error, FileNotFoundError):
            # A tail was sealed and removed meanwhile.
            continue
    raise AssertionError(f"{folder} changes faster than it is copied")


def made(logs: Path, store: Path) -> Store:
    """Compact, and open the store."""
    compact(logs, store)
    return Store(store)


def digests(store: Path, *, numbers: bool = True) -> dict[str, str]:
    """Give the digest of every table."""
    with Store(store) as opened:
        return opened.digests(numbers=numbers)


def rows(store: Store | Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask in SQL."""
    if isinstance(store, Path):
        with Store(store) as opened:
            return rows(opened, query, *values)
    return [tuple(row.values()) for row in store.sql(query, list(values))]


def count(store: Store | Path, table: str, where: str = "true") -> int:
    """Count rows."""
    return int(rows(store, f"select count(*) from {table} where {where}")[0][0])


def edges_of(store: Store, relation: str = "wasDerivedFrom") -> set[tuple[str, str]]:
    """Give all edges of a relation as (child, parent), each `kind:name@n`."""
    found = rows(
        store,
        "select c.kind || ':' || c.name || '@' || c.version, p.kind || ':' || p.name || '@' || p.version "
        "from edges e join nodes c on c.id = e.child join nodes p on p.id = e.parent where e.relation = ?",
        relation,
    )
    return {(child, parent) for child, parent in found}


def has_cycle(store: Store) -> bool:
    """Whether any version is its own ancestor, by derivation or content; asked in SQL, apart from what is tested."""
    return bool(
        rows(
            store,
            "with recursive f as (select * from edges where relation in ('wasDerivedFrom', 'same-content')), "
            "up(start, id) as (select child, parent from f "
            "union select start, f.parent from up join f on f.child = up.id) "
            "select 1 from up where start = id limit 1",
        )
    )
