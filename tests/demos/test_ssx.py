"""The serial crystallography demo: what is in a structure, what falls with an integration, and whether it is right.

The oracle is the workflow itself: the list of files in each prime.phil, and the atoms the stills were computed from.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.demos.files import read_h5
from braid_hpc.demos.program import Stage
from braid_hpc.demos.ranks import Ranks
from braid_hpc.demos.ssx import report
from braid_hpc.demos.ssx.crystal import CELL, indices, intensities, predict, rotation
from braid_hpc.demos.ssx.integration import process
from braid_hpc.demos.ssx.merge import merge
from braid_hpc.demos.ssx.settings import BEAMLINE, PROCESS, Settings, phil, prepare, read_phil
from braid_hpc.demos.ssx.stills import simulate
from braid_hpc.demos.ssx.summary import contents, fallen
from braid_hpc.demos.ssx.workflow import job
from tests.demos.conftest import Done, Perform
from tests.jobs import count, edges_of, has_cycle, rows

RANKS = 3
STRUCTURES = ("experiment-1", "experiment-2", "all")


def smaller(folder: Path) -> Settings:
    """Give a directory with settings for fewer stills of a smaller detector, and coarser."""
    prepare(folder)
    for name, before, after in (
        (BEAMLINE, '"stills": 4', '"stills": 2'),
        (BEAMLINE, '"side": 288', '"side": 200'),
        (PROCESS, "d_min = 2.6", "d_min = 3.6"),
    ):
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))
    return prepare(folder)


@pytest.fixture(scope="module")
def done(perform: Perform) -> Done:
    folder = perform.folder / "ssx"
    smaller(folder)
    return perform("ssx", RANKS, folder)


def listed(folder: Path, structure: str) -> list[str]:
    """Give the files that a structure was merged from, as its list on disk says."""
    return read_phil(folder / "prime" / f"{structure}.phil")["data"]


# the whole


@pytest.mark.mpi_matrix
@pytest.mark.parametrize("structure", STRUCTURES)
def test_which_experiments_and_settings_are_in_this_structure(done: Done, structure: str) -> None:
    """Exactly the files of its list, by experiment, the two settings files and the list itself."""
    answer = contents(done.store, f"structure:{structure}")
    files = [path.removesuffix(".h5") for path in listed(done.folder, structure)]
    assert len(files) == (20 if structure == "all" else 10)
    assert answer["experiments"] == {
        name: sorted(f"data:{path}@1" for path in files if f"/{name}/" in path)
        for name in ("experiment-1", "experiment-2")
        if structure in (name, "all")
    }
    assert answer["settings"] == ["fact:beamline.json@1", "fact:process.phil@1"]
    assert answer["prime"] == [f"data:prime.phil/{structure}@1"]
    assert answer["missing"] == []


@pytest.mark.mpi_matrix
@pytest.mark.parametrize("integrated", ["integrated/experiment-1/03", "integrated/experiment-2/09"])
def test_which_structures_fall_with_an_integration(done: Done, integrated: str) -> None:
    """Those whose list on disk has the file, and no other."""
    expected = sorted(f"structure:{name}@1" for name in STRUCTURES if f"{integrated}.h5" in listed(done.folder, name))
    assert len(expected) == 2
    assert fallen(done.store, f"data:{integrated}") == expected


@pytest.mark.mpi_matrix
def test_the_graph_is_that_of_the_workflow(done: Done) -> None:
    """Both settings files to every integrated file and every list; these to the structure."""
    edges = edges_of(done.store)
    facts = {"fact:beamline.json@1", "fact:process.phil@1"}
    for experiment in ("experiment-1", "experiment-2"):
        for series in range(10):
            name = f"{experiment}/{series:02}@1"
            assert {parent for child, parent in edges if child == f"data:integrated/{name}"} == {
                f"data:stills/{name}",
                *facts,
            }
    for structure in STRUCTURES:
        parents = {parent for child, parent in edges if child == f"structure:{structure}@1"}
        assert parents == {
            f"data:prime.phil/{structure}@1",
            *(f"data:{path.removesuffix('.h5')}@1" for path in listed(done.folder, structure)),
        }
        assert {parent for child, parent in edges if child == f"data:prime.phil/{structure}@1"} == facts
    ranks = rows(done.store, "select distinct rank from activities where name = 'integrate' order by all")
    assert ranks == [(rank,) for rank in range(done.ranks)]
    assert count(done.store, "problems") == 0
    assert not has_cycle(done.store)


@pytest.mark.mpi_matrix
def test_the_report_says_what_the_store_knows(done: Done) -> None:
    text = report(done.store)
    assert f"events from {done.ranks} ranks" in text
    assert "experiment-1: 10 integrated files" in text
    assert "structure:all@1, structure:experiment-1@1" in text
    assert len(re.findall(r"CC1/2 0\.\d{3}, R_split 0\.\d{3}", text)) == 3


def test_any_number_of_ranks_gives_the_same_structures(done: Done, tmp_path: Path) -> None:
    """The work of three ranks, done by one: every file of integration and every structure is the same."""
    settings = smaller(tmp_path)
    with braid.job("ssx", log_dir=tmp_path / "logs") as run:
        job(Stage(run, Ranks(), tmp_path, settings))
    for structure in STRUCTURES:
        name = f"structure/{structure}.hkl"
        assert (tmp_path / name).read_bytes() == (done.folder / name).read_bytes()
    for path in listed(tmp_path, "all"):
        one, other = read_h5(tmp_path / path), read_h5(done.folder / path)
        assert all(np.array_equal(one[name], other[name]) for name in one)


# its parts


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return prepare(tmp_path_factory.mktemp("ssx"))


def test_merged_intensities_are_those_of_the_atoms(settings: Settings) -> None:
    """From twelve stills a few hundred reflections come out right, and more of them come out better."""
    files = [process(settings, simulate(settings, 0, series)) for series in range(6)]
    found = []
    for some in (files[:2], files):
        structure = merge(some, settings.process)
        true = intensities(structure.index, settings.beamline.seed)
        found.append(np.corrcoef(structure.intensity, true)[0, 1])
    assert found[1] > 0.95
    assert found[1] > found[0]
    assert structure.cc_half > 0.85
    assert structure.multiplicity.sum() == sum((file["partiality"] >= 0.25).sum() for file in files)


def test_equivalents_have_one_structure_factor() -> None:
    """P222 and Friedel's law: the signs of the indices make no difference."""
    index = np.array([[1, 2, 3], [-1, 2, 3], [1, -2, -3], [-1, -2, -3], [3, 2, 1]])
    squared = intensities(index, 11)
    np.testing.assert_allclose(squared[:4], squared[0])
    assert squared[4] != pytest.approx(squared[0])
    every = indices(2.6)
    assert (intensities(every, 11) >= 0).all()
    assert np.sqrt(((every / CELL) ** 2).sum(axis=1)).max() <= 1 / 2.6


