"""A job that PSI/J hands to Slurm, with the merge that depends on it."""

from __future__ import annotations

import json

import pytest

from tests.cluster.slurm import Cluster
from tests.cluster.submitting import Submitted, braid, specify

pytest.importorskip("psij", reason="PSI/J has an environment of its own: make test-psij")

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_job_and_its_merge(cluster: Cluster) -> None:
    """The ids are Slurm's; the job runs, ships, and the merge waits for its end, however it ended."""
    path = specify(cluster, {})
    said = braid(cluster, "submit", path.name, "--through", "psij", cwd=path.parent).stdout
    found = dict(line.split(maxsplit=1) for line in said.splitlines())
    directory = cluster.shared / found["directory"]
    job = Submitted(cluster, found["job"], found["compaction"], directory, path.parent / "prov.duckdb")
    assert f"Dependency=afterany:{job.job}" in cluster.run(["scontrol", "show", "job", job.compaction]).stdout
    assert json.loads((directory / "job.json").read_text())["scheduler"] == "slurm"
    job.ready()
    job.kill(3)
    job.go()
    counts = job.merged()["counts"]
    assert (counts["expected"], counts["complete"] + counts["open"]) == (4, 4)
    assert counts["open"] >= 1


def test_what_it_cannot_hand_over_is_refused(cluster: Cluster) -> None:
    path = specify(cluster, {"array": "0-3"})
    done = braid(cluster, "submit", path.name, "--through", "psij", cwd=path.parent, check=False)
    assert done.returncode == 2
    assert "PSI/J has no array jobs" in done.stderr
    path = specify(cluster, {"queue": None, "directives": ["--exclusive"]})
    done = braid(cluster, "submit", path.name, "--through", "psij", cwd=path.parent, check=False)
    assert done.returncode == 2
    assert "PSI/J cannot hand these directives" in done.stderr
    assert sorted(each.name for each in path.parent.iterdir()) == ["talk.py", "talk.toml"]
