"""The BraggNN demo as a whole: from the launcher to the answer of the store."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.compaction.compact import compact
from braid_hpc.demos.answers import latest
from braid_hpc.demos.braggnn import report
from braid_hpc.demos.braggnn.network import LAYERS, inputs
from braid_hpc.demos.braggnn.peaks import find_peaks, select
from braid_hpc.demos.braggnn.settings import FILE_NAME, prepare
from braid_hpc.demos.braggnn.simulate import simulate
from braid_hpc.demos.braggnn.summary import who_placed
from braid_hpc.demos.files import read_h5
from braid_hpc.demos.network import predict
from braid_hpc.kernels.threshold import suppress
from braid_hpc.store.store import Store
from tests.jobs import count, digests, edges_of, has_cycle, rows
from tests.ranks import OPENMPI_ENVIRONMENT, RunRanks, kill_rank, mpi_of_this_environment, wait_for

pytestmark = pytest.mark.mpi_matrix

BRAID = Path(sysconfig.get_path("scripts")) / "braid"


def braid(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Call the installed program."""
    import os

    env = dict(os.environ)
    if mpi_of_this_environment() == "openmpi":
        env.update(OPENMPI_ENVIRONMENT)
    command = [str(BRAID), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=env)
    assert done.returncode == 0 or not check, done.stderr
    return done


