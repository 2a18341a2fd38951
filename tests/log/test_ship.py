"""Shipping: what arrives is what was written, whenever it is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.log import ship
from braid_hpc.log.ship import ship_writer
from braid_hpc.log.writer import LATER_TAILS
from braid_hpc.reading.survey import read_writer
from braid_hpc.vocabulary.codes import WriterState
from braid_hpc.vocabulary.errors import CorruptLogError, StorageError


def record(log_dir: Path, rows: int) -> braid.Run:
    """Open a run and append rows of a stream to it; the caller closes it."""
    run = braid.start("shipped", log_dir=log_dir)
    stream = run.stream("numbers", {"n": "int64"})
    for number in range(rows):
        stream.append(number)
    return run


def test_a_closed_log_arrives_whole_and_is_not_copied_twice(tmp_path: Path) -> None:
    """Every row is there, the state is the same, and a second shipping writes nothing."""
    run = record(tmp_path / "node", 3 * LATER_TAILS[0])
    source = tmp_path / "node" / run.writer.hex()
    run.close()
    first = ship_writer(source, tmp_path / "shared")
    second = ship_writer(source, tmp_path / "shared")
    arrived = read_writer(tmp_path / "shared" / source.name)
    assert first.bytes > 0
    assert (second.files, second.bytes) == (0, 0)
    assert arrived.state is WriterState.CLOSED
    assert arrived.events["word"].tolist() == read_writer(source).events["word"].tolist()


def test_a_log_that_is_written_meanwhile_arrives_in_parts(tmp_path: Path) -> None:
    """What was shipped before a tail was sealed is there once afterwards, and no tail stays behind."""
    run = record(tmp_path / "node", 10)
    source = tmp_path / "node" / run.writer.hex()
    place = tmp_path / "shared" / source.name
    ship_writer(source, tmp_path / "shared")
    assert len(read_writer(place).events) >= 10
    stream = run.stream("numbers", {"n": "int64"})
    for number in range(2 * LATER_TAILS[0]):
        stream.append(number)
    run._log.seal()
    ship_writer(source, tmp_path / "shared")
    run.close()
    ship_writer(source, tmp_path / "shared")
    arrived = read_writer(place)
    assert arrived.state is WriterState.CLOSED, arrived.faults
    assert arrived.events["word"].tolist() == read_writer(source).events["word"].tolist()
    assert {path.name for path in place.iterdir()} == {path.name for path in source.iterdir()}


def test_a_tail_that_is_sealed_while_batches_are_copied_stays_at_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one shipping has brought, the next one does not take away because its batch came too late to be copied."""
    run = record(tmp_path / "node", 3 * LATER_TAILS[0])
    source = tmp_path / "node" / run.writer.hex()
    run._log.seal()
    ship_writer(source, tmp_path / "shared")
    before = len(read_writer(tmp_path / "shared" / source.name).events)
    extend = ship._extend_batches

    def sealed_meanwhile(sums: Path, target: Path) -> int:
        written = extend(sums, target)
        stream = run.stream("numbers", {"n": "int64"})
        for number in range(2 * LATER_TAILS[0]):
            stream.append(number)
        run._log.seal()
        return written

    monkeypatch.setattr(ship, "_extend_batches", sealed_meanwhile)
    ship_writer(source, tmp_path / "shared")
    run.close()
    assert len(read_writer(tmp_path / "shared" / source.name).events) >= before


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_what_was_cut_off_at_the_target_is_shipped_again(tmp_path: Path, damage: str) -> None:
    """A batch that is no longer there is no batch that was shipped, whatever the record of its sum says."""
    run = record(tmp_path / "node", 3 * LATER_TAILS[0])
    source = tmp_path / "node" / run.writer.hex()
    run._log.seal()
    run.close()
    ship_writer(source, tmp_path / "shared")
    events = tmp_path / "shared" / source.name / "events.arrows"
    if damage == "cut":
        events.write_bytes(events.read_bytes()[:1000])
    else:
        events.unlink()
    ship_writer(source, tmp_path / "shared")
    assert events.read_bytes() == (source / "events.arrows").read_bytes()


def test_a_damaged_batch_is_not_passed_on_as_shipped(tmp_path: Path) -> None:
    """A flipped bit at the source is found by the batch's own sum where it arrives."""
    run = record(tmp_path / "node", 3 * LATER_TAILS[0])
    source = tmp_path / "node" / run.writer.hex()
    run._log.seal()
    run.close()
    events = source / "events.arrows"
    data = bytearray(events.read_bytes())
    data[len(data) // 2] ^= 4
    events.write_bytes(data)
    with pytest.raises(CorruptLogError, match="does not carry its sum"):
        ship_writer(source, tmp_path / "shared")


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """The message names the target and says that the source is as it was."""
    run = record(tmp_path / "node", 10)
    source = tmp_path / "node" / run.writer.hex()
    run.close()
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StorageError, match="nothing was removed"):
        ship_writer(source, tmp_path / "file")
    shutil.rmtree(tmp_path / "node")
