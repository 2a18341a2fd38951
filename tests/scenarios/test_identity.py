"""Versions of real programs on real ranks, with each MPI of the test matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import edges_of, has_cycle, made, rows
from tests.ranks import RunRanks

pytestmark = pytest.mark.mpi_matrix


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "prov.duckdb"


def test_weights_that_are_restored_from_a_checkpoint(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Training, a checkpoint, a step that is undone: the restored weights are a new version on all ranks."""
    script = """
    import numpy as np
    import braid_hpc as braid
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    with braid.job("fit") as run:
        peaks = run.data(f"peaks/{world.rank}", array=np.full(4, world.rank))
        weights = np.zeros(8)
        model = run.model("net", array=weights, derived_from=peaks)
        for step in range(3):
            gradient = np.empty(8)
            world.Allreduce(np.full(8, world.rank + step + 1.0), gradient)
            before, weights = weights, weights - 0.1 * gradient
            model = run.model("net", array=weights, derived_from=[model, peaks])
        weights = before
        model = run.model("net", array=weights, derived_from=[model, peaks], tags={"restored": True})
        model = run.model("net", array=weights, derived_from=[model, peaks], tags={"skipped": True})
    """
    run_ranks(3, script)
    with made(logs, store) as opened:
        found = rows(opened, "select version, step, occurrences, digest from versions where name = 'net' order by 1")
        assert [row[:3] for row in found] == [(n + 1, n, 3) for n in range(6)]
        assert found[2][3] == found[4][3] == found[5][3]
        assert len({row[3] for row in found}) == 4
        assert not has_cycle(opened)
        for version in range(2, 7):
            above = {parent for child, parent in edges_of(opened) if child == f"model:net@{version}"}
            assert above == {f"model:net@{version - 1}", *(f"data:peaks/{rank}@1" for rank in range(3))}