def fast(folder: Path) -> Path:
    """Give a demo directory with a configuration of fewer frames and epochs."""
    prepare(folder)
    path = folder / FILE_NAME
    text = path.read_text()
    for before, after in (
        ("frames = 128", "frames = 16"),
        ("held_out = 32", "held_out = 4"),
        ("epochs = 10", "epochs = 3"),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return folder


def check_answer(answer: dict[str, Any], ranks: int, epochs: int) -> None:
    """The configuration, frames and peaks of all ranks, and each version of the model once."""
    refs = [node["ref"] for node in answer["nodes"]]
    assert len(refs) == len(set(refs))
    assert answer["root"] == f"model:braggnn@{epochs + 1}"
    assert "fact:config/scan-7@1" in refs
    for rank in range(ranks):
        assert f"data:frames/scan-7/rank-{rank}@1" in refs
        assert f"data:peaks/scan-7/rank-{rank}@1" in refs
    models = [node["version"] for node in answer["nodes"] if node["kind"] == "model"]
    assert sorted(models) == list(range(1, epochs + 2))
    assert not any(name.startswith("data:held-out") for name in refs)
    assert not [edge for edge in answer["edges"] if edge["parent"] == answer["root"]]
    assert (answer["complete"], answer["missing"]) == (True, [])


def check_question(store: Store, folder: Path, ranks: int) -> None:
    """What trained the model that placed the peaks: the weights of the last checkpoint place them, and no others do."""
    run = latest(store, "braggnn")
    answer = who_placed(store, run)
    assert answer["model"] == "model:braggnn@4"
    assert answer["data"] == [f"data:peaks/scan-7/rank-{rank}@1" for rank in range(ranks)]
    assert answer["config"] == ["fact:config/scan-7@1"]
    weights = [read_h5(folder / "checkpoints" / f"epoch-{epoch:02}.h5")["weights"] for epoch in (1, 2, 3)]
    settings = prepare(folder)
    raw = simulate(settings, ranks - 1)
    peaks = find_peaks(suppress(raw.counts, settings.threshold), settings.background, raw.truth)
    unseen = select(peaks, peaks.frame >= settings.frames - settings.held_out)
    kept = np.asarray(store.array(f"data:positions/scan-7/rank-{ranks - 1}"))
    again = [unseen.centre + predict(each, inputs(unseen), LAYERS) for each in weights]
    assert [np.allclose(kept, positions, atol=1e-9) for positions in again] == [False, False, True]
    where = "_rank = ?" if rows(store, "select size from runs")[0][0] else "_rank is null and ? >= 0"
    query = f'select x, y from stream."peak-positions" where {where} order by _row'
    np.testing.assert_allclose(rows(store, query, ranks - 1), kept, rtol=1e-6)
    edges = edges_of(store)
    assert all((f"checkpoint:braggnn@{number}", f"model:braggnn@{number + 1}") in edges for number in (1, 2, 3))


def test_the_whole_demo(tmp_path: Path) -> None:
    """`braid demo braggnn -n 4`: it ends well, the model beats the plain centre of mass, and the store answers.

    Then once more into the same directory, and a compaction that changes nothing.
    """
    done = braid("demo", "braggnn", "-n", 4, "--dir", tmp_path / "demo")
    assert "events from 4 ranks" in done.stdout
    assert re.search(r"the model is \d+\.\d times closer than the plain centre of mass", done.stdout)
    assert "model:braggnn@11\n" in done.stdout
    store = tmp_path / "demo" / "prov.duckdb"
    answer = json.loads(braid("lineage", "model:braggnn", "--store", store, "--format", "json").stdout)
    check_answer(answer, ranks=4, epochs=10)
    before = digests(store)
    again = braid("compact", tmp_path / "demo" / "logs", "--store", store)
    assert "nothing new" in again.stderr
    assert digests(store) == before
    compact(tmp_path / "demo" / "logs", tmp_path / "second.duckdb")
    assert digests(tmp_path / "second.duckdb") == before
    done = braid("demo", "braggnn", "-n", 4, "--dir", tmp_path / "demo")
    assert "model:braggnn@22\n" in done.stdout
    with Store(store) as opened:
        assert rows(opened, "select job, ranks, status from runs") == [("braggnn", 4, "ok")] * 2
        assert not has_cycle(opened)
        assert opened.lineage("model:braggnn").complete
        table = opened.table("peak-positions").to_arrow()
        assert set(table["_rank"].to_pylist()) == {0, 1, 2, 3}
        assert rows(opened, "select units from streams where stream = 'peak-positions'")[0][0].count('"px"') >= 4


@pytest.mark.parametrize("ranks", [0, 1, 2, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_ranks(run_ranks: RunRanks, tmp_path: Path, ranks: int) -> None:
    """Without mpirun, and with 1, 2 and 8 ranks; the workflow's own arithmetic holds: all ranks share each model."""
    folder = fast(tmp_path / "demo")
    run_ranks(ranks, "-m", "braid_hpc.demos.braggnn", "--dir", folder, timeout=110)
    compact(folder / "logs")
    with Store(folder / "prov.duckdb") as opened:
        check_answer(opened.lineage("model:braggnn").to_dict(), max(ranks, 1), 3)
        assert f"events from {max(ranks, 1)} rank" in report(opened)
        assert rows(opened, "select distinct occurrences from versions where kind = 'model'") == [(max(ranks, 1),)]
        assert count(opened, "problems") == 0
        check_question(opened, folder, max(ranks, 1))
        packages = json.loads(
            rows(opened, "select value from run_info where key = 'packages' order by len(value)")[-1][0]
        )
        assert "numpy" in packages
        assert rows(opened, "select count(*) from run_info where key = 'mpi_library'")[0][0] <= 1


def test_a_rank_is_killed_in_the_middle(run_ranks: RunRanks, tmp_path: Path) -> None:
    """SIGKILL during the training: the rest compacts, and the answer says which rank is incomplete."""
    folder = fast(tmp_path / "demo")
    process = run_ranks.start(4, "-m", "braid_hpc.demos.braggnn", "--dir", folder, "--pause", "1")
    logs = folder / "logs"
    wait_for(lambda: logs.exists() and len(list(logs.glob("*/header.json"))) == 4, "four logs")

    def training() -> bool:
        compact(logs, tmp_path / "watch.duckdb")
        return count(tmp_path / "watch.duckdb", "occurrences o join versions v on v.id = o.id", "kind = 'model'") >= 8

    wait_for(training, "the first epoch of all ranks", timeout=60)
    ((pid,),) = rows(tmp_path / "watch.duckdb", "select pid from ranks where rank = 3")
    (tmp_path / "pid").write_text(f"{pid}\n")
    kill_rank(tmp_path / "pid")
    process.wait(60, check=False)
    compact(logs, folder / "prov.duckdb")
    with Store(folder / "prov.duckdb") as opened:
        answer = opened.lineage("model:braggnn").to_dict()
        assert answer["complete"] is False
        assert (3, "open") in {(each["rank"], each["state"]) for each in answer["missing"]}
        for rank in range(4):
            assert f"data:peaks/scan-7/rank-{rank}@1" in {node["ref"] for node in answer["nodes"]}
        assert "rank 3" in report(opened)
        assert not has_cycle(opened)
