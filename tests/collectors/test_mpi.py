"""A traced communicator behaves as the one it traces, and what it wrote down says who received from whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.collectors.mpi.buffers import size_of, type_of
from braid_hpc.vocabulary.codes import Relation
from tests.jobs import edges_of, made, rows
from tests.ranks import RankRun, RunRanks
from tests.traffic import informed

#: Each call on a plain communicator and on a traced one; what they give is printed and compared.
CALLS = """
import numpy as np
from mpi4py import MPI
import braid_hpc as braid
from braid_hpc.collectors.mpi import traced

def everything(comm):
    rank, size = comm.Get_rank(), comm.Get_size()
    right, left = (rank + 1) % size, (rank - 1) % size
    got, room, status = [], np.zeros(3), MPI.Status()
    mine = np.arange(3.0) + rank
    request = comm.irecv(source=left, tag=1)
    for send in (comm.send, comm.isend, comm.issend):
        sent = send({"from": rank}, right, tag=1)
        got.append(request.wait(status))
        sent and sent.wait()
        request = comm.irecv(source=left, tag=1)
    comm.send(None, right, 1)
    got += [request.wait(), status.source, status.tag]
    for begin in (comm.Isend, comm.Issend):
        requests = [comm.Irecv(room, left), begin(mine, right)]
        type(requests[0]).Waitall(requests)
        got.append(room.tolist())
    request = comm.Irecv([room, MPI.DOUBLE], MPI.ANY_SOURCE, 4)
    comm.Send([mine, 3, MPI.DOUBLE], right, 4)
    while not request.Test(status):
        pass
    got += [room.tolist(), status.source, status.Get_count(MPI.DOUBLE)]
    requests = [comm.Irecv(room, left, 6), comm.Irecv(np.zeros(3), left, 7)]
    MPI.Request.Waitall([comm.Isend(mine, right, 6), comm.Isend(mine, right, 7)])
    first = type(requests[0]).Waitany(requests)
    type(requests[0]).Waitsome(requests)
    got += [all(request == MPI.REQUEST_NULL for request in requests), first in (0, 1)]
    persistent = [comm.Recv_init(room, left, 5), comm.Send_init(mine, right, 5)]
    for _ in range(2):
        type(persistent[0]).Startall(persistent)
        type(persistent[0]).Waitall(persistent)
        got.append(room.tolist())
    for request in persistent:
        request.Free()
    got.append(comm.sendrecv(("object", rank), right, source=left))
    comm.Sendrecv(mine, right, recvbuf=room, source=left)
    got.append(room.tolist())
    comm.Sendrecv_replace(room, right, source=left)
    got.append(room.tolist())
    comm.Isendrecv(mine, right, recvbuf=room, source=left).Wait()
    got.append(room.tolist())
    requests = [comm.isend("probed", right, 8), comm.Isend(mine, right, 9)]
    got.append(comm.mprobe(tag=8).recv())
    comm.Mprobe(left, 9).Irecv(room).Wait()
    got.append(room.tolist())
    MPI.Request.Waitall(requests)
    got.append(comm.iprobe(source=left, tag=99))
    request = comm.irecv(source=left, tag=99)
    request.Cancel()
    request.Wait(status)
    got += [status.Is_cancelled(), comm.recv(source=MPI.PROC_NULL), comm.send(1, MPI.PROC_NULL)]
    got += [comm.allreduce(rank), comm.bcast(rank, root=1), comm.gather(rank, 0), comm.scatter(list(range(size)))]
    total = np.zeros(3)
    comm.Allreduce(mine, total)
    comm.Ibarrier().Wait()
    got += [total.tolist(), comm.Get_name() == "", isinstance(comm, MPI.Intracomm)]
    try:
        comm.Send(mine, size + 7)
    except MPI.Exception as error:
        got.append(error.Get_error_class() == MPI.ERR_RANK)
    return got

