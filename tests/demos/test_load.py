"""The load generator: the store holds exactly what its formulas say, whatever the shape and however many the ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

import braid_hpc as braid
from braid_hpc.demos.load import Shape, generate, main
from braid_hpc.demos.ranks import Ranks
from tests.jobs import Job, count, has_cycle, made, rows
from tests.ranks import RunRanks


def check(store: braid.Store, shape: tuple[int, ...]) -> None:
    """Hold a store to the formulas, written down here again."""
    c, m, cycles, e, u, d = shape
    assert count(store, "records") == count(store, "versions") == c + m + cycles * e
    assert count(store, "edges") == m + cycles * e * (d + m)
    assert count(store, "uris") == u * (c + cycles * e)
    assert count(store, "tags") == count(store, "problems") == 0
    assert not has_cycle(store)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [
        (4, 2, 3, 5, 2, 3),
        (1, 1, 1, 1, 1, 1),
        (3, 0, 2, 4, 1, 2),
        (3, 5, 0, 7, 2, 0),
        (6, 1, 4, 2, 0, 6),
        (0, 0, 2, 3, 3, 0),
        (0, 0, 0, 0, 0, 0),
    ],
)
def test_counts_are_exact(tmp_path: Path, shape: tuple[int, ...], size: int) -> None:
    """From nothing at all to everything linked with everything; ranks share configurations and models."""
    wanted = Shape(*shape)
    with Job(tmp_path / "logs", size) as job:
        declared = [generate(job[rank], Ranks(rank, size), wanted) for rank in range(size)]
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        check(store, shape)
        assert (count(store, "records"), count(store, "edges"), count(store, "uris")) == (
            wanted.records,
            wanted.edges,
            wanted.all_uris,
        )
        occurrences = rows(store, "select coalesce(sum(occurrences), 0)::int from versions")
        assert occurrences == [(sum(declared),)]


def test_what_falls_in_a_load_is_counted_too(tmp_path: Path) -> None:
    """A model takes all experiments along; the last configuration, which no model uses, those that depend on it."""
    _, _, cycles, e, _, _ = shape = (4, 2, 3, 5, 1, 1)
    with Job(tmp_path / "logs", 2) as job:
        for rank in range(2):
            generate(job[rank], Ranks(rank, 2), Shape(*shape))
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        model = rows(store, "select uid from versions where kind = 'model' order by name limit 1")[0][0]
        store.invalidate(f"id:{model}", cause="diverged")
        assert len(store.judgements()) == 1 + cycles * e
        store.revalidate(f"id:{model}")
        assert len(store.judgements()) == 0
        unused = "select id from versions where kind = 'fact' and id not in (select parent from edges e join versions "
        (last,) = rows(store, f"{unused} v on v.id = e.child where v.kind = 'model') order by name desc limit 1")[0]
        depending = count(store, "edges", f"parent = {last}")
        store.invalidate(rows(store, f"select 'id:' || uid from nodes where id = {last}")[0][0], cause="wrong")
        assert len(store.judgements()) == 1 + depending
        assert 0 < depending < cycles * e
        assert sum(not node.valid for node in store.graph(limit=None).nodes) == 1 + depending


@pytest.mark.mpi_matrix
def test_counts_are_exact_on_real_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    shape = (5, 2, 6, 7, 2, 3)
    options = zip(("configurations", "models", "cycles", "experiments", "uris", "dependencies"), shape, strict=True)
    words = [f"--{name}={value}" for name, value in options]
    done = run_ranks(2, "-m", "braid_hpc.demos.load", "--dir", tmp_path / "load", *words)
    assert "49 records, 212 edges and 94 uris over all ranks" in done.stdout
    with made(tmp_path / "load" / "logs", tmp_path / "prov.duckdb") as store:
        check(store, shape)
        assert rows(store, "select ranks, status from runs") == [(2, "ok")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dependencies=3", "--configurations=2"], "3 dependencies need as many configurations, not 2"),
        (["--cycles=-1"], "cycles must not be negative"),
        (["--configurations=0", "--dependencies=0"], "a model needs a configuration"),
    ],
)
def test_a_shape_that_cannot_be_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
