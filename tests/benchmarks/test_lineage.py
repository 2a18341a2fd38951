"""The benchmark of lineage runs, and every engine finds as much; what it measured is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lineage_tables import draw, found_by_lineage, keep, where_others_answer_better, write_table
from benchmarks.rounds import Rounds, machine, read_rounds

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "lineage.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_writes_its_figures_with_their_machine(tmp_path: Path) -> None:
    """Engines that are not installed are named as such."""
    command = [sys.executable, str(PROGRAM), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    measured = read_rounds(tmp_path / "lineage.parquet")
    assert measured.about["cores"] >= 1
    assert all("not installed" in note.why for note in measured.not_run)
    assert measured.values(variant="generate", measure="bytes_per_edge")[0] > 0
    for question, least in (("closure", 4), ("impact of the hub", 2)):
        answers = {row.variant: row.value for row in measured.rows if row.measure == f"{question}: answer"}
        assert len(answers) >= least
        assert len({*answers.values()}) == 1
        assert len(measured.values(variant="braid_hpc, compiled", measure=f"{question}: wall")) == 3
    several = measured.values(variant="braid_hpc, compiled", measure="why, 3 ways: answer")[0]
    assert several > measured.values(variant="braid_hpc, NumPy", measure="why, edges of the way: answer")[0]
    cold = {
        name: min(measured.values(variant="cold", measure=f"{name}: CPU").values())
        for name in ("braid why", "python -c pass")
    }
    assert cold["braid why"] > cold["python -c pass"]
    table = (tmp_path / "lineage.md").read_text()
    assert table.strip() == done.stdout.strip()
    assert (table.count("| SQLite: closure |")) == 1


def test_what_is_promised_and_what_others_do_better_are_of_the_rounds(tmp_path: Path) -> None:
    """Every figure that speaks for a peer is listed, and a promise that is not kept is said to be so."""
    measured = Rounds("lineage", tmp_path, machine(tmp_path))
    for edges, ours, theirs in ((10**6, 0.5, 2.5), (10**7, 1.5, 0.25)):
        size = {"edges": edges, "nodes": edges // 3, "build_s": 0.4, "build_cpu_s": 0.3, "bytes_per_edge": 13.5}
        keep(measured, edges, "generate", size)
        for what, late in (("braid_hpc, compiled", ours), ("igraph", theirs)):
            found = {"closure": {"nodes": 23_000, "rounds": [(late, late)] * 3}, "build_s": 9.0, "peak_mib": 100.0}
            keep(measured, edges, what, found)
    text = write_table(measured)
    assert "### 10,000,000 edges, 3,333,333 nodes" in text
    assert "| igraph: closure | 23,000 | 0.25 | 0.25 | 0.25 | 100 |" in text
    assert "| igraph: closure | -1.00 (-1.00 to -1.00) | 0.1 |" in text
    said = found_by_lineage(measured)
    assert "takes 1.50 ms (1.50 at best). The design allows 1 ms: **not kept here**" in said
    assert "From 1e6 to 1e7 edges it takes 3.00 times as long" in said
    assert "13.5 bytes an edge (allowed: 16, kept) and takes 0.40 s for 1e7 edges" in said
    assert where_others_answer_better(measured) == ["- igraph: 10,000,000 edges, closure: 0.25 ms against 1.50."]
    assert draw(measured, tmp_path / "lineage.svg") in (
        "",
        "matplotlib is not installed: pip install 'braid_hpc[bench]'",
    )