def made(comm):
    rank, size = comm.Get_rank(), comm.Get_size()
    grid = comm.Create_cart([size], [True])
    several = [comm.Dup(), comm.Split(rank % 2, -rank), grid, grid.Sub([True]), comm.Clone()]
    group = comm.Get_group().Incl([0, 1])
    if rank < 2:
        several.append(comm.Create_group(group, 3))
    created = comm.Create(group)
    several += [created] if created != MPI.COMM_NULL else []
    several.append(comm.Create_dist_graph_adjacent([rank], [rank]))
    return several, grid.Shift(0, 1)

plain = everything(MPI.COMM_WORLD)
with braid.job("calls", log_dir="logs") as run:
    world = traced(MPI.COMM_WORLD)
    assert traced(world) is world and type(world) is not MPI.Intracomm
    with run.activity("all"):
        found = everything(world)
        assert found == plain, (found, plain)
        several, shift = made(world)
        assert shift == MPI.COMM_WORLD.Create_cart([3], [True]).Shift(0, 1)
        for comm in several:
            size, rank = comm.Get_size(), comm.Get_rank()
            comm.isend(rank, (rank + 1) % size)
            assert comm.recv() == (rank - 1) % size
print(" ok ", flush=True)
"""

#: A stencil that exchanges its edges, and a farm; each message has in it the activity that sends it.
EIGHT = """
import json, sys
import numpy as np
from mpi4py import MPI
import braid_hpc as braid
from braid_hpc.collectors.mpi import traced

seen = []
with braid.job("eight", log_dir="logs") as run:
    comm = traced(MPI.COMM_WORLD)
    rank, size = comm.rank, comm.size
    grid = comm.Create_cart([4, 2], [True, False])
    ways = [grid.Shift(0, 1), grid.Shift(0, -1), grid.Shift(1, 1), grid.Shift(1, -1)]
    for step in range(4):
        with run.activity(f"step-{grid.rank}-{step}"):
            halo = np.full((4, 2), -1)
            requests = [grid.Irecv(halo[way], source, way) for way, (source, _) in enumerate(ways)]
            for way, (_, dest) in reversed(list(enumerate(ways))):
                requests.append(grid.Isend(np.array([grid.rank, step]), dest, way))
            type(requests[0]).Waitall(requests)
            sent = {f"step-{one}-{its_step}" for one, its_step in halo.tolist() if one >= 0}
            seen += [(f"step-{grid.rank}-{step}", other) for other in sent]
    tasks = 20
    if rank == 0:
        with run.activity("hand-out"):
            first = run.data("first-task")
            for worker in range(1, size):
                with comm.sending(first):
                    comm.send((worker - 1, "hand-out"), worker, 1)
        given = size - 1
        for number in range(tasks):
            with run.activity(f"collect-{number}"):
                status = MPI.Status()
                sender = comm.recv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
                seen.append((f"collect-{number}", sender))
                task = given if given < tasks else -1
                comm.send((task, f"collect-{number}"), status.source, 1)
                given += 1
    else:
        number = 0
        while True:
            with run.activity(f"work-{rank}-{number}"):
                task, sender = comm.recv(source=0)
                seen.append((f"work-{rank}-{number}", sender))
                if task < 0:
                    break
                run.data(f"result-{task}")
                comm.ssend(f"work-{rank}-{number}", 0, tag=task)
            number += 1
    print(f" {json.dumps(seen)} ", flush=True)
"""


#: Every kind of collective call, an intercommunicator and a window; what comes says which activity it is from.
GROUPS = """
import json
import numpy as np
from mpi4py import MPI
import braid_hpc as braid
from braid_hpc.collectors.mpi import traced

