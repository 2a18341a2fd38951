"""One cluster for the session, and what each test of it gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.cluster.node import NoNamespacesError
from tests.cluster.slurm import Cluster, why_not

#: With the value `required`, a machine that cannot have the cluster fails the tests instead of skipping them.
WANTED = os.environ.get("TEST_CLUSTER", "")


@pytest.fixture(scope="session")
def _session_cluster() -> Iterator[Cluster]:
    if reason := why_not():
        _do_without(reason)
    running = Cluster()
    try:
        try:
            running.begin()
        except NoNamespacesError as error:
            _do_without(str(error))
        yield running
    finally:
        running.end()


@pytest.fixture
def cluster(_session_cluster: Cluster) -> Iterator[Cluster]:
    """Two nodes with a real Slurm, without jobs: what a test leaves on them is taken away."""
    yield _session_cluster
    _session_cluster.tidy()


def _do_without(reason: str) -> NoReturn:
    if WANTED == "required":
        pytest.fail(reason)
    pytest.skip(reason)
