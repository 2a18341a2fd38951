"""Which writers are ranks of one run, by what their headers say."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.runs import absent_ranks, group_runs
from tests.jobs import count, deliver, one, rows

Header = dict[str, Any]


def ranks(size: int, prefix: str, **about: Any) -> dict[str, Header]:
    """Give the headers of all ranks of a launch on one host."""
    common: Header = {
        "job": "fit",
        "ordinal": 0,
        "size": size,
        "launcher": "mpich",
        "boot_id": "host-a",
        "argv": ["python", "fit.py"],
        "cwd": "/home",
        "clock": {"utc_ns": 0},
        "evidence": {"launcher": {"pid": 7, "start": 100}},
    }
    return {f"{prefix}{rank:02d}".ljust(32, "0"): {**common, "rank": rank, **about} for rank in range(size)}


def groups(headers: dict[str, Header], known: dict[str, str] | None = None) -> list[set[str]]:
    """Give the writers of each run, by the beginning of their names."""
    by: dict[str, set[str]] = {}
    for writer, run in group_runs(headers, known).run.items():
        by.setdefault(run, set()).add(writer[:3])
    return sorted(by.values(), key=sorted)


def test_ranks_of_one_launcher_are_one_run() -> None:
    assert groups(ranks(4, "a")) == [{"a00", "a01", "a02", "a03"}]


def test_two_launches_of_one_script_at_once_are_two_runs() -> None:
    """Their launchers' processes differ, and nothing else does."""
    second = ranks(4, "b", evidence={"launcher": {"pid": 8, "start": 101}})
    found = group_runs(ranks(4, "a") | second)
    assert len(set(found.run.values())) == 2
    assert not found.problems


def test_pids_that_come_again_after_a_boot_do_not_join_runs() -> None:
    assert len(groups(ranks(2, "a") | ranks(2, "b", boot_id="host-a-later"))) == 2


