"""What the rows of a log say."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from braid_hpc.compaction.extract import Facts, extract
from braid_hpc.log.layout import PAGE, ROW_BYTES, TailHeader, check_word
from braid_hpc.reading.survey import read_writer
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code, Relation
from tests.jobs import Job, one
from tests.rank_logs import overwrite


def facts_of(job: Job, rank: int = 0) -> Facts:
    """Read a rank's log, all of it as new."""
    log = read_writer(job.folder(rank))
    return extract(log, "run", log.ranges)


def corrupt_payloads(log: WriterLog, code: Code) -> None:
    """Let the payloads of some rows be what no version of the format writes, under a check sum that holds."""
    (path,) = log.directory.glob("tail-*")
    data = bytearray(path.read_bytes())
    header = TailHeader.unpack(bytes(data))
    for row in log.events.positions(code):
        sequence, length = int(log.events["sequence"][row]), int(log.events.length[row])
        at = PAGE + (sequence - header.first) * ROW_BYTES
        start = header.heap_offset + int.from_bytes(data[at + 40 : at + 44], "little")
        data[start : start + length] = b"\xc1" * length
        digest = xxh3_64_intdigest(data[at : at + 56] + data[start : start + length])
        data[at + 56 : at + 64] = check_word(sequence, digest).to_bytes(8, "little")
    path.write_bytes(data)


def test_a_declaration(tmp_path: Path) -> None:
    """Kind, name, parents, content, uris, tags, array facts: all as the program gave them."""
    with one(tmp_path / "logs") as job:
        parent = job[0].data("parent", digest="x:0")
        about = {"uri": "s3://b/k", "digest": "x:1", "size": 7, "tags": {"a": {"b": 1.5}}, "unit": "px"}
        job[0].record("dataset", "näme 🧵", derived_from=parent, dtype="<f4", shape=(2, 3), **about)
    declared = facts_of(job).declared[-1]
    assert (declared.kind, declared.name, declared.activity) == ("dataset", "näme 🧵", None)
    assert declared.about.parents == [parent.sequence]
    assert (declared.about.digest, declared.about.size, declared.about.weak) == ("x:1", 7, False)
    assert declared.about.uris == ["s3://b/k"]
    assert declared.about.tags == {"a.b": 1.5}
    assert (declared.about.dtype, declared.about.shape, declared.about.unit) == ("<f4", [2, 3], "px")


def test_activities_and_links(tmp_path: Path) -> None:
    """Begin, use, end, what was generated, what stood within what."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        used, later = run.data("used", digest="x:0"), run.data("later", digest="x:1")
        with (
            contextlib.suppress(ZeroDivisionError),
            run.activity("outer", used=used, params={"n": 3}) as outer,
            run.activity("inner") as inner,
        ):
            inner.use(later)
            out = inner.data("out")
            run.derive(out, later)
            run.tag(out, "k", "v")
            raise ZeroDivisionError("by zero")
    facts = facts_of(job)
    begun = {each.name: each for each in facts.begun}
    assert begun["outer"].about.used == [used.sequence]
    assert begun["outer"].about.params == {"n": 3}
    assert begun["inner"].outer == (facts.writer, outer.sequence)
    assert [each.about.error for each in facts.ended] == ["ZeroDivisionError: by zero"] * 2
    assert facts.declared[-1].activity == (facts.writer, inner.sequence)
    assert [(each.relation, each.links) for each in facts.linked] == [
        (Relation.USED, [later.sequence]),
        (Relation.DERIVED, [later.sequence]),
    ]
    assert [(place, tags) for _, place, tags, _ in facts.tagged] == [((facts.writer, out.sequence), {"k": "v"})]


def test_a_handle_of_another_writer_names_it(tmp_path: Path) -> None:
    """Tags and derivations of another rank's record are about that rank's occurrence."""
    with Job(tmp_path / "logs", 2) as job:
        theirs = job[1].data("theirs", digest="x:0")
        job[0].tag(theirs, "seen", True)
    assert [place for _, place, _, _ in facts_of(job).tagged] == [(job[1].writer.hex(), theirs.sequence)]


def test_streams_are_records_too(tmp_path: Path) -> None:
    """Of kind `stream`, shared by all ranks; the schema is there under the writer's number."""
    with one(tmp_path / "logs") as job:
        source = job[0].data("source", digest="x:0")
        job[0].stream("s", {"x": "int32"}, units={"x": "px"}, derived_from=source, tags={"a": 1})
    facts = facts_of(job)
    ((number, name, schema, sequence),) = facts.streams
    assert (number, name, schema.columns, schema.units) == (1, "s", [("x", "int32")], {"x": "px"})
    declared = facts.declared[-1]
    assert (declared.kind, declared.sequence, declared.about.shared) == ("stream", sequence, True)
    assert declared.about.parents == [source.sequence]


def test_times_are_utc(tmp_path: Path) -> None:
    """By the writer's clock pairs, in the order in which things were recorded."""
    import time

    begin = time.time_ns()
    with one(tmp_path / "logs") as job:
        for n in range(3):
            job[0].data("d", digest=f"x:{n}")
    end = time.time_ns()
    times = [declared.time for declared in facts_of(job).declared]
    assert begin <= times[0] <= times[1] <= times[2] <= end


@pytest.mark.parametrize("code", [Code.DECLARE, Code.BEGIN, Code.END, Code.STREAM, Code.TAG])
def test_what_cannot_be_read_is_said_and_the_rest_is_taken(tmp_path: Path, code: Code) -> None:
    """A payload of a form this version does not know loses that row only."""
    with one(tmp_path / "logs") as job:
        source = job[0].data("source", digest="x:0")
        with job[0].activity("a", used=source) as activity:
            activity.end(result=5)
        job[0].stream("s", {"x": "int32"})
        job[0].tag(source, "k", "v")
    log = read_writer(job.folder(0))
    corrupt_payloads(log, code)
    facts = extract(log, "run", log.ranges)
    assert len(facts.undecodable) == len(list(log.events.positions(code)))
    kept = len(facts.declared) + len(facts.begun) + len(facts.ended) + len(facts.tagged)
    assert kept == 5 - len(facts.undecodable)


def test_texts_of_rows_that_were_taken_before(tmp_path: Path) -> None:
    """Names and kinds are written once in a log, so new rows mean those that an earlier commit has met."""
    with one(tmp_path / "logs") as job:
        job[0].data("early", digest="x:0")
        before = read_writer(job.folder(0)).ranges
        job[0].data("early", digest="x:1")
        job[0].data("late", digest="x:2")
    log = read_writer(job.folder(0))
    found = extract(log, "run", log.ranges - before)
    assert [(each.kind, each.name) for each in found.declared] == [("data", "early"), ("data", "late")]
    assert not found.undecodable


def test_a_row_whose_text_is_gone_is_named(tmp_path: Path) -> None:
    """A damaged text takes the rows that need it, and no others."""
    with one(tmp_path / "logs") as job:
        job[0].data("first", digest="x:0")
        job[0].data("second", digest="x:1")
    log = read_writer(job.folder(0))
    (text,) = [row for row in log.events.positions(Code.NAME) if log.events.payload(row) == b"second"]
    (path,) = log.directory.glob("tail-*")
    overwrite(path, PAGE + ROW_BYTES * (int(log.events["sequence"][text]) - 1) + 56, b"\1")
    facts = facts_of(job)
    assert [each.name for each in facts.declared] == ["first"]
    assert [fault for _, fault in facts.undecodable] == [f"KeyError: {int(log.events['subject'][text])}"]
