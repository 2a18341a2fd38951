"""Sealed batches are believed only with their sums."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from braid_hpc.log.batch_file import events_file
from braid_hpc.log.layout import SUM_BYTES
from braid_hpc.log.seal import seal_tails
from braid_hpc.reading.sealed import read_batch, read_sealed, read_sums, schema_message
from braid_hpc.vocabulary.errors import CorruptLogError
from tests.log.test_seal import filled
from tests.rank_logs import overwrite


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Give a directory with three batches of eight rows."""
    events = events_file(tmp_path)
    for number in range(3):
        tail = filled(tmp_path / "tail", 8, first=1 + 8 * number, capacity=8)
        seal_tails([(tail.rows_view(), tail.header)], events)
        tail.close()
        tail.path.unlink()
    return tmp_path


def sequences(directory: Path) -> list[list[int] | None]:
    found = read_sealed(directory, "events.arrows")
    return [events["sequence"].tolist() if events is not None else None for _, events, _ in found]


WHOLE = [list(range(1, 9)), list(range(9, 17)), list(range(17, 25))]


def test_whole_batches(sealed: Path) -> None:
    """Each once, in order."""
    assert sequences(sealed) == WHOLE


def test_no_file_is_no_batch(tmp_path: Path) -> None:
    """A writer that never filled a tail has sealed nothing."""
    assert read_sums(tmp_path / "events.sums") == ([], [], None)
    assert sequences(tmp_path) == []


def test_a_file_cut_at_any_byte(sealed: Path) -> None:
    """The batches before the cut are whole, the one in it is said to end there; nothing raises."""
    path = sealed / "events.arrows"
    data = path.read_bytes()
    segments, _, _ = read_sums(sealed / "events.sums")
    for length in reversed(range(len(data))):
        os.truncate(path, length)
        whole = [segment.offset + segment.length <= length for segment in segments]
        assert sequences(sealed) == [rows if kept else None for rows, kept in zip(WHOLE, whole, strict=True)]
        for (_, _, fault), kept in zip(read_sealed(sealed, "events.arrows"), whole, strict=True):
            assert kept == (fault is None)
            assert fault is None or "ends within" in fault or length < segments[0].offset


def test_sums_cut_at_any_byte(sealed: Path) -> None:
    """Whole records count; a part of one is said to be one."""
    path = sealed / "events.sums"
    data = path.read_bytes()
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        segments, corrupt, torn = read_sums(path)
        assert (len(segments), corrupt) == (length // SUM_BYTES, [])
        assert (torn is not None) == (length % SUM_BYTES != 0)
        assert sequences(sealed) == WHOLE[: length // SUM_BYTES]


@pytest.mark.parametrize("name", ["events.arrows", "events.sums"])
def test_no_flipped_bit_is_silent(sealed: Path, name: str) -> None:
    """Throughout both files, the schema included: a batch is what it was, or is not believed."""
    path = sealed / name
    data = path.read_bytes()
    dice = random.Random(5)
    # Every byte before the first batch, and every third one from there on.
    for at in (*range(min(300, len(data))), *range(300, len(data), 3)):
        overwrite(path, at, bytes([data[at] ^ 1 << dice.randrange(8)]))
        segments, corrupt, _ = read_sums(sealed / "events.sums")
        found = sequences(sealed)
        assert found != WHOLE
        assert len(segments) + len(corrupt) == 3
        assert [rows for rows in found if rows is not None] == [rows for rows in WHOLE if rows in found]
        assert None in found or corrupt
        overwrite(path, at, data[at : at + 1])


def test_a_batch_is_read_only_with_its_sum(sealed: Path) -> None:
    """A wrong place, a wrong sum and a missing file are told apart."""
    path = sealed / "events.arrows"
    (first, *_), _, _ = read_sums(sealed / "events.sums")
    assert read_batch(path, first.offset, first.length, first.digest).num_rows == 8
    with pytest.raises(CorruptLogError, match="does not carry its check sum"):
        read_batch(path, first.offset, first.length, bytes(16))
    with pytest.raises(CorruptLogError, match="does not carry its check sum"):
        read_batch(path, first.offset + 8, first.length, first.digest)
    with pytest.raises(CorruptLogError, match="ends within"):
        read_batch(path, 1 << 40, first.length, first.digest)
    with pytest.raises(CorruptLogError, match="is missing"):
        read_batch(sealed / "other.arrows", first.offset, first.length, first.digest)


def test_the_schema_comes_first(sealed: Path) -> None:
    """It is the first message of the stream, and the first batch follows it."""
    data = (sealed / "events.arrows").read_bytes()
    (first, *_), _, _ = read_sums(sealed / "events.sums")
    assert len(schema_message(data)) == first.offset
    assert schema_message(data[:10]) == data[:10]
