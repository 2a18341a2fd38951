"""Commands on rank logs: compact, check."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import Result

from braid_hpc.collectors.mpi.journal import CANCELLED, POSTED, RECEIVED
from braid_hpc.log.header import pack_header, unpack_header
from tests.jobs import Job, count, deliver
from tests.rank_logs import overwrite, small_tails
from tests.traffic import Ranks

Braid = Callable[..., Result]


def test_compact_says_what_it_did(cli: Braid, logs: Path, tmp_path: Path) -> None:
    """On stderr; stdout stays empty, because a compaction has no result to print."""
    store = tmp_path / "new.duckdb"
    done = cli("compact", logs, "--store", store)
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{store}: snapshot 1, " in done.stderr
    assert "events of 2 ranks" in done.stderr
    again = cli("compact", logs, "--store", store)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == f"nothing new in {logs}: {store} stays at snapshot 1\n"


def test_compact_tells_of_incomplete_logs(cli: Braid, tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        job[0].data("d", derived_from="data:nowhere")
        done = cli("compact", tmp_path / "logs", "--store", tmp_path / "prov.duckdb")
    assert done.exit_code == 0
    assert f"incomplete: 2 open of 2 logs; see 'braid check {tmp_path / 'logs'}'" in done.stderr
    assert "1 problems: braid sql --store" in done.stderr
    assert count(tmp_path / "prov.duckdb", "problems") == 1


def test_compact_takes_the_store_that_the_job_named(cli: Braid, tmp_path: Path) -> None:
    from braid_hpc.run.recorder import Run

    Run("job", log_dir=tmp_path / "logs", store=tmp_path / "named.duckdb").close()
    assert cli("compact", tmp_path / "logs").exit_code == 0
    assert (tmp_path / "named.duckdb").exists()


@pytest.mark.parametrize("case", ["missing", "empty", "not ours", "newer", "no store", "unwritable", "not a database"])
def test_compact_with_bad_input(cli: Braid, job: Job, tmp_path: Path, case: str) -> None:
    """One clear sentence and an exit code, and no traceback."""
    logs, store = job.logs, tmp_path / "new.duckdb"
    code = 3
    if case == "missing":
        logs, words = tmp_path / "nowhere", f"{tmp_path}/nowhere is not a directory"
    elif case == "empty":
        logs, words = tmp_path / "empty", "there are no rank logs in"
        logs.mkdir()
    elif case == "not ours":
        logs, words = tmp_path / "other", "there are no rank logs in"
        logs.mkdir()
        (logs / "header.json").write_text("{}")
    elif case == "newer":
        header = job.folder(0) / "header.json"
        header.write_bytes(pack_header({**unpack_header(header.read_bytes()), "major": 99}))
        code, words = 4, "this log is of format 99, this braid_hpc reads up to 1: update braid_hpc"
    elif case == "no store":
        done = cli("compact", logs)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr == "braid: these logs name no stores: say which with --store\n"
        return
    elif case == "unwritable":
        store, code, words = Path("/proc/new.duckdb"), 4, "cannot write beside /proc/new.duckdb"
    else:
        store.write_text("not a database\n" * 1000)
        code, words = 4, "is not a DuckDB file"
    done = cli("compact", logs, "--store", store)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert done.stderr.startswith("braid: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_compact_tells_of_ranks_without_a_log(cli: Braid, tmp_path: Path) -> None:
    """Ranks of the job whose logs are not here count as incomplete, until their logs have come."""
    with Job(tmp_path / "all", 4) as job:
        pass
    for rank, words in (
        (2, "incomplete: 3 absent of 4 logs;"),
        (0, "incomplete: 2 absent of 4 logs;"),
        (1, "incomplete: 1 absent of 2 logs;"),
        (3, ""),
    ):
        # The last two come in a directory of their own: the store knows the others.
        logs = deliver(job.folder(rank), tmp_path / ("logs" if rank in (0, 2) else "others")).parent
        done = cli("compact", logs, "--store", tmp_path / "prov.duckdb")
        assert done.exit_code == 0, done.output
        assert words in done.stderr
        assert words or "incomplete" not in done.stderr
    again = cli("compact", tmp_path / "logs", "--store", tmp_path / "prov.duckdb")
    assert "incomplete" not in again.stderr


def test_check_of_whole_logs(cli: Braid, logs: Path) -> None:
    """One row for each rank, in every format; nothing to say, exit code 0."""
    done = cli("check", logs, "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [(row["rank"], row["state"], row["faults"]) for row in rows] == [(0, "closed", ""), (1, "closed", "")]
    assert len({row["run"] for row in rows}) == 1
    assert [row["rank"] for row in csv.DictReader(io.StringIO(cli("check", logs, "--format", "csv").stdout))] == [
        "0",
        "1",
    ]
    assert len(cli("check", logs, "--format", "ndjson").stdout.splitlines()) == 2
    assert "closed" in cli("check", logs).stdout


def test_check_finds_what_is_wrong(cli: Braid, tmp_path: Path) -> None:
    """Absent, open, corrupt: exit code 1, each rank with its state, and what is damaged."""
    job = Job(tmp_path / "logs", 4)
    job[3].stream("s", {"x": "int64"}).extend({"x": list(range(10_000))})
    for rank in (0, 1, 3):
        job[rank].close()
    shutil.rmtree(job.folder(1))
    (file,) = job.folder(3).glob("stream-*.arrows")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = cli("check", tmp_path / "logs", "--format", "json")
    job.close()
    assert done.exit_code == 1
    rows = {row["rank"]: row for row in json.loads(done.stdout)}
    assert {rank: row["state"] for rank, row in rows.items()} == {0: "closed", 1: "absent", 2: "open", 3: "corrupt"}
    assert "rows 0 to 9999 of stream 1 cannot be read" in rows[3]["faults"]
    assert "3 of 4 logs need a look" in done.stderr


def test_check_tells_all_that_a_log_is(cli: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst as its state, everything as columns of their own; which events cannot be read; in a table, in words."""
    small_tails(monkeypatch)
    job = Job(tmp_path / "logs", 2)
    for number in range(100):
        job[0].data(f"d{number}", digest="x:0")
    log = job[0]._log
    log.seal()
    tail = log.tail
    first = tail.header.first
    log._lose(OSError("no room"))
    log._lose(OSError("no room"))
    sealed = log.directory / "events.arrows"
    os.truncate(sealed, sealed.stat().st_size - 1)
    overwrite(tail.path, 4096 + 3 * 64, b"\xff")
    overwrite(tail.path, 4096 + 4 * 64, b"\xff")
    done = cli("check", tmp_path / "logs", "--format", "json")
    damaged, other = json.loads(done.stdout)
    job.close()
    assert damaged["state"] == "corrupt"
    assert [damaged[name] for name in ("torn", "corrupt", "lossy", "unclosed", "lost")] == [True, True, True, True, 2]
    assert damaged["unread"] == f"{first - 64} to {first - 1}, {first + 3} to {first + 4}"
    assert [other[name] for name in ("state", "torn", "corrupt", "lossy", "unclosed", "unread")] == [
        *("open", False, False, False, True, "")
    ]
    shown = cli("check", tmp_path / "logs").stdout
    assert "corrupt, torn, lossy" in shown
    assert f"{log.writer.hex()[:8]} (rank 0): events that cannot be read: {damaged['unread']}" in shown


