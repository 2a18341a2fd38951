"""The halves of messages are put together as MPI delivered them, whatever came when, and never by guessing."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

from braid_hpc.collectors.mpi.journal import (
    ACTS,
    CALLS,
    CANCELLING,
    FAILED,
    MESSAGES,
    NEIGHBOURS,
    POSTED,
    RECEIVED,
    UNSENT,
)
from braid_hpc.compaction.collective_calls import CALL_COLUMNS, CALL_STREAM
from braid_hpc.compaction.compact import compact
from braid_hpc.compaction.direct_calls import ACT_COLUMNS, ACT_STREAM, NEIGHBOUR_COLUMNS, NEIGHBOUR_STREAM
from braid_hpc.compaction.messages import COLUMNS, STREAM
from tests.jobs import Job, deliver, digests, edges_of, made, rows
from tests.traffic import ANY, Ranks, informed


def states(store: Any) -> list[tuple[Any, ...]]:
    return rows(store, "select source, dest, tag, sent, received, matched, state from channels order by all")


def test_columns_are_those_of_the_collector() -> None:
    assert (STREAM, dict(COLUMNS)) == MESSAGES
    assert (CALL_STREAM, dict(CALL_COLUMNS)) == CALLS
    assert (NEIGHBOUR_STREAM, dict(NEIGHBOUR_COLUMNS)) == NEIGHBOURS
    assert (ACT_STREAM, dict(ACT_COLUMNS)) == ACTS


def test_messages_between_two_activities_are_one_edge_with_a_count(tmp_path: Path) -> None:
    """Walked only where it is named, and nothing cascades along it."""
    with Job(tmp_path / "logs", 2) as job:
        ranks = Ranks(job)
        with job[0].activity("one"):
            for _ in range(5):
                ranks.journals[0].sent(1, 0, 100, "d")
        with job[1].activity("two"):
            for _ in range(5):
                ranks.journals[1].note(RECEIVED, 0, 0, ranks.journals[1].post(), 100, "d")
            job[1].data("result")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == {("activity:two@1", "activity:one@1")}
        assert rows(store, "select messages, bytes from messages") == [(5, 500)]
        assert [node.ref for node in store.lineage("data:result").nodes] == ["data:result@1", "activity:two@1"]
        named = store.lineage("data:result", relations=["wasGeneratedBy", "wasInformedBy"])
        assert "activity:one@1" in [node.ref for node in named.nodes]
        store.invalidate("activity:one", cause="wrong")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert rows(store, "select count(*) from invalidations") == [(1,)]
        assert all(node.valid == (node.name != "one") for node in store.lineage("data:result").nodes)


def test_rows_that_lack_a_number_stop_nobody(tmp_path: Path) -> None:
    """Those of messages and of collective calls are told of once for each writer, and the other ranks are merged."""
    for _ in range(2):
        with Job(tmp_path / "logs", 2) as job:
            ranks = Ranks(job)
            with job[0].activity("one"):
                ranks.journals[0].sent(1, 0, 100, "d")
            with job[1].activity("two"):
                ranks.journals[1].note(RECEIVED, 0, 0, ranks.journals[1].post(), 100, "d")
            with job[0].activity("odd"):
                for name, columns in (MESSAGES, CALLS):
                    stream = job[0].stream(name, columns)
                    for missing in columns:
                        stream.append(
                            *(None if each == missing else "" if k == "text" else 1 for each, k in columns.items())
                        )
                    large = {"number": 2**63 - 1}
                    stream.append(*(large.get(each, "" if kind == "text" else 1) for each, kind in columns.items()))
                odd = {"text": "no record", "uint64": ranks.journals[0].comm}
                job[0].stream(*MESSAGES).append(*(odd.get(kind, 1) for kind in MESSAGES[1].values()))
        compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == {(f"activity:two@{n}", f"activity:one@{n}") for n in (1, 2)}
        said = rows(store, "select message from problems where given like 'mpi%' order by all")
    assert said == [
        *2 * [("10 rows of mpi_messages lack a number or have an impossible one, and are not matched",)],
        *2 * [("11 rows of mpi_collectives lack a number or have an impossible one, and are not matched",)],
    ]


def test_what_was_sent_with_a_record_is_used_by_the_activity_that_received_it(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        ranks = Ranks(job)
        with job[0].activity("one"):
            peaks = job[0].data("peaks")
            before = ranks.journals[0].carry(peaks)
            ranks.journals[0].sent(1, 0, 100, "d")
            ranks.journals[0].record = before
            ranks.journals[0].sent(1, 1, 100, "d")
        for tag, name in enumerate(("with", "without")):
            with job[1].activity(name):
                ranks.journals[1].note(RECEIVED, 0, tag, ranks.journals[1].post(), 100, "d")
                job[1].data(f"made-{name}")
    for part in (0, 1):
        deliver(job.folder(1 - part), tmp_path / "copies")
        compact(tmp_path / "copies", tmp_path / "parts.duckdb")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert edges_of(store, "used") == {("activity:with@1", "data:peaks@1")}
        assert "data:peaks@1" in [node.ref for node in store.lineage("data:made-with").nodes]
        assert "data:peaks@1" not in [node.ref for node in store.lineage("data:made-without").nodes]
    assert digests(tmp_path / "parts.duckdb", numbers=False) == digests(tmp_path / "prov.duckdb", numbers=False)


def _pair(ranks: Ranks, number: int, *, sent: int = 8, received: int = 8) -> None:
    comm = ranks.journals[0].comm
    with ranks.job[0].activity(f"s{comm}-{number}"):
        ranks.journals[0].sent(1, 0, sent, "d")
    with ranks.job[1].activity(f"r{comm}-{number}"):
        ranks.journals[1].note(RECEIVED, 0, 0, ranks.journals[1].post(), received, "d")


def _edge(comm: int, number: int) -> tuple[str, str]:
    return f"activity:r{comm}-{number}@1", f"activity:s{comm}-{number}@1"


def test_nothing_is_matched_by_guessing(tmp_path: Path) -> None:
    """Each trouble is on a communicator of its own, and ends its channel there."""
    doubtful = (FAILED, CANCELLING, POSTED)
    with Job(tmp_path / "logs", 2) as job:
        # A pair that disagrees in bytes; a size that is not known agrees with any.
        ranks = Ranks(job, 1)
        for number, received in enumerate((8, -1, 9, 8)):
            _pair(ranks, number, received=received)
        # A send that may be cancelled.
        ranks = Ranks(job, 2)
        _pair(ranks, 0)
        ranks.journals[0].note(UNSENT, 1, 0, ranks.journals[0].sent(1, 0, 8, "d"))
        _pair(ranks, 1)
        # A second thread.
        ranks = Ranks(job, 3)
        _pair(ranks, 0)
        other = Thread(target=_pair, args=(ranks, 1))
        other.start()
        other.join()
        _pair(ranks, 2)
        # A receive of which nobody knows what it took: any message with its tag, and none with another.
        for comm, what in enumerate(doubtful, start=4):
            ranks = Ranks(job, comm)
            _pair(ranks, 0)
            journal = ranks.journals[1]
            journal.note(what, ANY, 0, journal.post())
            _pair(ranks, 1)
            with job[0].activity(f"s{comm}-other"):
                ranks.journals[0].sent(1, 5, 8, "d")
            with job[1].activity(f"r{comm}-other"):
                journal.note(RECEIVED, 0, 5, journal.post(), 8, "d")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        expected = {_edge(1, 0), _edge(1, 1), _edge(2, 0), _edge(3, 0)}
        for comm in (4, 5, 6):
            expected |= {_edge(comm, 0), (f"activity:r{comm}-other@1", f"activity:s{comm}-other@1")}
        assert informed(store) == expected
        found = rows(
            store,
            "select comm, sent, received, matched, state from channels where source = 0 and tag = 0 order by comm",
        )
        assert found == [
            (1, 4, 4, 2, "broken"),
            (2, 3, 2, 1, "unmatched"),
            (3, 3, 3, 1, "ambiguous"),
            *((comm, 2, 2, 1, "unmatched") for comm in (4, 5, 6)),
        ]
        told = "2 messages from rank 0 to rank 1 with tag 0 on communicator 1:"
        assert rows(store, "select message from problems where message like '%broken%' order by 1") == [
            (f"{told} received as numbers 2 to 3, broken",),
            (f"{told} sent as numbers 2 to 3, broken",),
        ]
        assert rows(store, "select comm, first, last, side, messages from unmatched where state = 'cancelled'") == [
            (2, 1, 1, "sent", 1)
        ]
        assert rows(
            store, "select comm, source, tag, side, messages from unmatched where state = 'unresolved' order by 1"
        ) == [(comm, -1, 0, "posted", 1) for comm in (4, 5, 6)]


def test_messages_of_a_missing_log_are_unmatched(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        _pair(Ranks(job), 0)
    for rank, expected in ((0, (0, 1, 0, 1, 0, 0, "unmatched")), (1, (0, 1, 0, 0, 1, 0, "unmatched"))):
        deliver(job.folder(rank), tmp_path / f"only-{rank}")
        with made(tmp_path / f"only-{rank}", tmp_path / f"{rank}.duckdb") as store:
            assert states(store) == [expected]
            said = f"{'received' if rank else 'sent'} as number 0, unmatched"
            (message,) = rows(store, "select message from problems where code = 'message'")
            assert message == (
                f"1 message from rank 0 to rank 1 with tag 0 on communicator 7: {said} "
                f"(rank {1 - rank} has told nothing of this communicator)",
            )


def test_a_receive_that_was_completed_unseen_is_matched_when_its_log_is_complete(tmp_path: Path) -> None:
    """Its envelope is known since it was posted, and the ones behind it show that it took its message."""
    with Job(tmp_path / "logs", 2) as job:
        ranks = Ranks(job)
        with job[0].activity("sender"):
            ranks.journals[0].sent(1, 0, 8, "d")
        with job[1].activity("receiver"):
            ranks.journals[1].note(POSTED, 0, 0, ranks.journals[1].post())
        deliver(job.folder(1), tmp_path / "copies")
        deliver(job.folder(0), tmp_path / "copies")
        with made(tmp_path / "copies", tmp_path / "early.duckdb") as store:
            assert informed(store) == set()
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert informed(store) == {("activity:receiver@1", "activity:sender@1")}


def test_a_stream_of_that_name_with_other_columns_is_left_alone(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 1) as job:
        job[0].stream("mpi_messages", {"comm": "text"}).append("mine")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert rows(store, "select comm from stream.mpi_messages") == [("mine",)]
        assert informed(store) == set()
