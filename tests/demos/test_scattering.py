"""The neutron scattering demo: which simulations support a fit, and whether the fit is right.

The oracle is the workflow itself: its steps, done again by one process without a recorder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from braid_hpc.demos.files import read_h5
from braid_hpc.demos.ranks import Ranks
from braid_hpc.demos.scattering import report
from braid_hpc.demos.scattering.features import AutoEncoder, fit, nearest, stabilised, train
from braid_hpc.demos.scattering.magnet import CONSTANTS, dispersion, draw, energy_axis, measure, path, simulate
from braid_hpc.demos.scattering.settings import FILE_NAME, Settings, prepare
from braid_hpc.demos.scattering.summary import supporting
from tests.demos.conftest import Done, Perform, shorter
from tests.jobs import count, edges_of, has_cycle, rows

RANKS, SIMULATIONS, NEAREST = 3, 61, 24  # not the same number of simulations on every rank


@pytest.fixture(scope="module")
def done(perform: Perform) -> Done:
    folder = perform.folder / "scattering"
    prepare(folder)
    shorter(folder / FILE_NAME, simulations=SIMULATIONS, nearest=NEAREST)
    return perform("scattering", RANKS, folder)


@pytest.fixture(scope="module")
def chosen(done: Done) -> list[int]:
    """Choose the simulations again, in this process."""
    settings = prepare(done.folder)
    spectra = stabilised(np.array([simulate(settings, constants) for constants in draw(settings)]))
    measured = stabilised(measure(settings)[0])
    encoder = train(Ranks(), np.vstack([spectra, measured[None]]), settings.features)
    found: list[int] = nearest(encoder.encode(spectra), encoder.encode(measured), NEAREST).tolist()
    return found


# the whole


def test_which_simulations_support_this_fit(done: Done, chosen: list[int]) -> None:
    """Those nearest to the measurement; all others are named as what trained the auto-encoder only."""
    answer = supporting(done.store, "data:fit")
    assert answer["support"] == [f"data:simulation/{number:03}@1" for number in chosen]
    others = sorted(set(range(SIMULATIONS)) - set(chosen))
    assert answer["others"] == [f"data:simulation/{number:03}@1" for number in others]
    assert answer["missing"] == []


def test_the_graph_is_that_of_the_workflow(done: Done, chosen: list[int]) -> None:
    """Data and simulations to the auto-encoder, to features, to the reduced space, to the fit."""
    parents: dict[str, set[str]] = {}
    for child, parent in edges_of(done.store):
        parents.setdefault(child, set()).add(parent)
    simulations = {f"data:simulation/{number:03}@1" for number in range(SIMULATIONS)}
    assert parents["model:auto-encoder@1"] == {*simulations, "data:measured@1"}
    for number in range(SIMULATIONS):
        of_it = {"model:auto-encoder@1", f"data:simulation/{number:03}@1"}
        assert parents[f"data:features/{number:03}@1"] == of_it
    assert parents["data:reduced-space@1"] == {
        "data:features/measured@1",
        *(f"data:features/{number:03}@1" for number in chosen),
    }
    assert parents["data:fit@1"] == {"data:reduced-space@1"}
    for name in ("measured", "reduced-space", "fit", "auto-encoder"):
        assert rows(done.store, "select occurrences from versions where name = ?", name) == [(done.ranks,)]
    assert count(done.store, "problems") == 0
    assert not has_cycle(done.store)


def test_the_fit_is_right_and_says_how_sure_it_is(done: Done) -> None:
    """Each constant is within three errors of the sample's, and the error is a small part of the range simulated."""
    settings = prepare(done.folder)
    _, truth = measure(settings)
    found = dict(
        rows(done.store, "select key, real from tags join versions using (id) where name = 'fit' and kind = 'data'")
    )
    for name, true in zip(CONSTANTS, truth, strict=True):
        error = found[f"{name}_error"]
        assert abs(found[name] - true) < 3 * error, name
        assert error < 0.2 * (getattr(settings, f"{name}_max") - getattr(settings, f"{name}_min")), name
    text = report(done.store)
    assert f"events from {done.ranks} ranks" in text
    assert f"{NEAREST} of {SIMULATIONS}; the others have only trained the auto-encoder" in text


