"""Collective calls are nodes: told as far as the ranks that are known agree, and alike in whatever parts logs come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braid_hpc.compaction.compact import compact
from tests.jobs import Job, deliver, digests, edges_of, made, rows
from tests.traffic import Ranks, informed


def named(call: str, rank: int, number: Any) -> str:
    return f"activity:{call}-{rank}-{number}@1"


def around(node: str, gives: list[str], takes: list[str]) -> set[tuple[str, str]]:
    """The edges of a node."""
    return {(node, each) for each in gives} | {(each, node) for each in takes}


def in_parts(job: Job, folder: Path, order: list[int]) -> Path:
    """Merge logs one after the other."""
    for rank in order:
        deliver(job.folder(rank), folder / "copies")
        compact(folder / "copies", folder / "parts.duckdb")
    return folder / "parts.duckdb"


def test_each_call_is_one_node_with_an_edge_to_and_from_each_that_gives_and_takes(tmp_path: Path) -> None:
    calls = [("allreduce", -1), ("bcast", 1), ("barrier", -1), ("reduce", 0), ("alltoallv", -1), ("gatherv", 2)]
    with Job(tmp_path / "logs", 3) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            for number, (call, root) in enumerate(calls):
                with job[rank].activity(f"{call}-{rank}-{number}"):
                    journal.call(call, root, 10)
    expected = set()
    for number, (call, root) in enumerate(calls):
        every = [named(call, rank, number) for rank in range(3)]
        others = [each for rank, each in enumerate(every) if rank != root]
        gives = [every[root]] if call == "bcast" else others if root >= 0 else every
        takes = others if call == "bcast" else [every[root]] if root >= 0 else every
        expected |= around(f"collective:{call}@1", gives, takes)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == expected
        assert rows(store, "select call, size, root, ranks, calls, number from collectives order by number") == [
            (call, 3, root if root >= 0 else None, 3, 1, number) for number, (call, root) in enumerate(calls)
        ]
        assert rows(store, "select size, ranks, calls, matched, state from communicators") == [(3, 3, 6, 6, "matched")]
        assert rows(store, "select count(*) from problems") == [(0,)]
        # Bytes are told where something is given, and of what a broadcast brings.
        told = rows(
            store,
            "select n.name, sum(m.bytes) from messages m join nodes n on n.id = m.child "
            "where n.kind = 'collective' group by 1 order by 1",
        )
        assert told == [(call, 10 * sum(child == f"collective:{call}@1" for child, _ in expected)) for call, _ in told]


def test_repeats_by_the_same_activities_are_one_node_with_a_count(tmp_path: Path) -> None:
    """Also where calls of several kinds take turns; another activity of any rank begins another node."""
    with Job(tmp_path / "logs", 2) as job:
        journals = Ranks(job).journals
        for rank, journal in enumerate(journals):
            for epoch in range(2):
                with job[rank].activity(f"fit-{rank}-{epoch if rank == 0 else 'all'}"):
                    for _ in range(50):
                        journal.call("allreduce", -1, 8)
                        journal.call("bcast", 0, 8)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = rows(store, "select call, version, ranks, calls from collectives order by all")
        # Rank 1 has two activities of one name, so the second call of each is in another one on both ranks.
        assert found == [("allreduce", 1, 2, 50), ("allreduce", 2, 2, 50), ("bcast", 1, 2, 50), ("bcast", 2, 2, 50)]
        assert rows(store, "select count(*), sum(messages) from messages") == [(2 * 4 + 2 * 2, 50 * 12)]


def test_what_a_prefix_sum_gives_comes_from_the_ranks_before(tmp_path: Path) -> None:
    """Told by the last of these, so that no rank is informed by one behind it, and all are by those before."""
    with Job(tmp_path / "logs", 4) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            for call in ("scan", "exscan"):
                with job[rank].activity(f"{call}-{rank}-0"):
                    for _ in range(3):
                        journal.call(call, -1, 8)
                    job[rank].data(f"made-{call}-{rank}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        expected = {
            (named(call, rank + 1, 0), named(call, rank, 0)) for call in ("scan", "exscan") for rank in range(3)
        }
        assert informed(store) == expected
        assert rows(store, "select distinct messages, bytes from messages") == [(3, 24)]
        told = store.lineage("data:made-scan-2", relations=["wasGeneratedBy", "wasInformedBy"])
        assert {node.ref for node in told.nodes if node.kind == "activity"} == {named("scan", r, 0) for r in range(3)}


def test_a_collective_is_walked_only_where_it_is_named_and_nothing_cascades_along_it(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            with job[rank].activity(f"allreduce-{rank}-0"):
                journal.call("allreduce", -1, 8)
                job[rank].data(f"made-{rank}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        plain = {node.ref for node in store.lineage("data:made-0").nodes}
        assert plain == {"data:made-0@1", named("allreduce", 0, 0)}
        followed = {
            node.ref for node in store.lineage("data:made-0", relations=["wasGeneratedBy", "wasInformedBy"]).nodes
        }
        assert followed == plain | {"collective:allreduce@1", named("allreduce", 1, 0)}
        store.invalidate(named("allreduce", 1, 0)[:-2], cause="wrong")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert store.lineage("data:made-0").nodes[0].valid
        assert not store.lineage("data:made-1").nodes[0].valid


def test_the_log_of_one_rank_is_missing_and_comes_later(tmp_path: Path) -> None:
    """The others' part is told, with what is missing; the rest divides nodes, and takes nothing back."""
    with Job(tmp_path / "logs", 3) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            for part in range(4):
                # Rank 2 alone is in another activity for each two calls.
                name = f"fit-{rank}-{part // 2 if rank == 2 else 0}"
                if part == 0 or (rank == 2 and part == 2):
                    inside = job[rank].activity(name)
                    inside.__enter__()
                journal.call("allreduce", -1, 8)
                if part == 3 or (rank == 2 and part == 1):
                    inside.__exit__(None, None, None)
    store_path = in_parts(job, tmp_path, [1, 0])
    early = [named("fit", rank, 0) for rank in (0, 1)]
    with made(tmp_path / "copies", store_path) as store:
        before = around("collective:allreduce@1", early, early)
        assert informed(store) == before
        assert rows(store, "select ranks, calls, size from collectives") == [(2, 4, 3)]
        assert rows(store, "select size, ranks, calls, matched, state from communicators") == [
            (3, 2, 4, 0, "unmatched")
        ]
        (message,) = rows(store, "select message from problems where code = 'collective'")
        assert message == (
            "of 4 collective calls on communicator 7, 0 were made by all of its 3 ranks; logs of 2 are there "
            "(unmatched)",
        )
    in_parts(job, tmp_path, [2])
    with made(tmp_path / "copies", store_path) as store:
        first, second = [*early, named("fit", 2, 0)], [*early, named("fit", 2, 1)]
        both = around("collective:allreduce@1", first, first) | around("collective:allreduce@2", second, second)
        assert informed(store) == both > before
        assert rows(store, "select distinct messages from messages") == [(2,)]
        assert rows(store, "select count(*) from problems") == [(0,)]
    compact(tmp_path / "logs", tmp_path / "whole.duckdb")
    assert digests(store_path, numbers=False) == digests(tmp_path / "whole.duckdb", numbers=False)


