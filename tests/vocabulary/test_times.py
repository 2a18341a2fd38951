"""Times as people give them, to the nanosecond."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.times import Moment, nanoseconds, shown_time

SECOND = 1_795_257_000_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T10:30:00", SECOND),
        ("2026-11-21", SECOND - (10 * 60 + 30) * 60 * 10**9),
        ("2026-11-21T10:30:00.5", SECOND + 500_000_000),
        ("2026-11-21T10:30:00.000001234Z", SECOND + 1234),
        ("2026-11-21 10:30:00.0000012", SECOND + 1200),
        ("20261121T103000,123456789", SECOND + 123_456_789),
        ("2026-W47-6T10:30:00.000000009+00:00", SECOND + 9),
        ("2026-11-21T09:30:00.000000001-01:00", SECOND + 1),
        ("2026-11-21T10:30:00.0000000019", SECOND + 1),
        (datetime.fromtimestamp(SECOND // 10**9, UTC), SECOND),
        (SECOND + 1, SECOND + 1),
        (str(SECOND + 1), SECOND + 1),
        (np.int64(SECOND + 1), SECOND + 1),
        (np.datetime64(SECOND + 1, "ns"), SECOND + 1),
        (np.datetime64("2026-11-21T10:30"), SECOND),
        (pd.Timestamp(SECOND + 1), SECOND + 1),
        (pd.Timestamp(SECOND + 1, tz="Asia/Kolkata"), SECOND + 1),
        (Moment.of(SECOND + 1), SECOND + 1),
    ],
)
def test_a_time_is_taken_to_the_nanosecond(text: object, moment: int) -> None:
    assert nanoseconds(text) == moment


def test_what_is_shown_is_taken_back_as_it_was() -> None:
    """So a time that an error names can be given to the next question."""
    for moment in (0, 1, 999, 1001, SECOND - 1, SECOND + 123_456_789):
        assert nanoseconds(shown_time(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2026-11-21T10:30:00.5x", True, 1.5, "2026-11-21T25:00", "202611", [], np.bool_(True)),
        *(pd.NaT, np.datetime64("NaT"), np.datetime64("2300-01-01"), np.float64(1e18), pd.Timedelta(1)),
    ],
)
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(InvalidInputError, match="is not a time"):
        nanoseconds(text)


class TestMoment:
    """A datetime for all who know of no nanoseconds, and a time to the nanosecond for the others."""

    def test_it_is_shown_whole_and_taken_back(self) -> None:
        for count in (0, -1, SECOND, SECOND + 7, -(10**18) - 1):
            moment = Moment.of(count)
            assert [nanoseconds(each) for each in (moment, str(moment), moment.isoformat() + "Z")] == [count] * 3
            assert moment.nanoseconds == count
            assert Moment.fromisoformat(moment.isoformat("T", "microseconds")).nanoseconds == count // 1000 * 1000
        assert str(Moment.of(SECOND + 7)) == "2026-11-21 10:30:00.000000007"
        assert repr(Moment.of(SECOND + 7)) == "Moment('2026-11-21T10:30:00.000000007')"

    def test_it_is_ordered_by_its_nanoseconds(self) -> None:
        times = [Moment.of(SECOND + at) for at in (0, 1, 999, 1000)]
        assert sorted([times[1], times[3], times[0], times[2]]) == times
        assert len(set(times)) == 4
        assert times[0] < times[1] <= times[1] > times[0] >= times[0]
        plain = datetime(2026, 11, 21, 10, 30)
        assert times[0] == plain
        assert hash(times[0]) == hash(plain)
        assert times[1] != plain
        assert plain < times[1] < plain + timedelta(microseconds=1) == times[3]
        assert times[0] != "2026-11-21"

    def test_what_is_made_of_it_keeps_them(self) -> None:
        moment = Moment.of(SECOND + 7)
        zone = timezone(timedelta(hours=5))
        assert nanoseconds(moment.replace(tzinfo=UTC)) == SECOND + 7
        assert nanoseconds(moment.replace(tzinfo=UTC).astimezone(zone)) == SECOND + 7
        assert moment.replace(tzinfo=UTC).astimezone(zone).isoformat() == "2026-11-21T15:30:00.000000007+05:00"
        assert (
            nanoseconds(moment + timedelta(seconds=1))
            == nanoseconds(timedelta(seconds=1) + moment)
            == SECOND + 10**9 + 7
        )
        assert nanoseconds(moment - timedelta(seconds=1)) == SECOND - 10**9 + 7
        assert moment - datetime(2026, 11, 21) == timedelta(hours=10, minutes=30)
        assert datetime(2026, 11, 22) - moment == timedelta(hours=13, minutes=30)
        assert copy.deepcopy(moment) == pickle.loads(pickle.dumps(moment)) == moment
        assert moment.strftime("%f") == "000000"
        with pytest.raises(TypeError):
            moment < 3  # type: ignore[operator]  # noqa: B015
        with pytest.raises(TypeError):
            moment + 3  # type: ignore[operator]
