"""An answer of some kinds: the walk goes through everything, and only that is shown."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid
from braid_hpc.lineage.shown import INFLUENCED, edges_among
from braid_hpc.lineage.walk import Walk
from braid_hpc.vocabulary.errors import InvalidInputError
from tests.jobs import made, one

DERIVED = "wasDerivedFrom"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The segmentation loop: scan -> image; an ensemble segments it, votes, and is trained on the vote; three times."""
    folder = tmp_path_factory.mktemp("loop")
    with one(folder / "logs") as job:
        run = job[0]
        models = [run.model(f"unet/{k}", digest=f"m{k}", derived_from=run.fact("config", k)) for k in range(2)]
        for step in range(3):
            scan = run.external(f"tomo_0000{step}")
            image = run.data(f"image/{step}", derived_from=scan, digest=f"i{step}")
            masks = []
            for k, model in enumerate(models):
                with run.activity("segment", used=[model, image]):
                    masks.append(run.record("mask", f"mask/{step}/{k}", digest=f"k{step}{k}"))
            vote = run.data(f"vote/{step}", derived_from=masks, digest=f"v{step}")
            models = [
                run.model(f"unet/{k}", derived_from=[model, vote, image], digest=f"m{k}{step}")
                for k, model in enumerate(models)
            ]
    made(folder / "logs", folder / "prov.duckdb").close()
    return folder / "prov.duckdb"


def named(store: braid.Store, ref: str, *kinds: str) -> set[str]:
    """Give the names of an answer, without the root."""
    return {node.name for node in store.lineage(ref, kinds=kinds).nodes[1:]}


def test_what_data_was_used_to_train_this_version(loop: Path) -> None:
    """Of the version that was asked for, through models, masks and activities; the data alone."""
    with braid.open(loop) as store:
        assert named(store, "model:unet/0@1", "data") == set()
        first = {"tomo_00000", "image/0", "vote/0"}
        assert named(store, "model:unet/0@2", "data") == first
        second = first | {"tomo_00001", "image/1", "vote/1"}
        assert named(store, "model:unet/1@3", "data") == second
        assert named(store, "model:unet/1", "data") == second | {"tomo_00002", "image/2", "vote/2"}
        answer = store.lineage("model:unet/0@3", kinds=["data"])
        assert {node.kind for node in answer.nodes[1:]} == {"data"}
        assert answer.root == answer.nodes[0].ref == "model:unet/0@3"
        whole = store.lineage("model:unet/0@3")
        assert answer.left_out == len(whole.nodes) - len(answer.nodes) > 0
        assert (answer.kinds, whole.kinds, whole.left_out) == (["data"], None, 0)
        distance = {node.ref: node.distance for node in whole.nodes}
        assert all(node.distance == distance[node.ref] for node in answer.nodes)


def test_edges_are_the_recorded_ones_and_one_for_what_hangs_on_nothing_shown(loop: Path) -> None:
    """The vote was recorded as a parent of the model; the vote's own image only by way of masks and activities."""
    with braid.open(loop) as store:
        answer = store.lineage("model:unet/0@2", kinds=["data"])
        assert {(edge.child, edge.parent, edge.relation) for edge in answer.edges} == {
            ("model:unet/0@2", "data:vote/0@1", DERIVED),
            ("model:unet/0@2", "data:image/0@1", DERIVED),
            ("data:image/0@1", "data:tomo_00000@1", DERIVED),
        }
        facts = store.lineage("data:vote/0", kinds=["fact", "mask"])
        assert {(edge.child, edge.parent.partition("@")[0], edge.relation) for edge in facts.edges} == {
            ("data:vote/0@1", "mask:mask/0/0", DERIVED),
            ("data:vote/0@1", "mask:mask/0/1", DERIVED),
            ("mask:mask/0/0@1", "fact:config", INFLUENCED),
            ("mask:mask/0/1@1", "fact:config", INFLUENCED),
        }
        drawn = facts.tree().splitlines()
        assert drawn[2].startswith("│  └─ influenced by fact:config@")
        assert drawn[-1] == "only fact and mask: 6 of other kinds were walked through and are not shown"
        assert len(drawn) == len(facts.nodes) + 1


def test_impact_likewise(loop: Path) -> None:
    """Which masks did version 2 make, and what came of the first scan?"""
    with braid.open(loop) as store:
        masks = {node.name for node in store.impact("model:unet/0@2", depth=2, kinds="mask").nodes[1:]}
        assert masks == {"mask/1/0"}
        models = store.impact("data:tomo_00000", kinds=["model"])
        assert {node.ref for node in models.nodes[1:]} == {f"model:unet/{k}@{n}" for k in (0, 1) for n in (2, 3, 4)}
        assert {(edge.child, edge.parent) for edge in models.edges if edge.relation == INFLUENCED} == {
            ("model:unet/0@2", "data:tomo_00000@1"),
            ("model:unet/1@2", "data:tomo_00000@1"),
        } | {(f"model:unet/{k}@2", "data:tomo_00000@1") for k in (0, 1)}
        activities = store.lineage("model:unet/0", kinds=["activity"]).nodes[1:]
        assert len(activities) == 6