seen = []
with braid.job("groups", log_dir="logs") as run:
    world = traced(MPI.COMM_WORLD)
    rank, size = world.rank, world.size

    def step(name, call):
        with run.activity(f"{name}-{rank}") as inside:
            seen.extend((inside.name, f"{name}-{one}") for one in call() if one is not None and one != rank)

    room, mine = np.full(size, -1), np.array([rank])
    step("allgather", lambda: world.allgather(rank))
    step("Allgather", lambda: world.Allgather(mine, room) or room.tolist())
    step("alltoall", lambda: world.alltoall([rank] * size))
    step("Ialltoall", lambda: world.Ialltoall(np.full(size, rank), room).Wait() and room.tolist())
    step("allreduce", lambda: world.allreduce([rank]))
    step("reduce_scatter", lambda: (
        world.Reduce_scatter_block(np.full(size, 1 << rank), total := np.zeros(1, int)),
        [one for one in range(size) if int(total[0]) >> one & 1])[1])
    step("scan", lambda: world.scan([rank]))
    step("exscan", lambda: world.exscan([rank]) or [])
    step("bcast", lambda: [world.bcast(rank, root=2)])
    step("gather", lambda: world.gather(rank, root=1) or [])
    step("scatter", lambda: [world.scatter([rank] * size, root=3)])
    step("reduce", lambda: world.reduce([rank], root=0) or [])
    step("barrier", lambda: world.Barrier() or range(size))
    repeated = world.Allgather_init(mine, room)
    for turn in range(2):
        room[:] = -1
        step(f"repeated-{turn}", lambda: repeated.Start() or repeated.Wait() and room.tolist())
    repeated.Free()
    grid = world.Create_cart([size], [False])
    step("neighbours", lambda: grid.neighbor_allgather(rank))
    ring = world.Create_dist_graph_adjacent([(rank - 1) % size], [(rank + 1) % size])
    got = np.full(1, -1)
    step("ring", lambda: ring.Neighbor_allgather(mine, got) or got.tolist())

    low = rank < 3
    group = world.Split(0 if low else 1, rank)
    inter = group.Create_intercomm(0, world, 3 if low else 0, 9)
    other = inter.remote_size
    step("inter-send", lambda: (
        [inter.isend(rank, dest) for dest in range(other)],
        [inter.recv(source=source) for source in range(other)])[1])
    step("inter-any", lambda: (
        [inter.isend(rank, dest, 4) for dest in range(other)], [inter.recv(tag=4) for _ in range(other)])[1])
    step("inter-allgather", lambda: inter.allgather(rank))
    root = (MPI.ROOT if inter.rank == 1 else MPI.PROC_NULL) if low else 1
    step("inter-bcast", lambda: [inter.bcast(rank if root == MPI.ROOT else None, root)])
    inter.Barrier()
    second = inter.Dup()
    step("inter-dup", lambda: second.allgather(rank))
    merged = inter.Merge(high=not low)
    step("merged", lambda: merged.allgather(rank))

    memory = np.full(size, -1)
    window = traced(MPI.Win.Create(memory, 8, comm=MPI.COMM_WORLD))
    window.Fence()
    with run.activity(f"put-{rank}"):
        window.Put(mine, (rank + 1) % size, rank)
    with run.activity(f"closed-{rank}"):
        window.Fence()
    seen += [(f"closed-{rank}", f"put-{one}") for one in memory.tolist() if one >= 0]
    with run.activity(f"exposed-{rank}"):
        memory[:] = rank
        window.Fence()
    got = np.full(1, -1)
    window.Get(got, (rank + 2) % size, 0)
    with run.activity(f"read-{rank}"):
        window.Fence()
    seen += [(f"read-{rank}", f"exposed-{one}") for one in got.tolist()]
    window.Lock((rank + 1) % size)
    with run.activity(f"locked-{rank}"):
        window.Put(mine, (rank + 1) % size, 0)
    window.Unlock((rank + 1) % size)
    window.Fence()
    window.Free()
    print(f" {json.dumps(seen)} ", flush=True)
