"""One run of a demo on real ranks, and its store, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.store.store import Store
from tests.ranks import RunRanks


@dataclass(frozen=True, slots=True)
class Done:
    """A demo that has run: its directory, how many ranks it had, and its store, open."""

    folder: Path
    ranks: int
    store: Store


@pytest.fixture(scope="module")
def perform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perform]:
    """Run a demo on real ranks and merge what they recorded: `perform("slac", 2, folder)`."""
    performed = Perform(tmp_path_factory.mktemp("demo"))
    yield performed
    performed.end()


class Perform:
    """Runs demos, each in a directory in which its configuration may lie already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ranks = RunRanks(folder / "ranks")
        self._stores: list[Store] = []

    def __call__(self, name: str, ranks: int, folder: Path, *arguments: str) -> Done:
        # a fixture of a module does not see the environment that each test gets
        env = {"BRAID_STRICT": "1", "BRAID_LOG_DIR": None, "BRAID_STORE": None}
        self._ranks(ranks, "-m", f"braid_hpc.demos.{name}", "--dir", folder, *arguments, timeout=110, env=env)
        compact(folder / "logs", folder / "prov.duckdb")
        store = Store(folder / "prov.duckdb")
        self._stores.append(store)
        return Done(folder, ranks, store)

    def end(self) -> None:
        """Close the stores, and end what is left of the ranks."""
        for store in self._stores:
            store.close()
        self._ranks.end_all()


def shorter(path: Path, **values: float) -> None:
    """Change values of a TOML configuration file that is there."""
    lines = []
    for line in path.read_text().splitlines():
        key = line.partition(" =")[0]
        lines.append(f"{key} = {values.pop(key)}" if key in values else line)
    assert not values, f"{path.name} has no key {', '.join(values)}"
    path.write_text("\n".join(lines) + "\n")
