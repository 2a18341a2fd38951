"""How sure an answer is, on real ranks too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import braid_hpc as braid
from tests.jobs import made
from tests.lineage.test_answer import workflow
from tests.ranks import RunRanks


def test_all_logs_whole(tmp_path: Path) -> None:
    workflow(tmp_path / "logs", 2)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        answer = store.complete("model:net")
        assert (answer.complete, bool(answer), answer.missing, len(answer.runs)) == (True, True, [], 1)
        assert str(answer) == "model:net@3: complete, by the logs of 1 run"
        assert pa.table(answer).num_rows == 0
        assert pa.table(answer).column_names[:2] == ["run", "rank"]


def test_what_is_missing_is_what_lineage_says(tmp_path: Path) -> None:
    """An absent rank, then none: at the snapshot of then it stays so."""
    job = workflow(tmp_path / "logs", 3)
    shutil.move(job.folder(1), tmp_path / "aside")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        answer = store.complete("data:positions/0")
        assert answer.missing == store.lineage("data:positions/0").missing
        assert [(each.rank, each.state) for each in answer.missing] == [(1, "absent")]
        shutil.move(tmp_path / "aside", job.folder(1))
        braid.compact(tmp_path / "logs", store.path)
        store.refresh()
        assert store.complete("data:positions/0").complete
        assert not store.complete("data:positions/0", at=1)
        plain = answer.to_dict()
        assert (plain["complete"], plain["missing"][0]["rank"]) == (False, 1)


@pytest.mark.mpi_matrix
def test_a_killed_rank_is_named(tmp_path: Path, run_ranks: RunRanks) -> None:
    """Of a real job: what the others made of its data says that its log was not closed."""
    script = """
        import os, signal
        import braid_hpc as braid
        from pathlib import Path

        run = braid.start("fit", log_dir="logs")
        part = run.data(f"part/{run.rank}", digest=f"x:{run.rank}")
        run.model("net", digest="w:1", derived_from=part)
        Path(f"ready-{run.rank}").touch()
        if run.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        run.close()
        """
    # Ranks are started without a barrier between them, so the others may be ended with the killed one.
    run_ranks(2, script, cwd=tmp_path, check=False)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        answer = store.complete("model:net")
        assert not answer.complete
        assert 1 in {each.rank for each in answer.missing}
        assert {each.state for each in answer.missing} <= {"open", "absent"}
        assert "rank 1 of run" in str(answer)
        for question in (store.how("model:net"), store.stale("model:net"), store.lineage("model:net")):
            assert question.missing == answer.missing
            assert not question.complete
