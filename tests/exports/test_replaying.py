"""Replay: what a callback gets is what it got live, and what a scan lacks is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import event_model
import pytest
from bluesky.callbacks.core import CallbackCounter, LiveTable
from event_model import DocumentNames, schema_validators

from braid_hpc.exports.replaying import Replayed, export_documents, replay
from braid_hpc.vocabulary.errors import BraidWarning
from tests.collectors.documents.instrument import Pair, scan, start, stored
from tests.collectors.documents.test_bluesky import reconfigured, run_plans, two_streams
from tests.exports.test_emitted import PLANS, split


class Kept(event_model.DocumentRouter):  # type: ignore[misc]
    """Keeps what its ways are given."""

    def __init__(self, kept: list[Pair]) -> None:
        super().__init__()
        self._kept = kept

    def __call__(self, name: str, doc: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        self._kept.append((name, doc))
        return super().__call__(name, doc, *arguments, **options)


def taken(deliver: Callable[[Callable[..., Any]], object]) -> tuple[list[str], list[tuple[str, str]], int]:
    """Give documents to a router, a table and a counter, and say what each made of them."""
    kept: list[Pair] = []
    lines: list[str] = []
    router = event_model.RunRouter([lambda name, document: ([Kept(kept)], [])])
    table, count = LiveTable(["det"], out=lines.append), CallbackCounter()

    def take(name: str, document: dict[str, Any]) -> None:
        for callback in (count, router, table):
            callback(name, document)

    deliver(take)
    return lines, [(name, str(document.get("uid"))) for name, document in kept], count.value


def test_run_router_and_live_table_get_what_they_got_live(tmp_path: Path) -> None:
    """Every plan: a router of event-model routes the same documents, and a table prints the same lines."""
    plans = [PLANS[0], PLANS[1], reconfigured, two_streams]
    seen, store = run_plans(tmp_path, *plans)
    with store:
        for uid, live in split(seen).items():
            one = taken(lambda take, live=live: [take(*pair) for pair in live])  # type: ignore[misc]
            other = taken(lambda take, uid=uid: replay(store.documents(uid), take))  # type: ignore[misc]
            assert one == other
            assert one[2] == len(live)
            done = replay(store.documents(uid), lambda *pair: None)
            assert (done.uid, done.stopped, done.lacks) == (uid, True, "")
            assert sum(done.documents.values()) == len(live)


@pytest.mark.parametrize("pages", [None, 3])
def test_what_is_exported_is_valid(tmp_path: Path, pages: int | None) -> None:
    """By the schemas of event-model, alone and in pages."""
    seen, store = run_plans(tmp_path, *PLANS)
    with store:
        count = 0
        for uid in split(seen):
            for name, document in export_documents(store.documents(uid), pages=pages):
                schema_validators[DocumentNames[name]].validate(document)
                count += 1
    assert count > 20


def test_a_run_that_never_stopped_is_given_as_far_as_it_is_held(tmp_path: Path) -> None:
    """And that is said."""
    documents = scan(3, stopped=False)
    del documents[3]
    uid = documents[0][1]["uid"]
    with stored(tmp_path, documents) as store:
        found: list[Pair] = []
        lacks = f"scan {uid} is not whole: it has no stop, 1 of 3 events of stream 'primary' are not there: 2"
        with pytest.warns(BraidWarning, match=f"^{lacks}: what is held was given$"):
            done = replay(store.documents(uid), lambda *pair: found.append(pair))
    assert found == documents
    assert done == Replayed(uid, {"start": 1, "descriptor": 1, "event": 2}, False, lacks)


def test_what_a_callback_raises_ends_the_replay() -> None:
    def fail(name: str, document: dict[str, Any]) -> None:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError, match="start"):
        replay([start()], fail)
