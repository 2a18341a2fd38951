"""The computation of the BraggNN demo, part by part: configuration, frames, peaks, network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from braid_hpc.demos.braggnn.network import LAYERS, inputs, targets
from braid_hpc.demos.braggnn.peaks import PATCH, Peaks, errors, find_peaks, select
from braid_hpc.demos.braggnn.settings import DEFAULT, FILE_NAME, Settings, prepare
from braid_hpc.demos.braggnn.simulate import simulate
from braid_hpc.demos.braggnn.summary import _comparison
from braid_hpc.demos.network import Learner, first_weights, predict
from braid_hpc.demos.ranks import Ranks
from braid_hpc.kernels.threshold import suppress


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give the default configuration with a quarter of its frames."""
    return replace(prepare(tmp_path), frames=32, held_out=8)


def peaks_of(settings: Settings, rank: int) -> Peaks:
    """Simulate, suppress and find, as a rank of the job does."""
    frames = simulate(settings, rank)
    return find_peaks(suppress(frames.counts, settings.threshold), settings.background, frames.truth)


# configuration


def test_a_configuration_is_written_once_and_then_the_users(tmp_path: Path) -> None:
    """The default file appears where none is, nothing else is left behind, and an edited one is not touched."""
    assert prepare(tmp_path / "new").energy_keV == 71.7
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == [FILE_NAME]
    (tmp_path / "new" / FILE_NAME).write_text(DEFAULT.replace("seed = 7", "seed = 8"))
    assert prepare(tmp_path / "new").seed == 8


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("seed = 7", "", "the key 'seed' is missing"),
        ("seed = 7", "sede = 7", "unknown key 'sede'"),
        ("seed = 7", "seed = 7.5", "seed must be a whole number, not 7.5"),
        ("seed = 7", "seed = true", "seed must be a whole number, not True"),
        ("seed = 7", "seed =", "scan7.toml: Invalid value"),
        ("seed = 7", "seed = -1", "seed must not be negative"),
        ("epochs = 10", "epochs = 0", "epochs must be positive"),
        ("held_out = 32", "held_out = 128", r"held_out \(128\) must leave some of the 128 frames"),
        ("peaks_per_frame = 20", "peaks_per_frame = 37", "at most 36 on a detector of 96 px"),
        ("saturation = 1023", "saturation = 65536", "saturation must fit 16 bits"),
    ],
)
def test_a_bad_configuration_is_one_sentence_with_its_file(tmp_path: Path, line: str, instead: str, words: str) -> None:
    """Every mistake in the file is named, with the path of the file before it."""
    path = tmp_path / FILE_NAME
    path.write_text(DEFAULT.replace(line, instead))
    with pytest.raises(ValueError, match=words) as caught:
        prepare(tmp_path)
    assert str(caught.value).startswith(str(path))


# frames


def test_frames_are_the_same_for_a_seed_and_rank_and_differ_otherwise(settings: Settings) -> None:
    """Data depend on seed and rank alone."""
    one, again = simulate(settings, 1), simulate(settings, 1)
    assert one.counts.tobytes() == again.counts.tobytes()
    assert one.truth.tobytes() == again.truth.tobytes()
    assert simulate(settings, 2).counts.tobytes() != one.counts.tobytes()
    assert simulate(replace(settings, seed=8), 1).counts.tobytes() != one.counts.tobytes()


def test_frames_look_like_a_detectors(settings: Settings) -> None:
    """Counts lie between 0 and saturation, mostly near the background, and some pixels saturate."""
    frames = simulate(settings, 0)
    assert frames.counts.shape == (32, 96, 96)
    assert frames.counts.dtype == np.uint16
    assert frames.counts.max() == settings.saturation
    assert abs(float(np.median(frames.counts)) - settings.background) < 3
    assert np.array_equal(np.bincount(frames.truth["frame"]), np.full(32, settings.peaks_per_frame))


def test_without_peaks_nothing_reaches_the_threshold(settings: Settings) -> None:
    """Background and noise alone are suppressed as a whole, and no peak is found in them."""
    empty = replace(settings, peaks_per_frame=0)
    frames = simulate(empty, 0)
    assert frames.truth.size == 0
    assert len(peaks_of(empty, 0).frame) == 0


# peaks


def test_known_positions_are_found(settings: Settings) -> None:
    """Nearly every simulated peak is found, in its frame and near its place, and hardly any other."""
    peaks = peaks_of(settings, 0)
    n = settings.frames * settings.peaks_per_frame
    known = ~np.isnan(peaks.true[:, 0])
    assert n * 0.98 <= known.sum() <= len(known) <= n * 1.01
    assert np.median(errors(peaks.centre, peaks.true)[known]) < 1.0
    assert len(np.unique(peaks.true[known], axis=0)) == known.sum()


