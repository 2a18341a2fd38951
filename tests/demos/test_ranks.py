"""The ranks of the demos: alone, together, and where they cannot see each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from braid_hpc.demos.ranks import SIZE_VARIABLES, Ranks, join
from tests.ranks import RunRanks


def test_one_rank_needs_no_communicator() -> None:
    """Alone, a total is the block itself, and we agree with ourselves."""
    block = np.arange(3.0)
    assert Ranks().total(block) is block
    assert Ranks().all_same(b"weights")
    assert Ranks().all_well(True)
    assert not Ranks().all_well(False)
    assert Ranks().everyones("mine") == ["mine"]
    assert list(Ranks().share(3)) == [0, 1, 2]
    Ranks().abort()


@pytest.mark.parametrize("missing", [ImportError, RuntimeError])
def test_without_mpi_one_process_goes_on_and_several_do_not(
    monkeypatch: pytest.MonkeyPatch, missing: type[Exception]
) -> None:
    """A single process needs no mpi4py; four that could not find each other would overwrite each other's files."""

    def refuse(name: str) -> Any:
        raise missing("no MPI here")

    monkeypatch.setattr("importlib.import_module", refuse)
    for name in SIZE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert join() == Ranks()
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(RuntimeError, match="4 ranks were started, but mpi4py cannot be used: no MPI here"):
        join()


def test_ranks_that_cannot_see_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mpirun of another MPI every process counts one rank; that is said, not run."""
    alone = type("MPI", (), {"COMM_WORLD": type("Comm", (), {"size": 1, "rank": 0})})
    monkeypatch.setattr("importlib.import_module", lambda name: alone)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError, match="use the mpirun of the environment"):
        join()


AGREEMENT = """
import numpy as np
from braid_hpc.demos.ranks import join

ranks = join()
assert ranks.size == 3
assert ranks.total(np.ones(2)).tolist() == [3.0, 3.0]
assert ranks.all_same(b"equal")
assert not ranks.all_same(b"equal" if ranks.rank else b"other")
assert ranks.all_well(True)
assert not ranks.all_well(ranks.rank != 1)
assert ranks.everyones(ranks.rank * 10) == [0, 10, 20]
assert sorted(sum((list(part) for part in ranks.everyones(ranks.share(7))), [])) == list(range(7))
print("agreed", flush=True)
"""


@pytest.mark.mpi_matrix
def test_ranks_agree_or_not_together(run_ranks: RunRanks) -> None:
    """On three real ranks totals, agreement and health come out the same everywhere."""
    assert run_ranks(3, AGREEMENT).stdout.count("agreed") == 3
