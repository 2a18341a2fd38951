"""The computation of the BraggNN demo, part by part: frames, peaks, network, configuration, ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braid_hpc.demos.braggnn import network
from braid_hpc.demos.braggnn.peaks import PATCH, Peaks, errors, find_peaks, select
from braid_hpc.demos.braggnn.ranks import SIZE_VARIABLES, Ranks, join
from braid_hpc.demos.braggnn.settings import DEFAULT, FILE_NAME, Settings, ensure_file, read_settings
from braid_hpc.demos.braggnn.simulate import simulate
from braid_hpc.demos.braggnn.summary import _comparison
from braid_hpc.kernels.threshold import suppress
from tests.ranks import RunRanks


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Give the default configuration with a quarter of its frames."""
    return replace(read_settings(ensure_file(tmp_path)), frames=32, held_out=8)


def peaks_of(settings: Settings, rank: int) -> Peaks:
    """Simulate, suppress and find, as a rank of the job does."""
    frames = simulate(settings, rank)
    return find_peaks(suppress(frames.counts, settings.threshold), settings.background, frames.truth)


# configuration


def test_a_configuration_is_written_once_and_then_the_users(tmp_path: Path) -> None:
    """The default file appears where none is, nothing else is left behind, and an edited one is not touched."""
    path = ensure_file(tmp_path / "new")
    assert [entry.name for entry in path.parent.iterdir()] == [FILE_NAME]
    assert read_settings(path).energy_keV == 71.7
    path.write_text(DEFAULT.replace("seed = 7", "seed = 8"))
    assert read_settings(ensure_file(tmp_path / "new")).seed == 8


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
    path = ensure_file(tmp_path)
    path.write_text(DEFAULT.replace(line, instead))
    with pytest.raises(ValueError, match=words) as caught:
        read_settings(path)
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


def test_gradient_is_that_of_the_loss() -> None:
    """Every derivative agrees with a central difference of the loss."""
    layers, random = (6, 5, 4, 2), np.random.default_rng(3)
    weights = network.first_weights(1, layers) + random.normal(0, 0.1, 6 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2)
    x, y = random.normal(size=(7, 6)), random.normal(size=(7, 2))
    loss, derivative = network.gradient(weights, x, y, layers)
    assert loss == pytest.approx(((network.predict(weights, x, layers) - y) ** 2).sum())
    for i in range(weights.size):
        step = np.zeros_like(weights)
        step[i] = 1e-6
        high, low = (network.gradient(weights + sign * step, x, y, layers)[0] for sign in (1, -1))
        assert derivative[i] == pytest.approx((high - low) / 2e-6, rel=1e-5, abs=1e-6)


def test_gradients_add_up_over_parts() -> None:
    """The sums over two parts of a batch are those over the whole, which is what lets ranks share the work."""
    random = np.random.default_rng(4)
    weights = network.first_weights(1) + 0.01
    x, y = random.normal(size=(10, network.LAYERS[0])), random.normal(size=(10, 2))
    whole, derivative = network.gradient(weights, x, y)
    parts = [network.gradient(weights, x[part], y[part]) for part in (slice(3), slice(3, None), slice(0))]
    assert sum(part[0] for part in parts) == pytest.approx(whole)
    np.testing.assert_allclose(sum(part[1] for part in parts), derivative, rtol=1e-9, atol=1e-12)


def test_first_weights_start_from_the_centre_of_mass(settings: Settings) -> None:
    """An untrained network corrects nothing, and is the same wherever it is made."""
    weights = network.first_weights(7)
    assert weights.tobytes() == network.first_weights(7).tobytes()
    assert not network.predict(weights, network.inputs(peaks_of(settings, 0))).any()


def test_weights_of_another_network_are_refused() -> None:
    """A vector that does not fit the layers is an error, not a wrong answer."""
    with pytest.raises(ValueError, match="have 12 weights, not 11"):
        network.predict(np.zeros(11), np.zeros((1, 5)), (5, 2))


def trained(settings: Settings, peaks: Peaks, steps: int) -> NDArray[np.float64]:
    """Train on whole batches, by the parts that the job uses."""
    weights = network.first_weights(settings.seed)
    adam = network.Adam(np.zeros_like(weights), np.zeros_like(weights))
    x, y = network.inputs(peaks), network.targets(peaks)
    for step in range(steps):
        _, derivative = network.gradient(weights, x, y)
        weights = adam.step(weights, derivative / len(x), settings.learning_rate * (1 - step / steps))
    return weights


@pytest.mark.parametrize("seed", [7, 8])
def test_learning_beats_the_centre_of_mass(settings: Settings, seed: int) -> None:
    """On frames it has not seen, a briefly trained network is clearly closer to the truth than the centre of mass."""
    settings = replace(settings, seed=seed)
    peaks = peaks_of(settings, 0)
    known, late = ~np.isnan(peaks.true[:, 0]), peaks.frame >= settings.frames - settings.held_out
    weights = trained(settings, select(peaks, known & ~late), steps=200)
    unseen = select(peaks, known & late)
    plain = errors(unseen.centre, unseen.true).mean()
    model = errors(unseen.centre + network.predict(weights, network.inputs(unseen)), unseen.true).mean()
    assert model < 0.8 * plain


def test_training_is_repeatable(settings: Settings) -> None:
    """The same peaks give the same weights, bit for bit."""
    peaks = peaks_of(settings, 0)
    known = select(peaks, ~np.isnan(peaks.true[:, 0]))
    assert trained(settings, known, 5).tobytes() == trained(settings, known, 5).tobytes()


# ranks


def test_one_rank_needs_no_communicator() -> None:
    """Alone, a total is the block itself, and we agree with ourselves."""
    block = np.arange(3.0)
    assert Ranks().total(block) is block
    assert Ranks().all_same(b"weights")
    assert Ranks().all_well(True)
    assert not Ranks().all_well(False)
    Ranks().abort()


@pytest.mark.parametrize("missing", [ImportError, RuntimeError])
def test_without_mpi_one_process_goes_on_and_several_do_not(
    monkeypatch: pytest.MonkeyPatch, missing: type[Exception]
) -> None:
    """A single process needs no mpi4py; four that could not find each other would overwrite each other's files."""

    def refuse(name: str) -> Any:
        raise missing("no MPI here")

    monkeypatch.setattr("importlib.import_module", refuse)
    for name in SIZE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert join() == Ranks()
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(RuntimeError, match="4 ranks were started, but mpi4py cannot be used: no MPI here"):
        join()


def test_ranks_that_cannot_see_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mpirun of another MPI every process counts one rank; that is said, not run."""
    alone = type("MPI", (), {"COMM_WORLD": type("Comm", (), {"size": 1, "rank": 0})})
    monkeypatch.setattr("importlib.import_module", lambda name: alone)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError, match="use the mpirun of the environment"):
        join()


AGREEMENT = """
import numpy as np
from braid_hpc.demos.braggnn.ranks import join

ranks = join()
assert ranks.size == 3
assert ranks.total(np.ones(2)).tolist() == [3.0, 3.0]
assert ranks.all_same(b"equal")
assert not ranks.all_same(b"equal" if ranks.rank else b"other")
assert ranks.all_well(True)
assert not ranks.all_well(ranks.rank != 1)
"""


@pytest.mark.mpi_matrix
def test_ranks_agree_or_not_together(run_ranks: RunRanks) -> None:
    """On three real ranks totals, agreement and health come out the same everywhere."""
    run_ranks(3, AGREEMENT)


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