"""


def printed(run: RankRun) -> list[Any]:
    """What the ranks printed; lines of several may be joined."""
    decoder, text, found = json.JSONDecoder(), run.stdout, []
    at = text.find("[[")
    while at >= 0:
        value, at = decoder.raw_decode(text, at)
        found += value
        at = text.find("[[", at)
    return found


@pytest.mark.mpi_matrix
def test_every_call_does_what_it_does_without_tracing(run_ranks: RunRanks, tmp_path: Path) -> None:
    """And each message finds its other half, on every communicator that was made."""
    done = run_ranks(3, CALLS, cwd=tmp_path)
    assert done.stdout.count("ok") == 3
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert rows(store, "select distinct state from channels where dest < 3") == [("matched",)]
        assert rows(store, "select count(distinct comm) from channels") == [(10,)]
        assert rows(store, "select sum(cancelled) from channels where dest < 3") == [(3,)]
        # The one that no rank could have been sent.
        assert {dest for (dest,) in rows(store, "select dest from channels where state <> 'matched'")} == {10}
        sizes = rows(store, "select call, count(*), max(root), max(bytes) from stream.mpi_collectives group by 1")
        assert ("allreduce", 6, -1, 24) in sizes
        assert ("bcast", 3, 1, -1) in sizes


@pytest.mark.mpi_matrix
def test_a_halo_exchange_and_a_farm_on_eight_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    """The edges are those that the messages themselves tell of, no more and no less."""
    done = run_ranks(8, EIGHT, cwd=tmp_path, timeout=110)
    truth = {(f"activity:{child}@1", f"activity:{parent}@1") for child, parent in printed(done)}
    assert len(truth) > 8 * 4 * 3 + 40 - 8
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = edges_of(store, str(Relation.INFORMED))
        assert found == truth
        assert rows(store, "select distinct state from channels") == [("matched",)]
        # Each worker's first activity was sent the record, and what it made came of it.
        assert edges_of(store, "used") == {(f"activity:work-{rank}-0@1", "data:first-task@1") for rank in range(1, 8)}
        results = {node.ref for node in store.impact("data:first-task").nodes if node.ref.startswith("data:result-")}
        assert results == {f"data:result-{task}@1" for task in range(7)}


def told(store: Any) -> set[tuple[str, str]]:
    """Which activity was informed by which other one, through at most one collective call or any number of ranks."""
    edges = edges_of(store, str(Relation.INFORMED))
    whole = {edge for edge in edges if "collective:" not in edge[0] + edge[1]}
    nodes: dict[str, list[str]] = {}
    for child, parent in edges:
        if child.startswith("collective:"):
            nodes.setdefault(child, []).append(parent)
    whole |= {(child, giver) for child, parent in edges for giver in nodes.get(parent, []) if giver != child}
    for call in ("scan", "exscan"):
        ranks = sorted(child for child, _ in whole if child.startswith(f"activity:{call}-"))
        for child in ranks:
            whole |= {(child, before) for link, before in list(whole) if (child, link) in whole}
    return whole


@pytest.mark.mpi_matrix
def test_collective_calls_of_all_kinds_on_eight_ranks(run_ranks: RunRanks, tmp_path: Path) -> None:
    """With an intercommunicator and a window: the edges are those that the payload tells of, no more and no less."""
    done = run_ranks(8, GROUPS, cwd=tmp_path, timeout=110)
    truth = {(f"activity:{child}@1", f"activity:{parent}@1") for child, parent in printed(done)}
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = told(store)
        # What a rank makes of its own is no message: the root of a broadcast has what it gave.
        assert (truth - found, found - truth) == (set(), set())
        assert rows(store, "select distinct state from channels") == [("matched",)]
        assert rows(store, "select distinct state from communicators") == [("matched",)]
        assert rows(store, "select count(*) from problems") == [(0,)]
        # One node, and two on an intercommunicator, with an edge to and from each at most.
        sizes = rows(
            store,
            "select c.size, count(*) from collectives c join edges e on c.id in (e.child, e.parent) group by c.id, 1",
        )
        assert all(edges <= 2 * size for size, edges in sizes)
        acts = rows(
            store, "select what, count(*), count(*) filter (where epoch < 0) from stream.mpi_onesided group by 1"
        )
        assert sorted(acts) == [("get", 8, 0), ("put", 16, 8)]


def test_with_recording_off_the_communicator_is_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also outside of a run; mpi4py is not even looked for."""
    from braid_hpc.collectors.mpi import sending, traced

    comm = object()
    assert traced(comm) is comm
    monkeypatch.setenv("BRAID_DISABLE", "1")
    assert traced(comm) is comm
    with sending(comm, None):
        pass


