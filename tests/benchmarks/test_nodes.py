"""What a job on many nodes comes to, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compaction_cases import Case
from benchmarks.nodes import BEGIN, END, MissingFiguresError, count, fitted, long, rates_of, size, tables, with_tables
from benchmarks.nodes_model import (
    AGAIN_BYTES,
    Cost,
    Job,
    Rates,
    Site,
    answer,
    behind,
    most_events_a_second,
    sensitivity,
    straight,
)
from benchmarks.rounds import Rounds

# 10 nodes of 4 ranks for 1,000 s at 5 events a second: 40 logs, 200,000 events, 20,000 on each node.
JOB = Job(nodes=10, ranks_per_node=4, events_per_second=5.0, hours=1000 / 3600)
SITE = Site(
    creates_per_second=100.0,
    writes_per_second=50.0,
    client_gb_per_second=0.001,
    all_gb_per_second=0.005,
    local_gb_per_second=0.002,
    merging_ranks=3,
)
RATES = Rates(
    log_bytes=Cost(event=100.0, log=400_000.0),
    files=3.0,
    first=Cost(anyhow=1.0, event=1e-5, log=0.01),
    all=Cost(anyhow=3.0, event=3e-5, log=0.05),
    memory=Cost(anyhow=200.0, log=0.5),
    store_bytes=Cost(anyhow=1e6, event=10.0),
    parts_bytes=Cost(event=20.0),
    record=(0.5, 2.0),
    shared={"one database": 50.0},
)


def test_a_job_worked_out_by_hand() -> None:
    found = answer(JOB, SITE, RATES)
    assert found.node_bytes == pytest.approx(20_000 * 100 + 4 * 400_000)
    assert found.node_files == 12
    assert found.node_cores == pytest.approx(4 * 5 * 2e-6)
    # 20,000 events of 100 bytes, and four pieces for each of four logs.
    each = 2_000_000 + 4 * 4 * 1_792
    assert found.shipped_bytes == pytest.approx(10 * each)
    assert found.shipped_files == 10
    # Ten nodes share 5 MB/s, so each has half of one: written, and read again.
    assert found.ship_seconds == pytest.approx(10 / 100 + 2 * each / 0.5e6)
    assert found.read_seconds == pytest.approx(10 * each / 1e6 + 10 * each / 2e6 + 10 / 100)
    # 200,000 events and 40 logs: 1 + 2 + 0.4 s of the first, 3 + 6 + 2 s of all, so 7.6 s for the two others.
    assert found.commit_seconds == pytest.approx(3.4)
    assert found.convert_seconds == pytest.approx(7.6 / 2)
    assert found.move_seconds == pytest.approx((1e6 + 2e6 + 4e6) / 1e6)
    assert found.memory == pytest.approx(220)
    assert found.store_bytes == pytest.approx(3e6)
    assert found.merge_seconds == pytest.approx(
        found.read_seconds + found.convert_seconds + found.commit_seconds + found.move_seconds
    )


def test_several_stores_share_the_work_but_not_the_file_system() -> None:
    """Each has a part of the logs, and its ranks; all of them together have no more of the file system."""
    found = answer(JOB, replace(SITE, stores=10), RATES)
    assert found.commit_seconds == pytest.approx(1 + 20_000 * 1e-5 + 4 * 0.01)
    assert found.memory == pytest.approx(202)
    assert found.move_seconds == pytest.approx((1e6 + 20_000 * 30) / 0.5e6)


def test_shipping_in_rounds_brings_tails_again() -> None:
    """Events come first in a tail and later in a batch; each further round brings parts of the tail anew."""
    found = answer(replace(JOB, ship_every=100.0), SITE, RATES)
    new = 2_000_000 + 4 * 4 * 1_792
    each = new + 2_000_000 + 4 * 9 * (AGAIN_BYTES + 4 * 1_792)
    assert found.shipped_bytes == pytest.approx(10 * each)
    assert found.ship_seconds == pytest.approx(10 / 100 + 2 * each / 10 / 0.5e6)
    silent = answer(replace(JOB, ship_every=100.0, events_per_second=0.0), SITE, RATES)
    assert silent.shipped_bytes == pytest.approx(10 * 4 * 4 * 1_792)


def test_other_designs() -> None:
    plain = straight(JOB, SITE, RATES)
    assert plain.files == 120
    assert plain.operations == 40 * (3 + 3)
    assert plain.begin_seconds == pytest.approx(2.4)
    assert plain.writes == pytest.approx(40 * 5 / 50)
    assert behind(JOB, 50.0) == pytest.approx((4.0, 4000.0))


def test_the_rate_that_merges_keep_up_with() -> None:
    """At that rate a merge takes as long as the job, at twice of it longer."""
    most = most_events_a_second(JOB, SITE, RATES)
    assert answer(replace(JOB, events_per_second=most), SITE, RATES).merge_seconds == pytest.approx(1000)
    assert answer(replace(JOB, events_per_second=2 * most), SITE, RATES).merge_seconds > 1000


def test_what_decides() -> None:
    """Twice of an input that all of the time is in doubles it; one that is in none changes nothing."""
    only = replace(RATES, first=Cost(event=1.0), all=Cost(event=1.0), log_bytes=Cost(), store_bytes=Cost())
    only = replace(only, parts_bytes=Cost())
    fast = replace(SITE, creates_per_second=1e12, client_gb_per_second=1e9, all_gb_per_second=1e9)
    found = sensitivity(JOB, fast, only)
    for name in ("nodes", "ranks_per_node", "hours", "CPU of an event in the rank that commits"):
        assert found[name] == pytest.approx((0.5, 2.0), rel=1e-3)
    assert found["writes_per_second"] == (1.0, 1.0)


def test_costs_are_found_again() -> None:
    """Of times that were made with known costs; a cost below zero is none."""
    cost = Cost(anyhow=0.3, event=1e-6, log=5e-3)
    cases = [Case("rows", *each) for each in ((10**5, 16), (10**6, 16), (10**7, 16), (10**6, 1), (10**6, 4096))]
    known = {case: cost.of(case.events, case.logs) for case in cases}
    found = fitted(known)
    assert (found.anyhow, found.event, found.log) == pytest.approx((0.3, 1e-6, 5e-3), rel=1e-6)
    falling = fitted({one: 1.0 - 1e-5 * one.logs for one in known})
    assert falling.log == 0
    assert falling.anyhow > 0


def test_figures_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFiguresError, match=r"compaction\.parquet is not there: braid bench compaction"):
        rates_of(tmp_path)
    for name in ("compaction", "scaling"):
        Rounds(name, tmp_path, {}).save()
    with pytest.raises(MissingFiguresError, match="no merge by ranks was measured"):
        rates_of(tmp_path)


def test_tables_say_where_each_input_is_from() -> None:
    text = tables(JOB, SITE, RATES)
    assert "| `--creates-per-second` | 100 |" in text
    assert "Assumed" in text
    assert "are fitted to" not in text
    said = tables(JOB, SITE, replace(RATES, fitted=(2_000, 8)))
    assert said.startswith("Costs of a merge are fitted to merges of up to 2,000 events and of up to 8 logs.")
    assert "100 times as many events and 5 times as many logs" in said
    assert "| one database (50 events a second): times what it takes |" in text
    assert with_tables(f"a\n{BEGIN}old\n{END}b", text) == f"a\n{BEGIN}\n{text}\n{END}b"
    with pytest.raises(MissingFiguresError, match="no marks"):
        with_tables("a", text)


def test_numbers_are_read_by_people() -> None:
    assert (size(999), size(1500), size(2.5e12)) == ("999 bytes", "1.5 kB", "2.5 TB")
    assert (long(90), long(180), long(7200), long(86_400 * 3)) == ("90.0 s", "3.0 min", "2.0 h", "3.0 days")
    assert (count(0.01), count(12_345), count(5.5e10)) == ("0.01", "12,345", "55.0e9")