def test_what_rank_0_does_for_all(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """`if rank == 0: save(model)`: what is saved has the parts of all ranks, without a message about it."""
    script = """
    import braid_hpc as braid
    from mpi4py import MPI
    rank = MPI.COMM_WORLD.rank
    with braid.job("fit") as run:
        for turn in range(2):
            with run.activity("turn"):
                part = run.data("part")
            if rank == 0:
                run.record("checkpoint", "saved", digest=f"x:{turn}", derived_from=part.on_all_ranks())
            MPI.COMM_WORLD.barrier()
    """
    run_ranks(4, script)
    with made(logs, store) as opened:
        for version in (1, 2):
            answer = opened.lineage(f"checkpoint:saved@{version}", depth=1)
            assert answer.counts == {"checkpoint": 1, "data": 4}


def test_handles_in_messages(run_ranks: RunRanks, logs: Path, store: Path, tmp_path: Path) -> None:
    """By mpi4py's pickle, as 24 bytes in a buffer, as a token in a file: rank 0 derives from what rank 1 declared."""
    script = """
    import sys
    import numpy as np
    import braid_hpc as braid
    from mpi4py import MPI
    world, file = MPI.COMM_WORLD, sys.argv[1]
    with braid.job("fit") as run:
        if world.rank == 1:
            records = [run.data(f"from-{way}", digest=f"x:{way}") for way in ("pickle", "buffer", "token")]
            world.send(records[0], dest=0)
            world.Send(np.frombuffer(bytes(records[1]), np.uint8), dest=0)
            with open(file, "w") as out:
                out.write(records[2].token)
            world.barrier()
        else:
            got = [world.recv(source=1)]
            buffer = np.empty(24, np.uint8)
            world.Recv(buffer, source=1)
            got.append(braid.Record.from_bytes(buffer.tobytes()))
            world.barrier()
            got.append(braid.Record.from_token(open(file).read()))
            run.data("whole", derived_from=got)
    """
    run_ranks(2, script, tmp_path / "token")
    with made(logs, store) as opened:
        assert edges_of(opened) == {("data:whole@1", f"data:from-{way}@1") for way in ("pickle", "buffer", "token")}


def test_ranks_that_disagree(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Even and odd ranks hold other weights at one step: two siblings, and the question is answered for both."""
    script = """
    import braid_hpc as braid
    from mpi4py import MPI
    rank = MPI.COMM_WORLD.rank
    with braid.job("fit") as run:
        start = run.model("net", digest="w:0", derived_from=run.fact("config", 1))
        run.model("net", digest=f"w:{rank % 2}", derived_from=[start, run.data(f"peaks/{rank}", digest=f"x:{rank}")])
    """
    run_ranks(4, script)
    with made(logs, store) as opened:
        assert rows(opened, "select step, occurrences from versions where name = 'net' order by version") == [
            (0, 4),
            (1, 2),
            (1, 2),
        ]
        answer = opened.lineage("model:net")
        assert {node.name for node in answer.nodes} == {"net", "config", *(f"peaks/{rank}" for rank in range(4))}
        assert [node.distance for node in answer.nodes if node.name == "net"] == [0, 0, 1]
        shared = rows(
            opened,
            "select v.version, list(w.rank order by w.rank) from versions v join occurrences o on o.id = v.id "
            "join writers w using (writer) where v.name = 'net' and v.step = 1 group by 1 order by 2",
        )
        assert [ranks for _, ranks in shared] == [[0, 2], [1, 3]]


def test_names_in_text_across_ranks(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Rank 0 names what rank 1 made before the barrier; what nobody made is listed."""
    script = """
    import braid_hpc as braid
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    with braid.job("fit") as run:
        if world.rank == 1:
            run.data("made-by-1", digest="x:1")
        world.barrier()
        if world.rank == 0:
            run.data("whole", derived_from=["data:made-by-1", "made-by-nobody"])
    """
    run_ranks(2, script)
    with made(logs, store) as opened:
        assert edges_of(opened) == {("data:whole@1", "data:made-by-1@1")}
        assert rows(opened, "select code, given from problems") == [("unresolved", "made-by-nobody")]


def test_decorated_functions_without_a_handle(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Three functions that pass arrays, one of them in place, give a connected lineage on each rank."""
    script = """
    import numpy as np
    import braid_hpc as braid

    @braid.activity
    def acquire(seed):
        return np.random.default_rng(seed).random(10)

    @braid.activity
    def reduce(frame, threshold=0.5):
        frame[frame < threshold] = 0
        return frame

    @braid.activity
    def count(frame):
        return np.count_nonzero(frame, keepdims=True)

    with braid.job("fit") as run:
        result = count(reduce(acquire(run.rank)))
        run.data("counted", derived_from=braid.record_of(result))
    """
    run_ranks(2, script)
    with made(logs, store) as opened:
        for version in (1, 2):
            answer = opened.lineage(f"data:counted@{version}")
            activities = {node.name for node in answer.nodes if node.kind == "activity"}
            assert activities == {"acquire", "reduce", "count"}, answer.tree()
            assert [node.ref for node in answer.nodes].count(answer.root) == 1
        # One of them changes its argument in place and returns it: nothing is its own ancestor all the same.
        assert not has_cycle(opened)
        assert not rows(opened, "select 1 from edges a join edges b on a.child = b.parent and a.parent = b.child")


def test_a_stream_of_many_ranks(run_ranks: RunRanks, logs: Path, store: Path) -> None:
    """Rows of eight ranks, one by one and as columns, in one table; the stream is one version of all of them."""
    script = """
    import numpy as np
    import braid_hpc as braid
    with braid.job("infer") as run:
        stream = run.stream("positions", {"frame": "int32", "x": "float32"}, units={"x": "px"},
                            derived_from=run.data(f"peaks/{run.rank}", digest=f"x:{run.rank}"))
        for frame in range(100):
            stream.append(run.rank * 1000 + frame, float(frame))
        stream.extend({"frame": np.arange(run.rank * 1000 + 100, run.rank * 1000 + 1000, dtype=np.int32),
                       "x": np.arange(100, 1000, dtype=np.float32)})
    """
    run_ranks(8, script)
    with made(logs, store) as opened:
        table = opened.table("positions").to_arrow()
        assert sorted(table["frame"].to_pylist()) == list(range(8000))
        assert all(
            x == frame % 1000 for frame, x in zip(table["frame"].to_pylist(), table["x"].to_pylist(), strict=True)
        )
        assert rows(opened, "select version, occurrences from versions where kind = 'stream'") == [(1, 8)]
        assert len(opened.lineage("stream:positions").nodes) == 9
