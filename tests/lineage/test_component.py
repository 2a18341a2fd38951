"""Drawings of all that hangs together: what is in them, that no name breaks them, and that a limit is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import Job, made, one
from tests.lineage.test_render import ODD, drawn, needs_dot, read_mermaid


@pytest.fixture
def store(tmp_path: Path) -> braid.Store:
    """Two components: a zigzag that is no lineage of any one of it, and a pair with an activity."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        above = [run.data(f"above/{k}", digest=f"a{k}") for k in range(5)]
        for k in range(4):
            run.model(f"below/{k}", digest=f"b{k}", derived_from=above[k : k + 2])
        with run.activity("segment", used=run.fact("config", 7)):
            run.data("mask", digest="m")
    return made(tmp_path / "logs", tmp_path / "prov.duckdb")


@pytest.mark.parametrize("index", [True, False])
def test_a_component_is_followed_in_both_directions(store: braid.Store, index: bool) -> None:
    """With the index of edges and without it; nearest first; the other component is not in it."""
    with store:
        if not index:
            store.__dict__["adjacency"] = None
        found = store.graph("model:below/0")
        assert [(node.name, node.distance) for node in found.nodes] == [
            ("below/0", 0),
            ("above/0", 1),
            ("above/1", 1),
            ("below/1", 2),
            ("above/2", 3),
            ("below/2", 4),
            ("above/3", 5),
            ("below/3", 6),
            ("above/4", 7),
        ]
        assert len(found.edges) == 8
        assert (found.root, found.left_out, found.complete) == ("model:below/0@1", 0, True)
        assert {node.kind for node in store.graph("fact:config").nodes} == {"fact", "activity", "data"}
        assert {node.ref for node in store.graph("activity:segment").nodes} == {
            node.ref for node in store.graph("data:mask").nodes
        }


def test_the_whole_store(store: braid.Store) -> None:
    with store:
        found = store.graph()
        assert (found.root, len(found.nodes), len(found.edges), found.left_out) == (None, 12, 10, 0)
        assert {edge.relation for edge in found.edges} == {"wasDerivedFrom", "used", "wasGeneratedBy"}
        assert json.loads(json.dumps(found.to_dict()))["complete"] is True


def test_what_is_beyond_the_limit_is_told(store: braid.Store) -> None:
    """By number, and in the drawing itself; edges among what is drawn are all there."""
    with store:
        found = store.graph("model:below/0", limit=4)
        assert [node.name for node in found.nodes] == ["below/0", "above/0", "above/1", "below/1"]
        assert (len(found.edges), found.left_out) == (3, 5)
        assert '    note["5 more are not drawn"]:::note' in found.mermaid().splitlines()
        assert 'note [label="5 more are not drawn"' in found.dot()
        assert store.graph(limit=None).note is None
        assert "4 nodes, 3 edges; 5 more are beyond the limit" in found._repr_html_()
        assert str(found).splitlines() == [
            "model:below/0@1: 4 nodes (2 data, 2 model), 3 edges",
            "5 more are not drawn",
        ]
        assert str(store.graph(limit=None)).startswith("the whole store: 12 nodes (")
        assert store.graph(limit=3).left_out == 9
        for wrong in (0, -1, True, "3"):
            with pytest.raises(InvalidInputError, match="a limit is a number from 1"):
                store.graph(limit=wrong)  # type: ignore[arg-type]
        with pytest.raises(NotFoundError):
            store.graph("model:nowhere")


@needs_dot
def test_invalid_nodes_are_marked(store: braid.Store) -> None:
    """What fell, and only that; both drawings are read back."""
    with store:
        store.invalidate("data:above/1", cause='beam "off"')
        found = store.graph("model:below/0")
        invalid = {node.name for node in found.nodes if not node.valid}
        assert invalid == {"above/1", "below/0", "below/1"}
        assert {node.cause for node in found.nodes} == {None, 'beam "off"'}
        nodes, edges = read_mermaid(found.mermaid())
        assert len(nodes) == 9
        assert len(edges) == 8
        assert found.mermaid().count(":::invalid") == found.dot().count("style=dashed") == 3
        labels, count = drawn(found.dot())
        assert (set(labels), count) == ({node.ref for node in found.nodes}, 8)
        assert len(drawn(store.graph(limit=2).dot())[0]) == 3
        (before,) = store.sql("select epoch_ns(min(time)) - 1 as time from invalidations")["time"]
        assert all(node.valid for node in store.graph(as_of=before).nodes)


@needs_dot
def test_names_do_not_break_a_drawing(tmp_path: Path) -> None:
    with one(tmp_path / "logs") as job:
        hub = job[0].fact("hub", 1)
        for name in ODD:
            job[0].data(name, derived_from=hub)
        job[0].external("doi:10.5/ABC")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = store.graph()
        refs = {node.ref.replace("\n", "⏎") for node in found.nodes}
        assert len(refs) == len(ODD) + 2
        assert set(read_mermaid(found.mermaid())[0].values()) == refs
        assert {label.replace("\xa0", " ") for label in drawn(found.dot())[0]} == refs


def test_earlier_states_and_ranks_that_are_missing(tmp_path: Path) -> None:
    """As of a snapshot; a log that is not there makes a graph incomplete."""
    with Job(tmp_path / "logs", 2) as job:
        first = job[0].data("first", digest="d:1")
        job[0].close()
        made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
        job[1].model("net", digest="m:1", derived_from=first)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert {node.name for node in store.graph("data:first").nodes} == {"first", "net"}
        assert {node.name for node in store.graph("data:first", at=1).nodes} == {"first"}
        assert store.graph().complete
        early = store.graph("data:first", at=1)
        assert [each.rank for each in early.missing] == [1]
        assert not early.complete
