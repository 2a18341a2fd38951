"""The edge-reduction demo: every decision can be answered for, down to the row, and the physics is sound.

The oracle is the workflow itself: the registers in the firmware's file, applied again to shots that are drawn again.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.demos.network import first_weights, predict
from braid_hpc.demos.slac import report
from braid_hpc.demos.slac.firmware import Firmware, build, cut_for, layers, read_firmware
from braid_hpc.demos.slac.settings import FILE_NAME, Settings, prepare
from braid_hpc.demos.slac.simulate import experiment, simulation
from braid_hpc.demos.slac.summary import who_dropped
from braid_hpc.demos.slac.workflow import field
from tests.demos.conftest import Done, Perform, shorter
from tests.jobs import count, edges_of, has_cycle, rows
from tests.snapshots.test_macros import compare

RANKS, EPOCHS, SHOTS = 2, 3, 200


@pytest.fixture(scope="module")
def done(perform: Perform) -> Done:
    folder = perform.folder / "slac"
    prepare(folder)
    shorter(folder / FILE_NAME, epochs=EPOCHS, simulated=200, calibration=200, shots=SHOTS)
    return perform("slac", RANKS, folder)


def decided(done: Done, shift: int) -> list[tuple[Any, ...]]:
    """Decide on the shots of a shift again, from the firmware's file."""
    firmware = read_firmware(done.folder / "firmware" / f"cookiebox-{shift}.json")
    settings = prepare(done.folder)
    found: list[tuple[Any, ...]] = []
    for rank in range(done.ranks):
        shots = experiment(settings, rank, shift)
        score = firmware.scores(firmware.sums(shots.waveforms))
        first = ((shift - 1) * done.ranks + rank) * SHOTS
        found += [
            (first + i, rank, firmware.usercode, int(value), bool(value >= firmware.cut), bool(beam))
            for i, (value, beam) in enumerate(zip(score, shots.beam, strict=True))
        ]
    return found


# the whole


@pytest.mark.parametrize("shift", [1, 2])
def test_every_decision_is_the_one_of_the_registers(done: Done, shift: int) -> None:
    """Each shot of each rank has its row, with the score that the firmware's file gives for it."""
    found = rows(
        done.store,
        f'select event, _rank, usercode, score, kept, beam from stream."decisions/shift-{shift}" order by event',
    )
    assert found == decided(done, shift)


@pytest.mark.parametrize("shift", [1, 2])
def test_who_decided_to_drop_this_event(done: Done, shift: int) -> None:
    """From the row of an event to the firmware's version, its registers, and all data that trained the model."""
    registers = json.loads((done.folder / "firmware" / f"cookiebox-{shift}.json").read_text())["registers"]
    dropped = next(row for row in decided(done, shift) if not row[4] and row[1] == done.ranks - 1)
    answer = who_dropped(done.store, dropped[0])
    assert (answer["row"]["rank"], answer["row"]["row"]) == (done.ranks - 1, dropped[0] % SHOTS)
    assert answer["firmware"] == f"firmware:cookiebox@{shift}"
    assert answer["usercode"] == answer["row"]["usercode"] == dropped[2]
    assert answer["threshold"] == registers["threshold"]["value"]
    assert answer["cut"] == registers["cut"]["value"]
    epoch = 1 if shift == 1 else EPOCHS
    assert answer["model"] == f"model:cookienet@{epoch + 1}"
    files = sorted(path.relative_to(done.folder) for path in done.folder.glob("*/rank-*.h5"))
    assert len(files) == 2 * done.ranks
    assert answer["data"] == sorted(f"data:{path.with_suffix('')}@1" for path in files)
    assert answer["config"] == ["fact:config/cookiebox@1"]
    assert answer["missing"] == []


def test_the_graph_is_that_of_the_workflow(done: Done) -> None:
    """Configuration to simulation and calibration, both to the model, model to firmware, firmware to reduced data."""
    store = done.store
    edges = edges_of(store)
    for rank in range(done.ranks):
        for part in ("simulation", "calibration"):
            assert (f"data:{part}/rank-{rank}@1", "fact:config/cookiebox@1") in edges
            assert ("model:cookienet@2", f"data:{part}/rank-{rank}@1") in edges
    assert ("firmware:cookiebox@1", "model:cookienet@2") in edges
    assert ("firmware:cookiebox@2", f"model:cookienet@{EPOCHS + 1}") in edges
    for shift in (1, 2):
        for stream in ("decisions", "reduced"):
            assert (f"stream:{stream}/shift-{shift}@1", f"firmware:cookiebox@{shift}") in edges
        assert (f"stream:streaking/shift-{shift}@1", f"stream:reduced/shift-{shift}@1") in edges
    fallen = {node.ref for node in store.impact("firmware:cookiebox@1").nodes}
    assert {"stream:decisions/shift-1@1", "stream:reduced/shift-1@1", "stream:streaking/shift-1@1"} <= fallen
    assert not any("shift-2" in ref for ref in fallen)
    assert rows(store, "select distinct occurrences from versions where kind = 'model'") == [(done.ranks,)]
    assert count(store, "problems") == 0
    assert not has_cycle(store)