def test_a_thousand_models_deep(tmp_path: Path) -> None:
    """Each model estimates for the next one: surrogates of surrogates, an ensemble at each level, data at each."""
    deep = 1000
    with one(tmp_path / "logs") as job:
        run = job[0]
        members: list[braid.Record] = []
        for level in range(deep):
            data = run.data(f"data/{level}", digest=f"d{level}")
            members = [
                run.model(f"member/{level}/{k}", digest=f"m{level}{k}", derived_from=[data, *members]) for k in range(2)
            ]
        run.model("ensemble", digest="e", derived_from=members)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        answer = store.lineage("model:ensemble", kinds=["data"])
        assert {node.name for node in answer.nodes[1:]} == {f"data/{level}" for level in range(deep)}
        assert answer.left_out == 2 * deep
        assert [node.distance for node in answer.nodes] == [0, *range(2, deep + 2)]
        assert {(edge.child, edge.relation) for edge in answer.edges} == {("model:ensemble@1", INFLUENCED)}
        assert len(answer.edges) == deep
        assert {node.name for node in store.impact("data:data/0", kinds=["data"]).nodes} == {"data/0"}
        assert len(store.impact("data:data/0", kinds=["model"]).nodes) == 2 + 2 * deep
        store.invalidate("data:data/0", cause="bad")
        assert [node.valid for node in store.lineage("model:ensemble", kinds="data").nodes].count(False) == 2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("down", [False, True])
def test_what_is_shown_hangs_together(seed: int, down: bool) -> None:
    """Any graph, any choice: no recorded edge is lost, everything is reached from the root, and nothing grows."""
    some = random.Random(seed)
    count = 40
    pairs = {(some.randrange(count), some.randrange(count)) for _ in range(90)}
    distance, frontier = {0: 0}, [0]
    while frontier:
        here = frontier.pop(0)
        for child, parent in sorted(pairs):
            near, far = (parent, child) if down else (child, parent)
            if near == here and far not in distance:
                distance[far] = distance[near] + 1
                frontier.append(far)
    edges = [(a, b, DERIVED) for a, b in sorted(pairs) if a in distance and b in distance]
    shown = {0} | {n for n in distance if some.random() < 0.4}
    found = edges_among(Walk.of(distance, edges), shown, down=down)
    assert [edge for edge in found if edge[2] == DERIVED] == [e for e in edges if e[0] in shown and e[1] in shown]
    assert len([edge for edge in found if edge[2] == INFLUENCED]) < max(len(shown), 1)
    reach = {0}
    for _ in range(count):
        reach |= {(a if down else b) for a, b, _ in found if (b if down else a) in reach}
    assert reach == shown


@pytest.mark.parametrize("wrong", [[], "Data", ["data", "two words"], ["id"], [None], 3])
def test_what_cannot_be_a_kind(loop: Path, wrong: Any) -> None:
    with braid.open(loop) as store, pytest.raises(InvalidInputError, match="cannot be a kind to show"):
        store.lineage("model:unet/0", kinds=wrong)


def test_a_kind_that_nothing_is_of(loop: Path) -> None:
    """A word that was mistyped is told, with what is near it; what a call records may be asked for before it is there.

    At a snapshot before the first of a kind, there are none of it.
    """
    with braid.open(loop) as store:
        for ask in (store.lineage, store.impact):
            with pytest.raises(InvalidInputError, match=r"nothing of kind 'maks': near it is mask$"):
                ask("model:unet/0", kinds=["data", "maks"])
        with pytest.raises(InvalidInputError, match="nothing of kind 'zzz': there are activity, data, "):
            store.lineage("model:unet/0", kinds="zzz")
        assert len(store.lineage("model:unet/0", kinds="statement").nodes) == 1


def test_a_kind_of_later(tmp_path: Path) -> None:
    store = tmp_path / "prov.duckdb"
    for number, kind in enumerate(("data", "mask")):
        with one(tmp_path / str(number)) as job:
            job[0].record(kind, "x", digest="s:1", derived_from=job[0].fact("config", 1))
        made(tmp_path / str(number), store).close()
    with braid.open(store) as opened:
        assert len(opened.impact("config", kinds="mask").nodes) == 2
        assert len(opened.impact("config", kinds="mask", at=1).nodes) == 1
