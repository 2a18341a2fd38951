"""The ground that the tests in this folder stand on: pytest itself runs on several ranks that reach each other."""

import os

import pytest

pytestmark = pytest.mark.mpi(min_size=2)


def test_ranks_form_one_world() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    pids = world.allgather(os.getpid())
    assert len(pids) == world.size
    assert len(set(pids)) == world.size
    assert pids[world.rank] == os.getpid()


def test_a_sum_over_all_ranks_is_the_same_everywhere() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank + 1)
    assert total == world.size * (world.size + 1) // 2
