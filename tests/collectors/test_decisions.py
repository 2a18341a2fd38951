"""Which firmware, which threshold and which training data decided on an input sample: one question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.collectors.decisions import Decision, decided
from braid_hpc.collectors.fpga import Firmware, FPGACollector
from braid_hpc.collectors.frames import DEFAULT, FrameFormat
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError


def frame(number: int, channels: list[int], **fields: Any) -> bytes:
    """A frame over 64 input samples; the channel is the place among them."""
    about = {"frame": number, "first": 64 * number, "firmware": 7, "dropped": 64 - len(channels), **fields}
    return DEFAULT.encode({"channel": channels, "sample": [100 + channel for channel in channels]}, **about)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two firmwares of two models, a threshold that is moved, a frame that was lost and one that overflowed."""
    folder = tmp_path_factory.mktemp("decided")
    with braid.job("read-out", log_dir=folder / "logs") as run:
        models = []
        for number in (1, 2):
            scan = run.data(f"scan-{number}", digest=f"sha256:0{number}")
            labels = run.record("dataset", f"labels of {number}", derived_from=scan)
            models.append(run.model("net", digest=f"sha256:1{number}", derived_from=labels))
        firmwares = [
            Firmware(7 + at, name="zs", digest=f"sha256:2{at}", model=model, registers={"threshold": 40})
            for at, model in enumerate(models)
        ]
        raw = run.data("beam", uri="shm:/dev/shm/beam")
        with FPGACollector(run, "adc 0", firmware=firmwares, raw=raw) as fpga:
            fpga.take(frame(0, [3, 9]) + frame(1, []))
            fpga.set({"threshold": 50})
            fpga.take(frame(2, [5], firmware=8) + frame(4, [6, 7], kept=9, dropped=55, flags=1))
        plain = FrameFormat(word={"sample": "uint8"}, position=None)
        with FPGACollector(run, "plain", layout=plain) as fpga:
            fpga.take(plain.encode({"sample": [1, 2]}, first=10, dropped=8))
        without = FrameFormat(header={"words": "uint8", "frame": "uint8"})
        with FPGACollector(run, "without", layout=without) as fpga:
            fpga.take(without.encode({"channel": [1], "sample": [2]}))
    braid.compact(folder / "logs", folder / "prov.duckdb")
    with braid.open(folder / "prov.duckdb") as opened:
        yield opened


def one(store: Any, event: int, name: str = "adc 0") -> Decision:
    (answer,) = decided(store, name, event)
    return answer


def test_a_dropped_event_is_answered_for(store: Any) -> None:
    answer = one(store, 4)
    assert (answer.frame, answer.first, answer.last, answer.kept, answer.values) == (0, 0, 63, False, [])
    assert (answer.firmware, answer.firmware_id, answer.registers) == ("firmware:zs@1", 7, {"threshold": 40})
    assert answer.models == ["model:net@1"]
    assert set(answer.training) == {"dataset:labels of 1@1", "data:scan-1@1"}
    assert answer.raw == "data:beam@1"
    assert answer.complete
    assert str(answer).startswith(
        "event 4: in frame 0, not kept; by firmware:zs@1 (threshold 40), built from model:net@1"
    )
    assert one(store, 64).kept is False


def test_a_kept_event_comes_with_its_words(store: Any) -> None:
    answer = one(store, 9)
    assert (answer.kept, answer.values) == (True, [{"channel": 9, "sample": 109}])


def test_another_firmware_and_threshold_answer_for_theirs(store: Any) -> None:
    answer = one(store, 130)
    assert (answer.frame, answer.kept, answer.registers) == (2, False, {"threshold": 50})
    assert (answer.firmware, answer.models) == ("firmware:zs@2", ["model:net@2"])
    assert "data:scan-2@1" in answer.training
    assert "data:scan-1@1" not in answer.training
    assert one(store, 133).kept


def test_what_an_overflow_may_have_taken_is_not_called_dropped(store: Any) -> None:
    assert one(store, 4 * 64 + 6).kept is True
    assert one(store, 4 * 64 + 8).kept is None


def test_words_without_a_place_leave_it_open(store: Any) -> None:
    answer = one(store, 12, "plain")
    assert (answer.frame, answer.kept) == (0, None)
    assert answer.firmware == "firmware:plain/unknown@1"
    assert "with others" in str(answer)


def test_an_event_of_a_lost_frame_says_what_was_lost(store: Any) -> None:
    with pytest.raises(NotFoundError, match="no frame of adc 0 covers event 200") as raised:
        decided(store, "adc 0", 200)
    (note,) = raised.value.__notes__
    assert "between frame 2 (events to 191, by firmware:zs@2 (threshold 50))" in note
    assert "and frame 4 (events from 256, by firmware:zs@1 (threshold 50)); frames lost 3 to 3" in note


@pytest.mark.parametrize("event", [-1, 10**6, 2**70])
def test_an_event_that_never_was_says_which_there_are(store: Any, event: int) -> None:
    with pytest.raises(NotFoundError, match=f"covers event {event}\n") as raised:
        decided(store, "adc 0", event)
    (note,) = raised.value.__notes__
    assert note.endswith("frames cover begin at 0" if event < 0 else "frames cover end at 319")


def test_runs_and_ranks_narrow_it_down(store: Any) -> None:
    answer = one(store, 4)
    assert decided(store, "adc 0", 4, run=answer.run[:8]) == [answer]
    with pytest.raises(NotFoundError):
        decided(store, "adc 0", 4, run="0" * 32)
    with pytest.raises(NotFoundError):
        decided(store, "adc 0", 4, rank=5)


def test_what_cannot_be_asked_is_one_sentence(store: Any) -> None:
    with pytest.raises(NotFoundError, match="no device 'adc'"):
        decided(store, "adc", 1)
    with pytest.raises(InvalidInputError, match="do not say which input samples"):
        decided(store, "without", 1)


def test_an_answer_says_which_logs_are_not_complete(tmp_path: Path) -> None:
    """The run was never closed."""
    run = braid.start("read-out", log_dir=tmp_path / "logs")
    with FPGACollector(run, "adc", firmware=Firmware(7)) as fpga:
        fpga.take(frame(0, [3]))
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        answer = one(store, 3, "adc")
    run.close()
    assert not answer.complete
    assert str(answer).endswith("1 logs are not complete")