def test_states_come_back_and_give_the_features(done: Done) -> None:
    """The stored auto-encoder, applied to a stored simulation, gives the stored features."""
    state = np.asarray(done.store.array("model:auto-encoder"))
    encoder = AutoEncoder(state[0], state[1:])
    for number in (0, SIMULATIONS - 1):
        spectrum = np.asarray(done.store.array(f"data:simulation/{number:03}"))
        features = np.asarray(done.store.array(f"data:features/{number:03}"))
        np.testing.assert_allclose(encoder.encode(stabilised(spectrum)), features, atol=0.01)
    counts = read_h5(done.folder / "measured.h5")["counts"]
    measured = np.asarray(done.store.array("data:features/measured"))
    np.testing.assert_allclose(encoder.encode(stabilised(counts)), measured, atol=1e-9)


# its parts


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return prepare(tmp_path_factory.mktemp("scattering"))


def test_spin_waves_at_known_momenta() -> None:
    """The gap at the centre; the corner of the zone sees no diagonal exchange, the middle of its side all of it."""
    momenta = np.array([[0.0, 0.0], [np.pi, np.pi], [np.pi, 0.0]])
    energy = dispersion(momenta, np.array([1.0, 0.25, 0.5]))
    np.testing.assert_allclose(energy, [0.5, 0.5 + 2 * 4.0, 0.5 + 2 * (2.0 + 0.25 * 4.0)])


def test_a_spectrum_has_its_intensity_at_the_spin_wave(settings: Settings) -> None:
    constants = np.array([1.0, 0.1, 1.5])
    counts = simulate(settings, constants)
    assert counts.shape == (settings.momenta, settings.energies)
    top = energy_axis(settings)[counts.argmax(axis=1)]
    assert np.abs(top - dispersion(path(settings.momenta), constants)).max() < settings.energy_max / settings.energies


def test_simulations_fill_their_ranges(settings: Settings) -> None:
    """One in each slice of every range; the same on every rank."""
    constants = draw(settings)
    assert constants.tobytes() == draw(settings).tobytes()
    for column, name in zip(constants.T, CONSTANTS, strict=True):
        low, high = getattr(settings, f"{name}_min"), getattr(settings, f"{name}_max")
        slices = ((column - low) / (high - low) * len(column)).astype(int)
        assert sorted(slices) == list(range(len(column)))


def test_the_encoder_keeps_what_can_be_kept() -> None:
    """Spectra of three numbers and noise: three features give them back, and directions are orthonormal."""
    random = np.random.default_rng(1)
    spectra = random.normal(size=(50, 3)) @ random.normal(size=(3, 40)) + 5.0
    encoder = train(Ranks(), spectra, 3)
    np.testing.assert_allclose(encoder.directions @ encoder.directions.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(encoder.decode(encoder.encode(spectra)), spectra, atol=1e-8)
    two = train(Ranks(), spectra, 2)
    _, values, _ = np.linalg.svd(spectra - spectra.mean(axis=0), full_matrices=False)
    lost = ((two.decode(two.encode(spectra)) - spectra) ** 2).sum()
    assert lost == pytest.approx(values[2] ** 2)


def test_constants_are_read_off_a_linear_world() -> None:
    """Features that are a linear map of the constants give them back, with a small error."""
    random = np.random.default_rng(2)
    constants, mixing = random.uniform(size=(40, 3)), random.normal(size=(3, 5)) * 100
    found = fit(constants @ mixing, constants, np.array([0.4, 0.5, 0.6]) @ mixing)
    np.testing.assert_allclose(found.constants, [0.4, 0.5, 0.6], atol=1e-4)
    assert (found.error < 1e-3).all()


def test_the_nearest_are_the_nearest() -> None:
    features = np.array([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert nearest(features, np.array([0.2, 0.0]), 2).tolist() == [0, 2]


def test_counting_noise_is_the_same_in_every_channel() -> None:
    random = np.random.default_rng(3)
    for mean in (4, 400):
        assert stabilised(random.poisson(mean, (1, 100, 100))).std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("momenta", 0, "momenta must be positive"),
        ("background", -1.0, "background must not be negative"),
        ("gap_max", 0.1, "gap_min must be less than gap_max"),
        ("nearest", 120, "between features"),
        ("features", 40, "between features"),
    ],
)
def test_a_bad_configuration_is_one_sentence(tmp_path: Path, key: str, value: float, words: str) -> None:
    prepare(tmp_path)
    shorter(tmp_path / FILE_NAME, **{key: value})
    with pytest.raises(ValueError, match=words):
        prepare(tmp_path)
