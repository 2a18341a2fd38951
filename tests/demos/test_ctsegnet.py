"""The segmentation loop: what trained a version of a model, which masks it made, and whether the loop gets better.

The oracle is the workflow itself: its rounds, and the models applied again to the slices.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from braid_hpc.demos.ctsegnet import report
from braid_hpc.demos.ctsegnet.ensemble import dice, inputs, segment, vote
from braid_hpc.demos.ctsegnet.scan import angles, phantom, project, reconstruct, take
from braid_hpc.demos.ctsegnet.settings import FILE_NAME, WINDOWS, Settings, prepare
from braid_hpc.demos.ctsegnet.summary import masks_of, trained_on
from tests.demos.conftest import Done, Perform, shorter
from tests.jobs import count, edges_of, has_cycle, rows

RANKS, ROUNDS = 2, 3
MODELS = ("segnet-1", "segnet-2", "segnet-3")


@pytest.fixture(scope="module")
def done(perform: Perform) -> Done:
    folder = perform.folder / "ctsegnet"
    prepare(folder)
    shorter(folder / FILE_NAME, steps=40, angles=45, rounds=ROUNDS)
    return perform("ctsegnet", RANKS, folder)


def of_all_ranks(name: str, ranks: int, versions: range) -> list[str]:
    return sorted(f"data:{name}/rank-{rank}@{version}" for rank in range(ranks) for version in versions)


# the whole


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", range(1, ROUNDS + 2))
def test_what_data_was_used_to_train_this_version(done: Done, model: str, version: int) -> None:
    """Scans, slices and labels of all ranks; votes and masks of the rounds before it, and of none after."""
    answer = trained_on(done.store, f"model:{model}@{version}")
    rounds = range(1, version)
    expected = {part: of_all_ranks(part, done.ranks, range(1, 2)) for part in ("scan", "image", "labels")}
    if rounds:
        expected["vote"] = of_all_ranks("vote", done.ranks, rounds)
        expected["mask"] = sorted(ref for name in MODELS for ref in of_all_ranks(f"mask/{name}", done.ranks, rounds))
    assert answer["data"] == expected
    assert answer["models"] == sorted(f"model:{name}@{earlier}" for name in MODELS for earlier in rounds)
    assert answer["missing"] == []


def test_which_masks_did_version_2_make(done: Done) -> None:
    """Those that come out when its weights are applied again to the slices, on every rank, and no others."""
    for number, name in enumerate(MODELS):
        made = masks_of(done.store, f"model:{name}@2")
        assert made == of_all_ranks(f"mask/{name}", done.ranks, range(2, 3))
        weights = np.asarray(done.store.array(f"model:{name}@2"))
        for rank in range(done.ranks):
            images = np.asarray(done.store.array(f"data:image/rank-{rank}"))
            kept = np.asarray(done.store.array(f"data:mask/{name}/rank-{rank}@2"))
            assert np.array_equal(segment(weights, images, number), kept)
    assert masks_of(done.store, f"model:segnet-1@{ROUNDS + 1}") == []


def test_the_graph_is_that_of_the_workflow(done: Done) -> None:
    """Scan to image; models and image to masks; masks to vote; vote and image to the next version of every model."""
    edges = edges_of(done.store)
    for rank in range(done.ranks):
        assert (f"data:image/rank-{rank}@1", f"data:scan/rank-{rank}@1") in edges
        for number in range(1, ROUNDS + 1):
            voted = f"data:vote/rank-{rank}@{number}"
            masks = {f"data:mask/{name}/rank-{rank}@{number}" for name in MODELS}
            assert {parent for child, parent in edges if child == voted} == masks
            for name in MODELS:
                mask, model = f"data:mask/{name}/rank-{rank}@{number}", f"model:{name}@{number}"
                assert {parent for child, parent in edges if child == mask} == {model, f"data:image/rank-{rank}@1"}
                assert {(f"model:{name}@{number + 1}", parent) for parent in (model, voted)} <= edges
    assert rows(
        done.store,
        "select name, count(*), sum(occurrences) from versions where kind = 'model' group by all order by all",
    ) == [(name, ROUNDS + 1, (ROUNDS + 1) * done.ranks) for name in MODELS]
    assert count(done.store, "problems") == 0
    assert not has_cycle(done.store)


def test_the_loop_gets_better(done: Done) -> None:
    """The overlap of the last vote with the truth is higher than that of the first; it is computed here again."""
    settings = prepare(done.folder)
    truth = [take(settings, rank).truth for rank in range(done.ranks)]
    found = []
    for number in range(1, ROUNDS + 1):
        votes = [np.asarray(done.store.array(f"data:vote/rank-{rank}@{number}")) for rank in range(done.ranks)]
        both = sum(int((voted & true).sum()) for voted, true in zip(votes, truth, strict=True))
        found.append(2 * both / sum(int(voted.sum() + true.sum()) for voted, true in zip(votes, truth, strict=True)))
    said = rows(done.store, "select distinct round, dice from stream.overlaps where masks = 'vote' order by round")
    assert said == [(number, pytest.approx(value)) for number, value in enumerate(found, 1)]
    assert found[-1] > found[0] > 0.7
    text = report(done.store)
    assert f"events from {done.ranks} ranks" in text
    assert "which masks did model:segnet-2@2 make?\n  data:mask/segnet-2/rank-0@2, data:mask/segnet-2/rank-1@2" in text


# its parts


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepare(tmp_path)


def test_scans_follow_from_seed_and_rank(settings: Settings) -> None:
    one = take(settings, 1)
    assert one.counts.tobytes() == take(settings, 1).counts.tobytes()
    assert one.counts.tobytes() != take(settings, 2).counts.tobytes()
    assert one.counts.tobytes() != take(replace(settings, seed=1), 1).counts.tobytes()
    assert 0.05 < one.truth.mean() < 0.3


def test_projections_conserve_attenuation(settings: Settings) -> None:
    """At every angle, all that is in the slice is in the projection."""
    image, _ = phantom(settings, np.random.default_rng(1))
    np.testing.assert_allclose(project(image, angles(7)).sum(axis=1), image.sum())


def test_a_slice_is_reconstructed(settings: Settings) -> None:
    """With many photons and angles, solid comes out at 1 and pores near 0."""
    settings = replace(settings, photons=60_000, angles=120, slices=1)
    scan = take(settings, 0)
    (image,) = reconstruct(scan.counts, settings.photons)
    (pores,) = scan.truth
    y, x = np.mgrid[: settings.side, : settings.side] - (settings.side - 1) / 2
    inside = np.hypot(x, y) < 0.4 * settings.side
    assert np.median(image[inside & ~pores]) == pytest.approx(1.0, abs=0.25)
    assert np.median(image[inside & pores]) == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize("model", range(3))
def test_a_model_sees_the_neighbourhood_of_each_pixel(model: int) -> None:
    """The middle of the window is the pixel itself, and at the rim the slice is mirrored."""
    images = np.random.default_rng(1).random((2, 9, 9)).astype(np.float32)
    seen = inputs(images, model)
    window = WINDOWS[model]
    assert seen.shape == (162, window**2)
    np.testing.assert_array_equal(seen[:, window**2 // 2], images.ravel().astype(np.float64) - 0.5)
    corner = seen[0].reshape(window, window)
    assert corner[window // 2 - 1, window // 2] == corner[window // 2 + 1, window // 2]


def test_the_vote_is_that_of_most() -> None:
    """A pixel that one model alone sees is outvoted, a hole in a pore is closed, a pore that all see stays."""
    masks: list[NDArray[np.bool_]] = [np.zeros((1, 9, 9), dtype=bool) for _ in range(3)]
    masks[0][0, 1, 1] = True
    for mask in masks:
        mask[0, 3:7, 3:7] = True
        mask[0, 4, 4] = False
    agreed = vote(masks)
    assert not agreed[0, 1, 1]
    assert agreed[0, 3:7, 3:7].sum() >= 12
    assert agreed[0, 4, 4]
    assert not agreed[0, 0].any()


def test_overlap_by_hand() -> None:
    assert dice(np.array([2.0, 4.0, 4.0])) == 0.5
    assert dice(np.zeros(3)) == 1.0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("angles", 0, "angles must be positive"), ("seed", -1, "must not be negative"), ("side", 12, "at least 14 px")],
)
def test_a_bad_configuration_is_one_sentence(tmp_path: Path, key: str, value: float, words: str) -> None:
    prepare(tmp_path)
    shorter(tmp_path / FILE_NAME, **{key: value})
    with pytest.raises(ValueError, match=words):
        prepare(tmp_path)
