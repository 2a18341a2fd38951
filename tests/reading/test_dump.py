"""Files of a log as plain lines, damaged ones too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.reading.dump import dump
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import Job, one


def lines(path: Path) -> list[dict[str, Any]]:
    """Dump, and see that all of it is JSON."""
    found = list(dump(path))
    for line in found:
        json.dumps(line, ensure_ascii=False)
    return found


@pytest.fixture
def job(tmp_path: Path) -> Job:
    with one(tmp_path / "logs") as job:
        run = job[0]
        source = run.fact("config", {"nan": float("nan"), "big": 2**100, "bytes": b"\xff"}, tags={"ü": "🧵"})
        with run.activity("work", used=source):
            run.data("out", uri="s3://x")
        stream = run.stream("s", {"x": "int64"})
        stream.append(1)
        stream.extend({"x": list(range(10_000))})
    return job


def tail_of(job: Job) -> Path:
    (tail,) = job.folder(0).glob("tail-*")
    return tail


def test_a_tail_row_by_row(job: Job) -> None:
    """Its header, then every row with the name of its code and its payload decoded."""
    found = lines(tail_of(job))
    assert found[0]["tail"]["writer"] == job[0].writer.hex()
    rows = found[1:]
    events = read_writer(job.folder(0)).events
    assert [row["sequence"] for row in rows] == events["sequence"].tolist()
    by_code = {row["code"]: row for row in rows}
    assert by_code["OPEN"]["sequence"] < by_code["DECLARE"]["sequence"] < by_code["CLOSE"]["sequence"]
    (fact,) = [row for row in rows if row["code"] == "DECLARE" and "value" in row["payload"]]
    assert fact["payload"]["value"] == {"nan": "nan", "big": 2**100, "bytes": "ff"}
    assert fact["payload"]["tags"] == {"ü": "🧵"}
    assert "work" in [row["payload"] for row in rows if row["code"] == "NAME"]
    assert by_code["ROW"]["payload"] == (1).to_bytes(8, "little").hex()


def test_a_header_whole_and_damaged(job: Job) -> None:
    path = job.folder(0) / "header.json"
    assert lines(path)[0]["header"]["job"] == "job"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"job": "job"', b'"job": "jab"'))
    (line,) = lines(path)
    assert line["fault"] == "header.json does not carry its check sum"
    assert line["unverified"]["job"] == "jab"
    path.write_bytes(data[:100])
    (line,) = lines(path)
    assert line["fault"] == "header.json ends within its text, after 100 bytes"
    assert line["unverified"] == data[:100].decode()


def test_sums_name_the_segments(job: Job) -> None:
    (path,) = job.folder(0).glob("stream-*.sums")
    (segment,) = lines(path)
    assert segment["segment"]["rows"] == 10_000 or 10_000 in segment["segment"].values()
    path.write_bytes(path.read_bytes()[:-3])
    assert any("fault" in line for line in lines(path))


def test_sealed_batches(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was sealed while it was written: each segment with its rows, and a fault where a byte is wrong."""
    from tests.rank_logs import small_tails

    small_tails(monkeypatch)
    with one(tmp_path / "sealed") as sealed:
        for n in range(500):
            sealed[0].data("d", digest=f"x:{n}")
    path = sealed.folder(0) / "events.arrows"
    found = lines(path)
    assert sum("segment" in line for line in found) > 1
    assert sum(line.get("code") == "DECLARE" for line in found) > 300
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("fault" in line for line in lines(path))


def test_batches_of_a_stream(job: Job) -> None:
    """Row by row, numbered as in the stream; where a byte is wrong, a fault in place of its batch."""
    (path,) = job.folder(0).glob("stream-*.arrows")
    first, *found = lines(path)
    assert (first["segment"]["first"], first["segment"]["rows"]) == (1, 10_000)
    assert found == [{"row": row + 1, "values": {"x": row}} for row in range(10_000)]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert [list(line) for line in lines(path)] == [["segment"], ["fault"]]


def test_batches_without_their_sums(job: Job) -> None:
    """Nothing of them counts, and that is said, with the bytes."""
    (path,) = job.folder(0).glob("stream-*.arrows")
    sums = path.with_suffix(".sums")
    with path.open("ab") as file:
        file.write(bytes(100))
    size = path.stat().st_size
    assert lines(path)[-1] == {
        "fault": f"bytes {size - 100} to {size - 1} have no record in stream-0001.sums: they do not count"
    }
    sums.unlink()
    missing, uncovered = lines(path)
    assert missing == {"fault": "stream-0001.sums is missing: no batch can be believed without it"}
    assert uncovered["fault"].endswith(f"to {size - 1} have no record in stream-0001.sums: they do not count")


def test_a_row_that_does_not_verify_is_shown_as_that(job: Job) -> None:
    """Where it should stand, with what stands there; the rows around it are whole."""
    tail = tail_of(job)
    whole = lines(tail)
    data = bytearray(tail.read_bytes())
    data[4096 + 2 * 64 + 8] ^= 1
    tail.write_bytes(data)
    found = lines(tail)
    (damaged,) = [line for line in found if "fault" in line]
    assert damaged["fault"] == "row 3 does not carry its check sum"
    assert damaged["unverified"]["subject"] == whole[3]["subject"] ^ 1
    assert damaged["unverified"]["word"] == whole[3]["word"]
    assert [line for line in found if "fault" not in line] == whole[:3] + whole[4:]


@pytest.mark.parametrize("length", [0, 10, 64, 200, 4096, 5000])
def test_a_tail_that_is_cut_off(job: Job, length: int) -> None:
    """What is there is shown, and that the rest is not."""
    tail = tail_of(job)
    with tail.open("r+b") as file:
        file.truncate(length)
    assert any("fault" in line for line in lines(tail))


@pytest.mark.parametrize("seed", range(20))
def test_a_tail_with_any_byte_changed(job: Job, seed: int) -> None:
    """It is shown or said to be damaged; it never ends in an exception."""
    import random

    tail = tail_of(job)
    data = bytearray(tail.read_bytes())
    chance = random.Random(seed)
    for _ in range(20):
        data[chance.randrange(min(len(data), 20_000))] ^= 1 << chance.randrange(8)
    tail.write_bytes(data)
    assert lines(tail)


def test_a_code_that_is_not_known_is_a_number(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a later minor version are shown with their number."""
    monkeypatch.setattr(Code, "_value2member_map_", {})
    assert all(isinstance(row["code"], int) for row in lines(tail_of(job))[1:])


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InvalidInputError, match=r"notes.txt is not a file of a rank log: give header.json, a tail"):
        list(dump(tmp_path / "notes.txt"))