def test_the_reduction_is_worth_something(done: Done) -> None:
    """The final firmware keeps shots with beam and few others, the field is found, and much less data is left."""
    ((kept, wrong, share),) = rows(
        done.store,
        """select avg(kept::int) filter (beam), avg(kept::int) filter (not beam),
        (select count(*) from stream."reduced/shift-2") / (count(*) * 16 * 96)
        from stream."decisions/shift-2" """,
    )
    assert kept > 0.9
    assert wrong < 0.3
    assert share < 0.15
    ((error,),) = rows(done.store, 'select median(abs(error)) from stream."streaking/shift-2" where not isnan(error)')
    assert error < 0.6  # by chance it would be pi / 2
    text = report(done.store)
    assert f"events from {done.ranks} ranks" in text
    assert "trained on data:calibration/rank-0@1, " in text
    assert "not complete" not in text


def test_an_event_that_is_not_there(done: Done) -> None:
    with pytest.raises(LookupError, match="no shift of this run has an event 999999"):
        who_dropped(done.store, 999_999)


# its parts


def test_macros_of_its_store_are_what_it_answers(done: Done, tmp_path: Path) -> None:
    # DuckDB opens a file once in a process, and it is open.
    copied = Path(shutil.copy(done.store.path, tmp_path))
    assert compare(copied, None, random.Random(1), 4) == 8


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepare(tmp_path)


def test_shots_follow_from_seed_rank_and_part(settings: Settings) -> None:
    """The same again for the same, others for others, and the same detector for all ranks."""
    one = experiment(settings, 0, 1)
    assert one.waveforms.tobytes() == experiment(settings, 0, 1).waveforms.tobytes()
    others = [experiment(settings, 1, 1), experiment(settings, 0, 2), experiment(replace(settings, seed=1), 0, 1)]
    assert all(one.waveforms.tobytes() != other.waveforms.tobytes() for other in others)
    levels = [np.median(shots.waveforms, axis=(0, 2)) for shots in (one, others[0])]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    assert np.ptp(levels[0]) > 5


def test_registers_come_back_from_their_file(settings: Settings, tmp_path: Path) -> None:
    """What is written is what is read; a register that was changed behind the user code's back is refused."""
    weights = first_weights(1, layers(16)) + 0.01
    firmware = build(settings, weights, np.arange(16, dtype=np.int32), 20, cut=-7)
    path = tmp_path / "firmware.json"
    firmware.write(path)
    again = read_firmware(path)
    assert again.usercode == firmware.usercode
    assert again.hidden_weight.tolist() == firmware.hidden_weight.tolist()
    assert (again.cut, again.threshold) == (-7, 20)
    said = json.loads(path.read_text())
    addresses = [int(register["address"], 16) for register in said["registers"].values()]
    assert addresses == sorted(set(addresses))
    said["registers"]["cut"]["value"] = 8
    path.write_text(json.dumps(said))
    with pytest.raises(ValueError, match="user code is not that of the registers"):
        read_firmware(path)


def test_fixed_point_decides_as_the_model_does(settings: Settings) -> None:
    """Seven bits behind the point move the score by little: nearly all shots are ordered as by the model itself."""
    units = layers(16)
    random = np.random.default_rng(2)
    weights = first_weights(4, units)
    weights[-25:-1] = random.normal(0, 0.5, 24)
    firmware = build(settings, weights, np.full(16, 200, dtype=np.int32), 18)
    sums = firmware.sums(simulation(settings, 0).waveforms)
    exact = predict(weights, sums / 256.0, units)[:, 0]
    fixed = firmware.scores(sums) / 256.0
    assert np.abs(fixed - exact).max() < 0.05 * np.ptp(exact)
    assert np.mean((fixed > np.median(fixed)) == (exact > np.median(exact))) > 0.97


def test_the_cut_keeps_what_it_must() -> None:
    scores = [np.arange(0, 60, dtype=np.int32), np.arange(60, 100, dtype=np.int32)]
    cut = cut_for(scores, 0.9)
    assert np.mean(np.concatenate(scores) >= cut) == pytest.approx(0.9, abs=0.011)


def test_the_field_of_a_clean_shot_is_found() -> None:
    """Without noise, angle and swing come out as they went in."""
    around = np.arange(16) * (2 * np.pi / 16)
    above = np.zeros((1, 16, 96), dtype=np.int32)
    arrival = np.rint(48 + 8 * np.cos(around - 1.0)).astype(int)
    above[0, np.arange(16), arrival] = 100
    angle, swing = field(above)
    assert angle[0] == pytest.approx(1.0, abs=0.05)
    assert swing[0] == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("samples", 0, "samples must be positive"),
        ("seed", -1, "seed must not be negative"),
        ("channels", 2, "3 channels or more"),
        ("window_end", 200, "within the 96 samples"),
        ("quick", 6, "comes before the last"),
        ("efficiency", 1.0, "between 0 and 1"),
        ("fraction_bits", 13, "fraction_bits from 1 to 12"),
    ],
)
def test_a_bad_configuration_is_one_sentence(tmp_path: Path, key: str, value: float, words: str) -> None:
    prepare(tmp_path)
    shorter(tmp_path / FILE_NAME, **{key: value})
    with pytest.raises(ValueError, match=words):
        prepare(tmp_path)


def test_the_registers_have_a_name_of_their_own(settings: Settings) -> None:
    """Two builds that differ in the cut alone are told apart by their user codes."""
    weights = first_weights(1, layers(16))
    one: Firmware = build(settings, weights, np.zeros(16, dtype=np.int32), 20, cut=1)
    assert one.usercode != replace(one, cut=2).usercode
