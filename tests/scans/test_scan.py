"""Runs of an instrument, by their uids, numbers and places, and what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from braid_hpc.vocabulary.errors import BraidWarning, ConflictError, InvalidInputError, NotFoundError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, record, scan, start, stop, stored
from tests.jobs import made
from tests.scans.plain import check_scan


def run(uid: str, number: int, time: float) -> list[Pair]:
    first = start(uid=uid, scan_id=number, time=time)
    of = descriptor(first, {"det": key()})
    return [first, of, event(of, 1, {"det": 1.0}), stop(first, {"primary": 1})]


def test_a_scan_is_found_by_its_uid_its_number_and_its_place(tmp_path: Path) -> None:
    runs = [run("aab1", 7, 20.0), run("aac2", 8, 10.0), run("bbd3", 7, 30.0)]
    with stored(tmp_path, [pair for each in runs for pair in each]) as store:
        assert [store.scan(which).uid for which in ("aab1", "aac", "b", 8)] == ["aab1", "aac2", "bbd3", "aac2"]
        assert [store.scan(f"scan:{which}").uid for which in ("aab1", "aac")] == ["aab1", "aac2"]
        assert [store.scan(-n).uid for n in (1, 2, 3)] == ["bbd3", "aab1", "aac2"]
        with pytest.raises(ConflictError, match="'aa' begins the uid of several scans: aab1, aac2"):
            store.scan("aa")
        with pytest.warns(BraidWarning, match="2 scans have scan_id 7: bbd3 is the newest.*the others are aab1"):
            assert store.scan(7).uid == "bbd3"
        for which in ("x", 9, -4):
            with pytest.raises(NotFoundError, match="there is no scan"):
                store.scan(which)
        for wrong in (True, 1.5, None):
            with pytest.raises(InvalidInputError, match="is no scan: name one by its uid"):
                store.scan(wrong)


def test_a_scan_is_of_a_moment(tmp_path: Path) -> None:
    documents = scan(2)
    record(tmp_path / "logs", documents[:3])
    made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    record(tmp_path / "logs", documents)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        earlier, now = store.scan(-1, at=1), store.scan(-1)
        assert (earlier.streams, earlier.stop) == ({"primary": 1}, None)
        assert (now.streams, now.missing) == ({"primary": 2}, [])
        check_scan(earlier)
        check_scan(now)


def test_its_documents_and_what_is_missing(tmp_path: Path) -> None:
    documents = scan(3)
    with stored(tmp_path, [each for at, each in enumerate(documents) if at != 3]) as store:
        found = store.scan(-1)
        assert (found.start, found.stop) == (documents[0][1], documents[-1][1])
        assert found.descriptors == [documents[1][1]]
        assert [name for name, _ in found.documents()] == ["start", "descriptor", "event", "event", "stop"]
        assert [(gap.what, gap.numbers) for gap in found.missing] == [("event", ((2, 2),))]
        assert repr(found) == f"<Scan 3 {found.uid}>"


def test_an_array_is_indexed_as_numpy_does(tmp_path: Path) -> None:
    """With NumPy's integers, arrays of places, truth values and an ellipsis too."""
    with stored(tmp_path, scan(4)) as store:
        found = store.scan(-1).array("primary", "n")
        plain = np.array([1, 2, 3, 4])
        for index in (
            np.int64(2),
            np.array([0, 2]),
            np.array([[0], [3]]),
            np.array([True, False, True, False]),
            [1, 1],
            (Ellipsis, 0),
            (0, Ellipsis),
            (Ellipsis, slice(1, 3)),
            (),
            (None, 1),
        ):
            np.testing.assert_array_equal(found[index], plain[index])
        # A column that every table has, too.
        np.testing.assert_array_equal(store.scan(-1).array("primary", "seq_num"), plain)


@pytest.mark.parametrize("values", [[1e308, 1e308], [float("inf"), 1.0], [float("inf"), float("-inf")], [1.0, 1e-20]])
def test_a_sum_beyond_all_doubles_is_infinite(values: list[float], tmp_path: Path) -> None:
    """As in Python, where another scan has arrays, too; and infinities of both signs are nan."""
    documents = []
    for data in (values, [[1.0], [2.0]]):
        first = start()
        of = descriptor(first, {"v": key()})
        documents += [first, of, *(event(of, number, {"v": each}) for number, each in enumerate(data, 1))]
    with stored(tmp_path, documents) as store:
        mine = documents[0][1]["uid"]
        assert mine in store.find_scans(f"sum(data.v) = {sum(values)!r}")["uid"]
        assert (mine in store.find_scans("sum(data.v) > 0")["uid"]) == (sum(values) > 0)
