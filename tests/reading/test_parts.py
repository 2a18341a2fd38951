"""Parts of a log are read again as they were seen, whatever the writer does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from braid_hpc.reading.ranges import Ranges
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import CorruptLogError, NotFoundError
from tests.jobs import Job, deliver, one
from tests.rank_logs import overwrite, small_tails


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = one(tmp_path / "logs")
    for n in range(20):
        job[0].data("d", digest=f"x:{n}")
    return job


def test_rows_that_come_later_are_not_taken(job: Job) -> None:
    """A log that is still written: only what was seen when it was looked at."""
    log = read_writer(job.folder(0))
    before = log.count()
    for n in range(20):
        job[0].data("d", digest=f"y:{n}")
    assert sum(len(events) for events in log.each()) == before < read_writer(job.folder(0)).count()
    job.close()


def test_a_tail_that_was_sealed_meanwhile_is_found_in_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen in a tail is read from the batch that took its place."""
    small_tails(monkeypatch)
    with one(tmp_path / "logs") as job:
        for n in range(300):
            job[0].data("d", digest=f"x:{n}")
        early = deliver(job.folder(0), tmp_path / "early")
        log = read_writer(early)
        rows = [
            (int(events["sequence"][row]), events.payload(row)) for events in log.each() for row in range(len(events))
        ]
    (early / "header.json").unlink()
    for path in early.glob("tail-*"):
        path.unlink()
    for path in job.folder(0).glob("events*"):
        (early / path.name).write_bytes(path.read_bytes())
    kept = read_writer(job.folder(0))
    last_sealed = max(part.after for part in kept.parts if part.segment is not None)
    log.cut(last_sealed)
    again = [(int(events["sequence"][row]), events.payload(row)) for events in log.each() for row in range(len(events))]
    assert again == [row for row in rows if row[0] < last_sealed]


def test_a_log_that_was_removed_or_changed_is_not_passed_over(job: Job) -> None:
    """It is an error that says so, never an answer with less in it."""
    log = read_writer(job.folder(0))
    (tail,) = job.folder(0).glob("tail-*")
    overwrite(tail, 4096 + 64 * 3 + 56, b"\1")
    with pytest.raises(CorruptLogError, match="has changed"):
        list(log.each())
    tail.unlink()
    with pytest.raises(NotFoundError, match="was removed"):
        list(log.each())
    job.close()


def test_rows_of_some_codes(job: Job) -> None:
    """In order, with their payloads; a part without any of them is not even read."""
    job.close()
    log = read_writer(job.folder(0))
    (events,) = log.each(Code.DECLARE)
    assert len(events) == 20
    assert log.count(Code.DECLARE) == 20
    (tail,) = job.folder(0).glob("tail-*")
    tail.unlink()
    assert list(log.each(Code.BATCH)) == []


def test_two_copies_are_one_log(job: Job, tmp_path: Path) -> None:
    """Each row counts once, in the order of their sequences, also where either has some that the other has not."""
    early = deliver(job.folder(0), tmp_path / "early")
    job[0].data("d", digest="z")
    job.close()
    (tail,) = job.folder(0).glob("tail-*")
    whole = read_writer(job.folder(0)).events["sequence"].tolist()
    overwrite(tail, 4096 + 64 * 3, bytes(64))
    late = read_writer(job.folder(0))
    assert 4 not in late.ranges
    late.add_copy(read_writer(early))
    assert late.ranges.numbers().tolist() == late.events["sequence"].tolist() == whole
    assert late.copies == [early]


def test_when_the_first_and_the_last_row_were_written(job: Job) -> None:
    """Of a whole log it is known since it was looked at; of one that was cut the row is read."""
    job.close()
    log = read_writer(job.folder(0))
    times = log.utc(log.events["time"]).tolist()
    cut = read_writer(job.folder(0))
    cut.cut(int(log.events["sequence"][9]))
    assert cut.span() == (times[0], times[8])
    (tail,) = job.folder(0).glob("tail-*")
    again = read_writer(job.folder(0))
    tail.unlink()
    assert again.span() == (times[0], times[-1])


def test_the_ends_of_a_part_that_another_one_brought_are_not_its_own(job: Job) -> None:
    part = read_writer(job.folder(0)).parts[0]
    first, last, time = part.ends
    assert part.time_of(first) == part.times[0]
    assert part.time_of(last) == time
    assert part.time_of(first + 1) is None
    part.ranges = part.ranges & Ranges.span(first + 1, last)
    assert part.time_of(first) is part.time_of(last) is None
    job.close()