def test_sizes_and_types_of_buffers() -> None:
    """What cannot be told is said to be unknown, and raises nothing."""
    import numpy as np

    class Double:
        def Get_size(self) -> int:
            return 8

        def Get_extent(self) -> tuple[int, int]:
            return 0, 8

        def Get_name(self) -> str:
            return "MPI_DOUBLE"

    array = np.zeros((2, 3))
    assert [size_of(each) for each in (array, b"abc", bytearray(4), memoryview(b"ab"))] == [48, 3, 4, 2]
    assert [size_of(each) for each in ([array, Double()], [array, 2, Double()], (b"abc", "B"))] == [48, 16, -1]
    assert [size_of(each) for each in (None, 7, [], [array, (1, 2), Double()])] == [-1] * 4
    assert [type_of(each) for each in (array, [array, 2, Double()], [array, "d"], b"", None)] == [
        "d",
        "MPI_DOUBLE",
        "d",
        "B",
        "",
    ]


#: What a program may give, and what it may do with requests: the edges are those of the payloads all the same.
ODD = """
import numpy as np
from mpi4py import MPI
import braid_hpc as braid
from braid_hpc.collectors.mpi import traced
from mpi4py.util import pkl5

class Mine(MPI.Intracomm):
    def hello(self):
        return "hello"

assert traced(MPI.COMM_WORLD) is MPI.COMM_WORLD
for turn in range(2):
    with braid.job("odd", log_dir="logs") as run:
        comm = traced(MPI.COMM_WORLD if not turn else comm)
        assert traced(comm) is comm
        rank, other = comm.rank, 1 - comm.rank
        for own in (Mine(MPI.COMM_WORLD), pkl5.Intracomm(MPI.COMM_WORLD)):
            assert traced(own) is own
        room = np.zeros(1)
        with run.activity(f"first-{turn}-{rank}"):
            if rank:
                request = comm.Irecv(room, 0)
                MPI.Request.Waitall([request])
                request.Wait()
                assert request.Test()
            else:
                comm.Send(np.ones(1), np.array(1))
            for bad in (None, [1], "1", np.array([1, 2])):
                for plain in (MPI.COMM_WORLD, comm):
                    try:
                        plain.send(1, dest=bad)
                    except Exception as error:
                        said = type(error), str(error)
                    assert plain is not comm or said == before, (said, before)
                    before = said
        with run.activity(f"second-{turn}-{rank}"):
            if rank:
                comm.Recv(room, 0)
            else:
                comm.Send(np.ones(1), np.int64(1))
        with run.activity(f"third-{turn}-{rank}"):
            comm.bcast(1, root=np.argmax([0, 1]) if rank else 1)
"""


def test_what_a_program_may_give(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Numbers of NumPy, ranks that are none, requests that ended unseen, classes of its own, a second run."""
    done = run_ranks(2, ODD)
    assert done.returncode == 0, done.stderr
    with made(next(tmp_path.rglob("logs")), tmp_path / "prov.duckdb") as store:
        found = {(child.partition("@")[0], parent.partition("@")[0]) for child, parent in informed(store)}
        losses = rows(store, "select distinct note from stream.collector_losses order by all")
    sent = {
        (f"activity:{step}-{turn}-1", f"activity:{step}-{turn}-0") for step in ("first", "second") for turn in (0, 1)
    }
    thirds = {(f"activity:third-{turn}-0", "collective:bcast") for turn in (0, 1)}
    gave = {("collective:bcast", f"activity:third-{turn}-1") for turn in (0, 1)}
    assert found == sent | thirds | gave
    assert losses == [("Intracomm",), ("Mine",)]