def test_check_tells_what_was_refused(cli: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's refusals, with the program's line and how often."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    with Job(tmp_path / "logs", 1) as job:
        for _ in range(3):
            job[0].data("d", digest="x:0", derived_from=object())
    done = cli("check", tmp_path / "logs")
    assert done.exit_code == 1
    assert "rejected: " in done.stderr
    assert f"{__file__}:" in done.stderr
    assert "is not a record" in done.stderr
    assert "(3 times)" in done.stderr


def test_check_tells_of_many_refusals_without_listing_all(
    cli: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first twenty sorts; of the rest how many, and where to find them."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    with Job(tmp_path / "logs", 1) as job:
        for n in range(50):
            job[0].data(f"d{n}", digest="x:0", derived_from=object())
    done = cli("check", tmp_path / "logs")
    assert done.stderr.count("rejected: ") == 20
    assert "and 30 more: braid compact, then braid sql 'from problems'" in done.stderr


def test_check_tells_what_stays_apart(cli: Braid, tmp_path: Path) -> None:
    """Occurrences whose merging would close a cycle, and writers that nothing tells apart."""
    with Job(tmp_path / "logs", 2) as job:
        for run, (first, second) in zip(job.runs, (("a", "b"), ("b", "a")), strict=True):
            start = run.data(first, digest=f"x:{first}", derived_from=run.data("seed", digest="s:0"))
            run.data(second, digest=f"x:{second}", derived_from=start)
    again = Job(tmp_path / "logs", 2, env={"BRAID_RUN_ID": job._env["BRAID_RUN_ID"]})
    again.close()
    done = cli("check", tmp_path / "logs")
    assert done.exit_code == 1
    assert "appears twice among writers that nothing tells apart" in done.stderr


def test_check_tells_of_a_cycle(cli: Braid, tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 2) as job:
        for run, (first, second) in zip(job.runs, (("a", "b"), ("b", "a")), strict=True):
            start = run.data(first, digest=f"x:{first}", derived_from=run.data("seed", digest="s:0"))
            run.data(second, digest=f"x:{second}", derived_from=start)
    done = cli("check", tmp_path / "logs")
    assert done.exit_code == 1
    assert "cycle: data:a would be its own ancestor if it were one version on all ranks" in done.stderr


def test_check_says_nothing_of_references_that_a_store_may_know(cli: Braid, tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 1) as job:
        job[0].data("d", digest="x:0", derived_from="model:of-another-run")
    assert cli("check", tmp_path / "logs").exit_code == 0


def test_check_and_compact_tell_of_messages_that_are_not_matched(cli: Braid, tmp_path: Path) -> None:
    """With communicator, ranks, tag and numbers, also where one log is missing; what was cancelled is no fault."""
    with Job(tmp_path / "logs", 3) as job:
        ranks = Ranks(job)
        one, two, three = ranks.journals
        for _ in range(3):
            one.sent(1, 5, 8, "d")
        two.note(RECEIVED, 0, 5, two.post(), 8, "d")
        two.note(CANCELLED, 0, 5, two.post())
        two.sent(0, 6, 8, "d")
        one.note(RECEIVED, 1, 6, one.post(), 9, "d")
        one.note(POSTED, -1, 7, one.post())
        one.sent(2, 8, 8, "d")
        for journal in ranks.journals:
            journal.call("barrier", -1, -1)
        three.call("barrier", -1, -1)
    shutil.rmtree(job.folder(2))
    done = cli("check", tmp_path / "logs")
    assert done.exit_code == 1
    about = "on communicator 7"
    assert (
        f"message: 2 messages from rank 0 to rank 1 with tag 5 {about}: sent as numbers 1 to 2, unmatched"
        in done.stderr
    )
    assert f"message: 1 message from rank 1 to rank 0 with tag 6 {about}: sent as number 0, broken" in done.stderr
    assert (
        f"message: 1 message from any rank to rank 0 with tag 7 {about}: posted as number 1, unresolved" in done.stderr
    )
    assert "(rank 2 has told nothing of this communicator)" in done.stderr
    assert f"cancelled: 1 receives from rank 0 to rank 1 with tag 5 {about}" in done.stderr
    assert f"collective: of 1 collective calls {about}, 0 were made by all of its 3 ranks" in done.stderr
    merged = cli("compact", tmp_path / "logs", "--store", tmp_path / "prov.duckdb")
    assert "messages of 5 channels and communicators are not all matched: braid sql" in merged.stderr


def test_check_of_nothing(cli: Braid, tmp_path: Path) -> None:
    assert cli("check", tmp_path / "nowhere").exit_code == 3
    assert cli("check").exit_code == 2


def test_a_store_of_a_newer_format(cli: Braid, logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "newer.duckdb"
    with duckdb.connect(str(store)) as connection:
        connection.execute("create table meta (key varchar, value varchar)")
        connection.execute("insert into meta values ('format', 'braid store'), ('major', '99')")
    for words in (["compact", logs], ["status"]):
        done = cli(*words, "--store", store)
        assert done.exit_code == 4
        assert "is of store format 99, this braid_hpc reads up to 1: update braid_hpc" in done.stderr