@pytest.mark.parametrize(
    "evidence",
    [
        {"run_id": "r"},
        {"pmix": "prterun-1@1|prterun-1;tcp"},
        {"torchrun": "job|0|29500"},
        {"scheduler": {"name": "slurm", "job": "7", "restart": 0, "step": "1"}},
    ],
)
def test_strong_evidence_joins_hosts(evidence: Header) -> None:
    """Ranks on two hosts have two launcher processes; what they share counts before that."""
    headers = ranks(4, "a", launcher="slurm")
    for rank, header in enumerate(headers.values()):
        header["boot_id"] = f"host-{rank // 2}"
        header["evidence"] = {**evidence, "launcher": {"pid": rank // 2, "start": 1}}
    assert len(groups(headers)) == 1


def test_a_requeued_job_is_another_run() -> None:
    """Job id and step are the same, the restart count is not."""
    both: dict[str, Header] = {}
    for restart, prefix in enumerate("ab"):
        scheduler = {"name": "slurm", "job": "7", "restart": restart, "step": "0"}
        both |= ranks(2, prefix, launcher="slurm", evidence={"scheduler": scheduler})
    assert len(groups(both)) == 2


def test_mpirun_twice_within_one_slurm_job_is_two_runs() -> None:
    """mpich's own launcher in a batch script: the step is the batch shell's for both."""
    both: dict[str, Header] = {}
    for pid, prefix in enumerate("ab"):
        scheduler = {"name": "slurm", "job": "7", "restart": 0, "step": None}
        both |= ranks(2, prefix, evidence={"scheduler": scheduler, "launcher": {"pid": pid, "start": 1}})
    assert len(groups(both)) == 2


def over_nodes(headers: dict[str, Header], launcher_pid: int) -> dict[str, Header]:
    """Lay ranks on two nodes that share a kernel and number their processes alike."""
    for rank, header in enumerate(headers.values()):
        header["host"] = f"n{rank % 2}"
        header["evidence"] = {**header["evidence"], "launcher": {"pid": launcher_pid, "start": 1}}
    return headers


def test_mpirun_over_the_nodes_of_a_slurm_job_is_one_run() -> None:
    """mpich's own launcher starts its proxies by a step: that holds the nodes together, and two launches apart."""
    both: dict[str, Header] = {}
    for step, prefix in enumerate("ab"):
        scheduler = {"name": "slurm", "job": "7", "restart": 0, "step": str(step)}
        both |= over_nodes(ranks(4, prefix, evidence={"scheduler": scheduler}), 32 + step)
    assert groups(both) == [{"a00", "a01", "a02", "a03"}, {"b00", "b01", "b02", "b03"}]


@pytest.mark.parametrize("evidence", ["step", "pmix"])
def test_launches_over_nodes_under_one_run_id(evidence: str) -> None:
    """Our job scripts set one id for all that they start: what the launches differ in tells them apart."""
    both: dict[str, Header] = {}
    for number, prefix in enumerate("ab"):
        scheduler = {"name": "slurm", "job": "7", "restart": 0, "step": str(number)}
        about: Header = {"run_id": "slurm-7-attempt-0", "scheduler": scheduler}
        if evidence == "pmix":
            about |= {"pmix": f"prterun-n0-8{number}@1|prterun-n0-8{number}@0", "scheduler": {**scheduler, "step": "0"}}
        both |= over_nodes(ranks(4, prefix, evidence=about), 32)
    assert groups(both) == [{"a00", "a01", "a02", "a03"}, {"b00", "b01", "b02", "b03"}]


@pytest.mark.parametrize("run_id", [{}, {"run_id": "by-hand"}])
def test_a_requeued_job_whose_launcher_has_the_same_name_again(run_id: Header) -> None:
    """A PMIx namespace is made of host, pid, job or step: all may come again after a restart."""
    both: dict[str, Header] = {}
    for restart, prefix in enumerate("ab"):
        scheduler = {"name": "slurm", "job": "7", "restart": restart, "step": "0"}
        about: Header = {"pmix": "slurm.pmix.7.0|pmix-server", "scheduler": scheduler, **run_id}
        both |= over_nodes(ranks(4, prefix, evidence=about), 32)
    assert groups(both) == [{"a00", "a01", "a02", "a03"}, {"b00", "b01", "b02", "b03"}]


def test_containers_on_one_machine_are_hosts() -> None:
    """They have one boot id, and their launchers may have one pid: the host's name tells them apart, or joins them."""
    headers = ranks(2, "a") | ranks(2, "b", cwd="/other")
    for writer, header in headers.items():
        header["host"] = writer[0]
    assert groups(headers) == [{"a00", "a01"}, {"b00", "b01"}]
    scattered = ranks(4, "a")
    for rank, header in enumerate(scattered.values()):
        header["host"] = f"n{rank // 2}"
    assert len(groups(scattered)) == 1


def test_one_run_id_for_two_launches_is_divided_by_launcher() -> None:
    """A script that calls mpirun twice under `braid run` gives both the id: a rank twice cannot be one run."""
    both: dict[str, Header] = {}
    for pid, prefix in enumerate("ab"):
        both |= ranks(2, prefix, evidence={"run_id": "r", "launcher": {"pid": pid, "start": 1}})
    assert groups(both) == [{"a00", "a01"}, {"b00", "b01"}]


def test_hosts_that_nothing_holds_together_are_joined_by_what_they_ran() -> None:
    """Equal command line, directory and size, each rank once, started within a minute."""
    headers = ranks(4, "a")
    for rank, header in enumerate(headers.values()):
        header["boot_id"] = f"host-{rank // 2}"
        header["clock"] = {"utc_ns": rank * 1_000_000_000}
    assert len(groups(headers)) == 1
    for header in headers.values():
        header["clock"] = {"utc_ns": int(header["rank"]) * 40_000_000_000}
    assert len(groups(headers)) == 2


def test_what_cannot_be_told_apart_stays_apart_and_is_said() -> None:
    """The same rank twice, and nothing differs: each is a run of its own, with a sentence."""
    headers = ranks(2, "a") | {"b00".ljust(32, "0"): ranks(2, "b")["b00".ljust(32, "0")]}
    found = group_runs(headers)
    assert len(set(found.run.values())) == 3
    assert len(found.problems) == 3
    assert "appears twice" in found.problems[0][1]


def test_two_jobs_in_one_process_are_two_runs() -> None:
    """Whether they have one name or two, and though the second follows in the same processes."""
    one_name = ranks(2, "a") | ranks(2, "b", ordinal=1)
    two_names = ranks(2, "a") | ranks(2, "b", job="predict")
    for headers in (one_name, two_names):
        assert groups(headers) == [{"a00", "a01"}, {"b00", "b01"}]


def test_a_job_that_one_rank_ran_before_does_not_shift_the_others() -> None:
    """Rank 0 prepares in a job of its own: the ranks of the job after it belong together all the same."""
    prepare = {"p00".ljust(32, "0"): ranks(4, "p", job="prepare")["p00".ljust(32, "0")]}
    assert groups(prepare | ranks(4, "a")) == [{"a00", "a01", "a02", "a03"}, {"p00"}]


def test_several_programs_of_one_launch_are_one_run() -> None:
    """MPMD: ranks 0 and 1 run a simulation, 2 and 3 its analysis; command lines and names of jobs differ."""
    headers = ranks(4, "a")
    for header in list(headers.values())[2:]:
        header.update(job="analyse", argv=["python", "analyse.py"])
    assert groups(headers) == [{"a00", "a01", "a02", "a03"}]


def test_programs_of_one_launch_that_come_in_two_commits() -> None:
    """The second one's ranks join the run that the first one's have."""
    headers = ranks(4, "a")
    for header in list(headers.values())[2:]:
        header.update(job="analyse")
    first = dict(list(headers.items())[:2])
    known = group_runs(first).run
    assert len(set(group_runs(headers, known).run.values())) == 1


def test_without_a_launcher_each_writer_is_a_run() -> None:
    alone = {writer: {**header, "size": None, "rank": None} for writer, header in ranks(3, "a").items()}
    assert len(groups(alone)) == 3


def test_a_forked_child_belongs_to_its_parents_run() -> None:
    """Also the child of a child, and also where the parent's log is not there (yet)."""
    headers = ranks(2, "a")
    parent, child, grandchild = "a01".ljust(32, "0"), "c".ljust(32, "0"), "d".ljust(32, "0")
    headers[child] = {**headers[parent], "parent": parent}
    headers[grandchild] = {**headers[parent], "parent": child}
    whole = group_runs(headers).run
    assert len(set(whole.values())) == 1
    alone = group_runs({child: headers[child]}).run
    assert alone[child] == whole[child]
    without: Header = {"size": None, "rank": None, "evidence": {}}
    serial = {parent: {**headers[parent], **without}, child: {**headers[child], **without}}
    assert group_runs({child: serial[child]}).run[child] == group_runs(serial).run[parent]


def test_a_damaged_header_is_a_run_of_its_own() -> None:
    assert len(groups(ranks(2, "a") | {"f" * 32: {}})) == 2


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["launcher", "pmix", "run_id"])), max_size=5), st.data())
def test_runs_do_not_depend_on_the_order_of_arrival(launches: list[tuple[int, str]], data: st.DataObject) -> None:
    """Launches of any sizes: each is one run, and any part of the logs before the rest leads to the same runs."""
    headers: dict[str, Header] = {}
    for number, (size, sort) in enumerate(launches):
        evidence: Header = {"launcher": {"pid": number, "start": 1}}
        if sort != "launcher":
            evidence[sort] = f"e{number}"
        headers |= ranks(size, "abcde"[number], evidence=evidence)
    whole = group_runs(headers).run
    assert len(set(whole.values())) == len(launches)
    writers = list(headers)
    random.Random(data.draw(st.integers())).shuffle(writers)
    cut = data.draw(st.integers(0, len(writers)))
    part = group_runs({writer: headers[writer] for writer in writers[:cut]}).run
    assert group_runs(headers, part).run == whole


