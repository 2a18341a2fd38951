"""What every collector must do, as tests: derive from :class:`CollectorContract` in a test module of yours.

Needs pytest, and the extra ``store`` to look at what was recorded; it is the one module here that is not for ranks.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.losses import STREAM
from braid_hpc.collectors.protocol import Collector
from braid_hpc.run.null import NullRun
from braid_hpc.vocabulary.errors import BraidError

__all__ = ["CollectorContract", "PublicOnly"]


class PublicOnly:
    """A run that has nothing but its public interface.

    Parameters
    ----------
    run : Run
        The run behind it.
    """

    def __init__(self, run: Any) -> None:
        self.__run = run

    def __bool__(self) -> bool:
        """Whether something is recorded."""
        return bool(self.__run)

    def __getattr__(self, name: str) -> Any:
        """Return what is public.

        Raises
        ------
        AssertionError
            If it is asked for something else.
        """
        if name.startswith("_"):
            raise AssertionError(f"a collector asked a run for {name}, which is not public")
        return getattr(self.__run, name)


class CollectorContract:
    """The behaviour that :class:`braid_hpc.collectors.protocol.Collector` describes.

    A test class derives from it and says what its collector is, in the four methods that raise here.

    Attributes
    ----------
    module : str
        Name of the module that is imported by a rank.
    heavy : tuple of str
        Packages that importing it must not bring.
    memory_bytes : int
        What the collector may come to hold while it is fed what it cannot take (bytes).
    """

    module = ""
    heavy: tuple[str, ...] = ("numba", "torch", "onnxruntime", "pyarrow", "duckdb", "h5py", "mpi4py", "bluesky")
    memory_bytes = 4 << 20

    def make(self, run: Any) -> Any:
        """Make a collector in a run."""
        raise NotImplementedError

    def feed(self, collector: Any, items: int) -> None:
        """Feed it so many good items."""
        raise NotImplementedError

    def spoil(self, collector: Any) -> None:
        """Feed it one thing that it has to count as lost, such as comes from a damaged or hostile source."""
        raise NotImplementedError

    def recorded(self, store: Any) -> int:
        """Count the good items in a store."""
        raise NotImplementedError

    def misuse(self, collector: Any) -> None:
        """Call it as nobody should, where it has calls of its own; without that, its strictness is not tested."""
        pytest.skip("this collector has no call of its own that could be wrong")

    @pytest.fixture
    def braid_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        """Give a run as a program has it: nothing raises."""
        monkeypatch.setenv("BRAID_STRICT", "0")
        with braid.job("contract", log_dir=tmp_path / "contract-logs") as run:
            yield run

    def _store(self, run: Any, folder: Path) -> Any:
        run.close()
        braid.compact(folder / "contract-logs", folder / "contract.duckdb")
        return braid.open(folder / "contract.duckdb")

    def test_it_is_a_collector(self, braid_run: Any) -> None:
        """It has the run that it was given, and its losses, of which there are none yet."""
        collector = self.make(braid_run)
        assert isinstance(collector, Collector)
        assert collector.run is braid_run
        assert not collector.losses
        collector.close()

    def test_what_is_fed_is_recorded(self, braid_run: Any, tmp_path: Path) -> None:
        """Every item, through the public interface of the run alone."""
        collector = self.make(PublicOnly(braid_run))
        self.feed(collector, 3)
        collector.close()
        assert not collector.losses
        with self._store(braid_run, tmp_path) as store:
            assert self.recorded(store) == 3

    def test_bad_input_is_counted_and_told_once(
        self, braid_run: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The program goes on, good items after it are recorded, and the store has the count."""
        collector = self.make(braid_run)
        capfd.readouterr()
        for _ in range(3):
            self.spoil(collector)
        self.feed(collector, 2)
        collector.close()
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("braid: ")]
        assert len(told) == 1
        assert collector.losses.total >= 3
        with self._store(braid_run, tmp_path) as store:
            assert self.recorded(store) == 2
            (row,) = store.sql(f"select sum(count) as lost from stream.{STREAM}").to_pylist()
            assert int(row["lost"]) == collector.losses.total

    def test_a_wrong_call_is_counted(self, braid_run: Any) -> None:
        """It does not raise."""
        collector = self.make(braid_run)
        self.misuse(collector)
        assert collector.losses
        collector.close()

    def test_under_strict_a_wrong_call_raises(self, braid_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """As every recording call does then."""
        collector = self.make(braid_run)
        monkeypatch.setenv("BRAID_STRICT", "1")
        with pytest.raises(BraidError):
            self.misuse(collector)
        collector.close()

    def test_nothing_is_recorded_without_a_run(self) -> None:
        """The null run, which is what ``BRAID_DISABLE=1`` and a program outside of a job get, is a run."""
        collector = self.make(NullRun())
        self.feed(collector, 2)
        self.spoil(collector)
        collector.close()

    def test_it_is_closed_twice_and_after_its_run(self, braid_run: Any) -> None:
        """What comes after the end of the run is not recorded, and does not raise."""
        first, second = self.make(braid_run), self.make(braid_run)
        self.feed(first, 1)
        first.close()
        first.close()
        braid_run.close()
        self.feed(second, 1)
        self.spoil(second)
        second.close()

    def test_what_it_holds_is_bounded(self, braid_run: Any) -> None:
        """However often it is fed what it cannot take."""
        collector = self.make(braid_run)
        self.spoil(collector)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(500):
                self.spoil(collector)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < self.memory_bytes
        collector.close()

    def test_importing_it_brings_nothing_heavy(self) -> None:
        """A rank pays for a library only when it uses it."""
        program = f"import sys, {self.module}; print(*sorted(set({self.heavy!r}) & sys.modules.keys()))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.split() == []
