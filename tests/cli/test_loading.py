"""What is imported before a store is asked."""

from __future__ import annotations

import pytest

from tests.ranks import RunRanks

LOADING = """
import os, sys
{before}
environment = dict(os.environ)
from braid_hpc.cli.loading import load_store
load_store()
assert "numpy" in sys.modules
assert dict(os.environ) == environment
print(len(os.listdir("/proc/self/task")))
"""


def test_no_threads_are_started_for_linear_algebra(run_ranks: RunRanks) -> None:
    """The environment is as it was for what a command starts afterwards."""
    assert run_ranks(0, LOADING.format(before="os.environ.pop('OMP_NUM_THREADS', None)")).stdout == "1\n"


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_a_number_of_threads_that_was_chosen_is_left(run_ranks: RunRanks, name: str) -> None:
    run_ranks(0, LOADING.format(before=f"os.environ[{name!r}] = '2'"))
