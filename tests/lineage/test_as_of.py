"""As of a time: what was there and had been said by then, as far as a snapshot knew."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.lineage.answer import Lineage
from braid_hpc.lineage.component import Graph
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, one


def refs(answer: Lineage | Graph) -> list[str]:
    return [node.ref for node in answer.nodes]


@pytest.fixture
def moments(tmp_path: Path) -> Iterator[tuple[Store, list[int]]]:
    """A scan, peaks of it, a model of these, and afterwards a further parent of the model; a time before each."""
    times = []
    with one(tmp_path / "logs") as job:
        run = job[0]
        for step in range(5):
            times.append(time.time_ns())
            if step == 0:
                scan = run.data("scan", digest="s:1")
            elif step == 1:
                other = run.data("other", digest="o:1")
            elif step == 2:
                peaks = run.data("peaks", digest="p:1", derived_from=scan)
            elif step == 3:
                net = run.model("net", digest="w:1", derived_from=peaks)
            else:
                run.derive(net, other)
            # The resolution of the clocks.
            while time.time_ns() <= times[-1] + 1000:
                pass
    compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with Store(tmp_path / "prov.duckdb") as store:
        yield store, times


def test_what_was_not_there_is_not_reached(moments: tuple[Store, list[int]]) -> None:
    """Downwards nodes appear one after the other; upwards an edge is followed from when it was said."""
    store, times = moments
    assert refs(store.impact("data:scan", as_of=times[1])) == ["data:scan@1"]
    assert refs(store.impact("data:scan", as_of=times[3])) == ["data:scan@1", "data:peaks@1"]
    assert refs(store.impact("data:scan", as_of=times[4])) == ["data:scan@1", "data:peaks@1", "model:net@1"]
    assert refs(store.lineage("model:net", as_of=times[4])) == ["model:net@1", "data:peaks@1", "data:scan@1"]
    assert "data:other@1" in refs(store.lineage("model:net"))
    assert "data:other@1" in refs(store.lineage("model:net", as_of=time.time_ns()))
    assert set(refs(store.graph(as_of=times[3]))) == {"data:scan@1", "data:other@1", "data:peaks@1"}
    assert set(refs(store.graph("data:scan", as_of=times[3]))) == {"data:scan@1", "data:peaks@1"}


def test_a_root_that_was_not_there_is_not_found(moments: tuple[Store, list[int]]) -> None:
    """The sentence says when it appeared."""
    store, times = moments
    (first,) = store.sql("select time from versions where name = 'net'")["time"]
    with pytest.raises(NotFoundError, match=f"model:net was not there at .*: it appeared at {first:%Y-%m-%dT%H:%M}"):
        store.lineage("model:net", as_of=times[3])
    (uid,) = store.sql("select uid from versions where name = 'net'")["uid"]
    for text in (f"id:{uid}", "model:net@1"):
        with pytest.raises(NotFoundError, match="it appeared at"):
            store.graph(text, as_of=times[3])


def test_times_of_which_the_store_can_say_nothing(moments: tuple[Store, list[int]]) -> None:
    """Before its first event, and after now; each in one sentence."""
    store, times = moments
    for ask in (store.lineage, store.impact, store.graph):
        with pytest.raises(InvalidInputError, match="is before the first event of this store, which is of 2"):
            ask("model:net", as_of="2001-01-01")
        with pytest.raises(InvalidInputError, match="is still to come"):
            ask("model:net", as_of="2999-01-01")
    with pytest.raises(InvalidInputError, match="is before the first event"):
        store.judgements(as_of=-(10**30))
    assert len(store.lineage("model:net", as_of=time.time_ns()).nodes) == 4
    with pytest.raises(InvalidInputError, match="there is no snapshot 0"):
        store.lineage("model:net", at=0, as_of=times[4])


def test_what_a_snapshot_knew_of_a_time(tmp_path: Path) -> None:
    """A log that comes later brings an earlier declaration of a version that was known: only the new snapshot says so.

    Without a version, the newest that was there is meant.
    """
    logs, path = tmp_path / "logs", tmp_path / "prov.duckdb"
    with Job(logs, 2) as job:
        early, late = job.runs
        early.fact("config", 1)
        between = time.time_ns()
        while time.time_ns() <= between + 1000:
            pass
        config = late.fact("config", 1)
        for step in range(2):
            late.model("net", digest=f"w:{step}", derived_from=config)
    held = shutil.move(job.folder(0), tmp_path / job.folder(0).name)
    compact(logs, path)
    shutil.move(held, job.folder(0))
    compact(logs, path)
    with Store(path) as store:
        (second,) = store.sql("select epoch_ns(time) as t from versions where name = 'net' and version = 2")["t"]
        assert refs(store.graph("fact:config", as_of=between)) == ["fact:config@1"]
        with pytest.raises(NotFoundError, match="it appeared at"):
            store.graph("fact:config", at=1, as_of=between)
        assert refs(store.lineage("model:net"))[0] == "model:net@2"
        assert refs(store.lineage("model:net", as_of=second - 1))[0] == "model:net@1"


def test_a_time_that_is_shown_is_taken_back_to_the_nanosecond(moments: tuple[Store, list[int]]) -> None:
    """Microseconds of it lie before it, so that what was declared then would not have been there."""
    store, _ = moments
    (exact,) = store.sql("select epoch_ns(time) as t from versions where name = 'peaks'")["t"]
    (entry,) = store.history("peaks")
    places = store.where("data:peaks")
    shown = [
        *(entry.time, places.places[0].time, places.to_dict()["places"][0]["time"]),
        *(store.find("name = peaks")["time"][0], store.describe("data:peaks")["time"]),
        *(store.sql("select time from versions where name = 'peaks'")["time"][0], exact, str(exact)),
        *(pa.table(store.history("peaks"))["time"][0].as_py(), pa.table(store.find("name = peaks"))["time"][0].as_py()),
    ]
    for given in shown:
        assert store.get("peaks", as_of=given).name == "peaks", given
        assert store.find("name = peaks", as_of=given)["name"] == ["peaks"], given
        if not isinstance(given, int):
            assert store.find(f'name = peaks and time = "{given}"')["name"] == ["peaks"], given
    with pytest.raises(NotFoundError, match="was not there"):
        store.get("peaks", as_of=exact - 1)


def test_what_is_no_time_is_not_the_present(moments: tuple[Store, list[int]]) -> None:
    store, _ = moments
    with pytest.raises(InvalidInputError, match="NaT is not a time"):
        store.get("peaks", as_of=pd.NaT)
