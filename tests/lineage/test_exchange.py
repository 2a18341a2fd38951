"""Answers for networkx and for PROV."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvCommunication,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvInvalidation,
    ProvStart,
    ProvUsage,
)

from braid_hpc.lineage import exchange
from braid_hpc.lineage.answer import Lineage
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, MissingExtraError, NotFoundError
from tests.jobs import made, one
from tests.lineage.test_answer import workflow

ODD = ['a "quoted"\nname', "🧵 <b>&amp;</b>", "bell \x07 and tab\t", "ü" * 65_536]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("exchange")
    workflow(folder / "logs", 2)
    with made(folder / "logs", folder / "prov.duckdb") as opened:
        opened.invalidate("data:peaks/1", cause="the beam <was> off")
        yield opened


def test_networkx_has_the_same_nodes_and_edges(store: Store) -> None:
    answer = store.lineage("model:net")
    graph = answer.to_networkx()
    assert set(graph.nodes) == {node.ref for node in answer.nodes}
    assert set(graph.edges(keys=True)) == {(e.parent, e.child, e.relation) for e in answer.edges}
    assert nx.ancestors(graph, "model:net@3") == set(graph.nodes) - {"model:net@3"}
    assert graph.nodes["data:peaks/1@1"] == {
        "kind": "data",
        "name": "peaks/1",
        "version": 1,
        "distance": 1,
        "valid": False,
        "cause": "the beam <was> off",
    }


def round_trip(document: ProvDocument) -> ProvDocument:
    text = document.serialize(format="json")
    back = ProvDocument.deserialize(io.StringIO(text), format="json")
    assert back == document
    return back


def test_prov_has_each_node_each_edge_and_who_acted(store: Store) -> None:
    """By prov's own reader: as many of each kind as there are in the answer, and ids that are global."""
    answer = store.lineage("model:net")
    document = round_trip(answer.to_prov())

    def count(kind: type) -> int:
        return sum(1 for record in document.get_records(kind))

    activities = [node for node in answer.nodes if node.kind == "activity"]
    relations = [edge.relation for edge in answer.edges]
    assert count(ProvEntity) == len(answer.nodes) - len(activities)
    assert count(ProvActivity) == len(activities) == 2
    # Two ranks and the user they act for.
    assert count(ProvAgent) == 3
    assert count(ProvUsage) == relations.count("used")
    assert count(ProvGeneration) == relations.count("wasGeneratedBy")
    assert count(ProvDerivation) == relations.count("wasDerivedFrom")
    assert count(ProvInvalidation) == sum(1 for node in answer.nodes if not node.valid and node.kind != "activity")
    (uid,) = store.sql("select uid from versions where kind = 'model' and version = 3")["uid"]
    assert document.get_record(f"braid:{uid}")
    ran = [record for record in document.get_records(ProvActivity) if isinstance(record, ProvActivity)]
    times = [(record.get_startTime(), record.get_endTime()) for record in ran]
    assert all(begin is not None and end is not None and begin <= end for begin, end in times)


def test_activities_within_each_other(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job, job[0].activity("outer"), job[0].activity("inner"):
        pass
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        document = round_trip(opened.lineage("activity:inner", relations="wasStartedBy").to_prov())
        assert len(list(document.get_records(ProvStart))) == 1
        assert not list(document.get_records(ProvCommunication))


def test_every_answer_with_edges_is_a_document(store: Store) -> None:
    for answer in (
        store.graph("model:net"),
        store.why("model:net", "fact:config", between=True),
        store.how("model:net"),
        store.stale("model:net"),
        store.lineage("model:net", kinds="data"),
    ):
        document = round_trip(answer.to_prov())
        found = [record for kind in (ProvEntity, ProvActivity) for record in document.get_records(kind)]
        assert len(found) == len(answer.nodes) == answer.to_networkx().number_of_nodes()


def test_odd_names(tmp_path: Path) -> None:
    """Quotes, line breaks, emoji, markup, control characters, 64 KiB: in JSON and back."""
    with one(tmp_path / "logs") as job:
        last = None
        for name in ODD:
            last = job[0].data(name, digest="x:0", derived_from=last)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        answer = opened.lineage(f'data:"{ODD[-1]}"')
        assert len(answer.nodes) == len(ODD)
        round_trip(answer.to_prov())


def test_a_large_answer_is_refused_before_anything_is_looked_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PROV_NODES", 5)
    with pytest.raises(InvalidInputError, match="this answer has 10 nodes, and a PROV document takes 5"):
        store.lineage("model:net").to_prov()


def test_packages_that_are_not_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = store.lineage("model:net")
    for name in ("networkx", "prov", "prov.model"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"to_networkx\(\) needs networkx: pip install 'braid_hpc\[graphs\]'"):
        answer.to_networkx()
    with pytest.raises(MissingExtraError, match=r"to_prov\(\) needs prov: pip install 'braid_hpc\[graphs\]'"):
        answer.to_prov()


def test_a_store_that_is_gone(tmp_path: Path) -> None:
    workflow(tmp_path / "logs", 1)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        answer = opened.lineage("model:net")
        (tmp_path / "prov.duckdb").rename(tmp_path / "other.duckdb")
        (tmp_path / "prov.duckdb.d").rename(tmp_path / "other.duckdb.d")
    with pytest.raises(NotFoundError):
        answer.to_prov()
    by_hand = Lineage("data:x@1", "up", [], [])
    with pytest.raises(InvalidInputError, match="was not made by a store"):
        by_hand.to_prov()