def test_a_predicted_spot_fulfils_braggs_law(settings: Settings) -> None:
    """The angle to the beam of every spot is that of its lattice spacing, to what its width allows."""
    beamline = settings.beamline
    orientation = rotation(np.random.default_rng(3))
    np.testing.assert_allclose(orientation @ orientation.T, np.eye(3), atol=1e-12)
    spots = predict(beamline, orientation, indices(2.6), 0.003)
    assert len(spots.index) > 40
    middle = (beamline.side - 1) / 2
    radius = np.hypot(spots.row - middle, spots.column - middle) * beamline.pixel
    spacing = 1 / np.sqrt(((spots.index / CELL) ** 2).sum(axis=1))
    bragg = 2 * np.arcsin(beamline.wavelength / 2 / spacing)
    assert np.abs(np.arctan2(radius, beamline.distance) - bragg).max() < 0.06
    assert np.median(np.abs(np.arctan2(radius, beamline.distance) - bragg)) < 0.01


def test_a_scale_of_each_still_is_found(settings: Settings) -> None:
    """Observations without noise, half of the stills three times brighter: they agree after scaling."""
    random = np.random.default_rng(1)
    full, brightness = random.uniform(50, 500, 40), np.array([1.0, 3.0, 1.0, 3.0])
    still = np.repeat(np.arange(4), 40)
    part = random.uniform(0.5, 1.0, 160)
    columns = {
        "still": still,
        "h": np.tile(np.arange(40), 4),
        "k": np.zeros(160, dtype=int),
        "l": np.ones(160, dtype=int),
        "intensity": brightness[still] * part * np.tile(full, 4),
        "sigma": np.ones(160),
        "partiality": part,
    }
    structure = merge([columns], settings.process)
    assert structure.cc_half > 0.9999
    assert structure.r_split < 0.01
    np.testing.assert_allclose(structure.intensity / full, (structure.intensity / full)[0], rtol=0.01)


def test_nothing_to_merge_is_said(settings: Settings) -> None:
    empty = {name: np.zeros(0) for name in ("still", "h", "k", "l", "intensity", "sigma", "partiality")}
    with pytest.raises(ValueError, match="no reflection is good enough"):
        merge([empty], settings.process)


def test_phil_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.phil"
    path.write_text(phil({"data": ["a.h5", "b.h5"], "cycles": [3]}) + "outer { # a scope\n  inner {\n x = 1\n}\n}\n")
    assert read_phil(path) == {"data": ["a.h5", "b.h5"], "cycles": ["3"], "outer.inner.x": ["1"]}
    for text, words in (("data a.h5\n", "line 1 is not PHIL: 'data a.h5'"), ("a {\n", "'a' is not closed")):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_phil(path)


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        (BEAMLINE, '"distance": 70.0', '"distance": 0', "distance must be positive"),
        (BEAMLINE, '"seed": 11', '"seed": -1', "must not be negative"),
        (BEAMLINE, '"seed": 11,', "", "the key 'seed' is missing"),
        (BEAMLINE, "{", "[", "beamline.json: "),
        (PROCESS, "d_min = 2.6", "d_min = 0.4", "half the wavelength"),
        (PROCESS, "border = 2", "border = wide", "process.phil: "),
        (PROCESS, "cycles = 4", "", "the key 'cycles' is missing"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path: Path, name: str, before: str, after: str, words: str) -> None:
    prepare(tmp_path)
    text = (tmp_path / name).read_text()
    assert before in text
    (tmp_path / name).write_text(text.replace(before, after, 1))
    with pytest.raises(ValueError, match=words):
        prepare(tmp_path)


def test_a_seed_is_that_of_the_file(tmp_path: Path) -> None:
    """It is written into a new file; the user's file is not overruled."""
    assert prepare(tmp_path, 5).beamline.seed == 5
    assert prepare(tmp_path).beamline.seed == 5
    with pytest.raises(ValueError, match="says seed 5, not 6"):
        prepare(tmp_path, 6)