# with real logs


def test_a_real_fork_belongs_to_its_parents_run(tmp_path: Path) -> None:
    """What a forked worker records is in its parent's run, as a writer that names its parent."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs) as job:
        source = job[0].data("source", digest="x:0")
        child = os.fork()
        if not child:
            try:
                job[0].data("worker", digest="x:1", derived_from=source)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    compact(logs, store)
    assert count(store, "runs") == 1
    assert rows(store, "select count(*), count(parent) from ranks") == [(2, 1)]
    assert rows(store, "select distinct run is not null from versions where name = 'worker'") == [(True,)]


def test_a_forks_log_that_comes_first(tmp_path: Path) -> None:
    """The child's log is compacted before its parent's: bit by bit gives what one go gives, activities included."""
    logs, store = tmp_path / "logs", tmp_path / "prov.duckdb"
    with one(logs) as job:
        source = job[0].data("source", digest="x:0")
        with job[0].activity("work", used=source):
            child = os.fork()
            if not child:
                try:
                    job[0].data("worker", digest="x:1")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
    some = tmp_path / "some"
    parent = job.folder(0)
    (other,) = set(logs.iterdir()) - {parent}
    for folder in (other, parent):
        deliver(folder, some)
        compact(some, store)
    compact(logs, tmp_path / "whole.duckdb")
    query = (
        "select c.name, p.name, e.relation from edges e join nodes c on c.id = e.child join nodes p on p.id = e.parent"
    )
    expected = [("work", "source", "used"), ("worker", "work", "wasGeneratedBy")]
    assert sorted(rows(tmp_path / "whole.duckdb", query)) == expected
    assert sorted(rows(store, query)) == expected
    assert rows(store, "select status from activities") == [("ok",)]


def test_ranks_without_a_log_are_told() -> None:
    """By run; a forked child is no rank of its own, and a run without a launcher lacks nobody."""
    headers = ranks(4, "a")
    gone = headers.pop(sorted(headers)[1])
    child = {**gone, "parent": sorted(headers)[0]}
    headers |= {"b".ljust(32, "0"): {**gone, "size": None, "rank": None}, "c".ljust(32, "0"): child}
    run = group_runs(headers).run
    assert absent_ranks(headers, run) == [(run[sorted(headers)[0]], 1)]
    assert absent_ranks(headers, {}) == []