def test_ranks_that_do_not_agree_are_told_apart_from_there_on(tmp_path: Path) -> None:
    """Each group of ranks with one history goes on for itself, and one that is alone has nothing to tell."""
    with Job(tmp_path / "logs", 4) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            for number, call in enumerate(("allreduce", "barrier" if rank < 2 else "allgather", "alltoall")):
                with job[rank].activity(f"{call}-{rank}-{number}"):
                    if number < 2 or rank != 3:
                        journal.call(call, -1, 8)
    every = [named("allreduce", rank, 0) for rank in range(4)]
    low = [named("barrier", rank, 1) for rank in (0, 1)]
    high = [named("allgather", rank, 1) for rank in (2, 3)]
    last = [named("alltoall", rank, 2) for rank in (0, 1)]
    expected = around("collective:allreduce@1", every, every) | around("collective:barrier@1", low, low)
    expected |= around("collective:allgather@1", high, high) | around("collective:alltoall@1", last, last)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == expected
        assert rows(store, "select calls, matched, state from communicators") == [(3, 1, "broken")]
        assert rows(store, "select count(*) from problems where code = 'collective'") == [(1,)]
    parts = in_parts(job, tmp_path, [3, 0, 2, 1])
    assert digests(parts, numbers=False) == digests(tmp_path / "prov.duckdb", numbers=False)


def test_calls_outside_of_activities_make_no_edges_and_count_all_the_same(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            journal.call("barrier", -1, -1)
            with job[rank].activity(f"barrier-{rank}-1"):
                journal.call("barrier", -1, -1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        every = [named("barrier", rank, 1) for rank in range(2)]
        assert informed(store) == around("collective:barrier@1", every, every)
        assert rows(store, "select matched from communicators") == [(2,)]


def test_prov_has_a_collective_as_an_activity(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        for rank, journal in enumerate(Ranks(job).journals):
            with job[rank].activity(f"allreduce-{rank}-0"):
                journal.call("allreduce", -1, 8)
                job[rank].data(f"made-{rank}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        answer = store.lineage("data:made-0", relations=["wasGeneratedBy", "wasInformedBy"])
        text = answer.to_prov().get_provn()
        assert text.count("wasInformedBy(") == 4
        assert text.count("activity(") == 3
        assert edges_of(store, "wasGeneratedBy") > set()