def test_a_patch_shows_its_peak_and_no_other() -> None:
    """The patch is centred, scaled to 1, without the background and without the pixels of a neighbour."""
    frame = np.full((1, 20, 30), 10, dtype=np.uint16)
    frame[0, 8, 9:12] = [60, 110, 60]
    frame[0, 9, 10] = 60
    frame[0, 8:10, 14:16] = 510  # inside the window of 11 px, but not touching
    truth = np.array([(0, 10.2, 8.1), (0, 14.5, 8.5)], dtype=[("frame", "i4"), ("x", "f4"), ("y", "f4")])
    peaks = find_peaks(suppress(frame, 50), 10, truth)
    np.testing.assert_allclose(peaks.centre, [[10.0, 8.2], [14.5, 8.5]])
    np.testing.assert_allclose(peaks.true, [[10.2, 8.1], [14.5, 8.5]], rtol=1e-6)
    patch = peaks.patch[0].reshape(PATCH, PATCH)
    assert patch[5, 4:7].tolist() == [0.5, 1.0, 0.5]
    assert patch.sum() == 2.5


def test_small_groups_and_strangers_are_told_apart() -> None:
    """A group of three pixels is no peak; a peak the truth does not know is kept, its truth NaN."""
    frame = np.zeros((2, 20, 20), dtype=np.uint16)
    frame[0, 3, 3:6] = 100
    frame[1, 3:5, 3:5] = 100
    truth = np.array([(0, 3.5, 3.5), (1, 15.0, 15.0)], dtype=[("frame", "i4"), ("x", "f4"), ("y", "f4")])
    peaks = find_peaks(suppress(frame, 50), 0, truth)
    assert peaks.frame.tolist() == [1]
    assert np.isnan(peaks.true).all()
    assert len(select(peaks, peaks.frame == 0).frame) == 0


# network


def test_first_weights_start_from_the_centre_of_mass(settings: Settings) -> None:
    """An untrained network corrects nothing, and is the same wherever it is made."""
    weights = first_weights(7, LAYERS)
    assert weights.tobytes() == first_weights(7, LAYERS).tobytes()
    assert not predict(weights, inputs(peaks_of(settings, 0)), LAYERS).any()


def trained(settings: Settings, peaks: Peaks, steps: int) -> NDArray[np.float64]:
    """Train by the parts that the job uses."""
    learner = Learner(Ranks(), LAYERS, first_weights(settings.seed, LAYERS), [settings.seed])
    rates = [settings.learning_rate * (1 - step / steps) for step in range(steps)]
    learner.epoch(inputs(peaks), targets(peaks), batch=512, rates=rates)
    return learner.weights


@pytest.mark.parametrize("seed", [7, 8])
def test_learning_beats_the_centre_of_mass(settings: Settings, seed: int) -> None:
    """On frames it has not seen, a briefly trained network is clearly closer to the truth than the centre of mass."""
    settings = replace(settings, seed=seed)
    peaks = peaks_of(settings, 0)
    known, late = ~np.isnan(peaks.true[:, 0]), peaks.frame >= settings.frames - settings.held_out
    weights = trained(settings, select(peaks, known & ~late), steps=200)
    unseen = select(peaks, known & late)
    plain = errors(unseen.centre, unseen.true).mean()
    model = errors(unseen.centre + predict(weights, inputs(unseen), LAYERS), unseen.true).mean()
    assert model < 0.8 * plain


def test_training_is_repeatable(settings: Settings) -> None:
    """The same peaks give the same weights, bit for bit."""
    peaks = peaks_of(settings, 0)
    known = select(peaks, ~np.isnan(peaks.true[:, 0]))
    assert trained(settings, known, 5).tobytes() == trained(settings, known, 5).tobytes()


# what is printed


def test_the_report_says_which_is_closer() -> None:
    """The two errors stand side by side, and a model that does not beat the centre of mass is said not to."""
    good = {"peaks": 2558, "ranks": 4, "mean": 0.13, "most": 0.3}
    plain = {"peaks": 2558, "ranks": 4, "mean": 0.39, "most": 0.7}
    better = _comparison(good, plain)
    assert better[0].startswith("2,558 held-out peaks from 4 ranks")
    assert better[-1] == "the model is 3.0 times closer than the plain centre of mass"
    assert _comparison(plain, good)[-1] == "the model does NOT beat the plain centre of mass it starts from"
    assert _comparison(None, plain) == ["no peak was placed: the job did not get that far"]
