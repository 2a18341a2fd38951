"""Numbers of frames: what is lost, late or repeated, in bounded memory."""

from __future__ import annotations

import random

import numpy as np
import pytest

from braid_hpc.collectors.sequence import Order, Sequence


def follow(sequence: Sequence, numbers: list[int], checks: list[int] | None = None) -> tuple[list[int], list[tuple]]:  # type: ignore[type-arg]
    orders, missed = sequence.follow(
        np.array(numbers, np.uint64), np.array(checks or [n % 1000 for n in numbers], np.uint32)
    )
    return orders.tolist(), [tuple(one) for one in missed]


def test_frames_in_order_are_not_told_of() -> None:
    sequence = Sequence(32)
    assert follow(sequence, [5, 6, 7]) == ([0, 0, 0], [])
    assert follow(sequence, [8, 9]) == ([0, 0], [])
    assert follow(sequence, []) == ([], [])
    assert sequence.finish() == []


def test_a_gap_is_lost_when_it_was_waited_for_in_vain() -> None:
    sequence = Sequence(32, reorder=4)
    assert follow(sequence, [0, 1, 5]) == ([0, 0, 0], [])
    assert follow(sequence, [6, 7, 8, 9, 10]) == ([0] * 5, [("frames lost", 3, 2, 4)])
    assert follow(sequence, [12])[1] == []
    assert [tuple(one) for one in sequence.finish()] == [("frames lost", 1, 11, 11)]


def test_late_frames_fill_their_gap() -> None:
    sequence = Sequence(32)
    assert follow(sequence, [0, 5, 3, 1, 4, 6]) == ([0, 0, Order.LATE, Order.LATE, Order.LATE, 0], [])
    assert [tuple(one) for one in sequence.finish()] == [("frames lost", 1, 2, 2)]


def test_a_shuffle_within_the_window_loses_nothing() -> None:
    numbers = list(range(1000))
    chosen = random.Random(3)
    for start in range(0, 1000, 20):
        part = numbers[start : start + 20]
        chosen.shuffle(part)
        numbers[start : start + 20] = part
    sequence = Sequence(16, reorder=64)
    assert follow(sequence, numbers)[1] == []
    assert sequence.finish() == []


def test_a_frame_that_is_sent_twice_is_known() -> None:
    sequence = Sequence(32)
    follow(sequence, [0, 1, 2], [7, 8, 9])
    orders, missed = follow(sequence, [1, 2], [8, 5])
    assert orders == [Order.REPEATED, Order.AGAIN]
    assert missed == [("frame repeated", 1, 1, 1), ("frame number again with other content", 1, 2, 2)]


def test_frames_of_long_runs_are_known_too() -> None:
    """And those before the last ones are forgotten."""
    sequence = Sequence(32, remember=1000)
    for start in range(0, 5000, 100):
        follow(sequence, list(range(start, start + 100)), [7 * n for n in range(start, start + 100)])
    assert follow(sequence, [4321], [7 * 4321])[0] == [Order.REPEATED]
    assert follow(sequence, [4322], [7])[0] == [Order.AGAIN]
    assert sum(len(sums) for _, sums in sequence._runs) == 1000
    assert follow(sequence, [17], [7 * 17])[0] == [Order.BACK]


def test_numbers_begin_at_zero_again_behind_the_largest() -> None:
    sequence = Sequence(8, reorder=4)
    assert follow(sequence, [254, 255, 0, 1]) == ([0, 0, 0, 0], [])
    assert follow(sequence, [4])[1] == []
    assert [tuple(one) for one in sequence.finish()] == [("frames lost", 2, 2, 3)]
    sequence = Sequence(8, reorder=2)
    assert follow(sequence, [253, 1, 2, 3, 4])[1] == [("frames lost", 3, 254, 0)]


def test_a_device_that_starts_anew_is_told_of_once() -> None:
    sequence = Sequence(32, remember=100)
    follow(sequence, list(range(5000)))
    assert follow(sequence, [0, 1, 2]) == ([Order.BACK, 0, 0], [("frame numbers went back", 1, 0, 0)])


def test_what_comes_after_it_was_given_up_is_told_of() -> None:
    sequence = Sequence(32, reorder=2)
    assert follow(sequence, [0, 2, 3, 4, 5])[1] == [("frames lost", 1, 1, 1)]
    orders, missed = follow(sequence, [1])
    assert orders == [Order.LATE]
    assert missed == [("frame came after it was counted as lost", 1, 1, 1)]


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_numbers_made_up_take_bounded_memory(bits: int) -> None:
    sequence = Sequence(bits, reorder=16, remember=256)
    chosen = random.Random(bits)
    for _ in range(20):
        follow(sequence, [chosen.randrange(1 << bits) for _ in range(500)])
    assert len(sequence._gaps) <= 17
    assert len(sequence._recent) <= 2 * 256
