"""Tasks over runs: what is done does not run, and what makes it run again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.compaction.rebuild import rebuild
from braid_hpc.results import LocalResult, loaded
from braid_hpc.snapshots.files import StoreFiles
from braid_hpc.tasks.deciding import index_of
from braid_hpc.tasks.done_index import DoneIndex, newest_done
from braid_hpc.tasks.states import State
from tests.ranks import RunRanks
from tests.tasks.functions import RAN, anything, double, draw, fails, spectrum


class World:
    """A store, and runs that ask its done index."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self._runs = folder, folder / "prov.duckdb", 0

    def run(self, *calls: Any) -> list[Any]:
        """Call things in a run of their own, merge it, and give what they did."""
        RAN.clear()
        self._runs += 1
        logs = self.folder / f"logs-{self._runs}"
        with braid.job("job", log_dir=logs, store=self.path):
            for call in calls:
                call()
        braid.compact(logs, self.path)
        return RAN[:]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with braid.open(self.path) as store:
            return [tuple(row.values()) for row in store.sql(query).to_pylist()]

    @property
    def index(self) -> DoneIndex:
        found = newest_done(self.path)
        assert found is not None
        return DoneIndex(found)

    def reason(self, task: str) -> str:
        """Why the newest execution of a task ran."""
        return str(self.sql(f"select reason from tasks where task like '%{task}' order by created desc limit 1")[0][0])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_done_does_not_run_and_its_result_comes_back(world: World) -> None:
    results: list[Any] = []

    def build() -> None:
        results.append([draw(0), draw(0, 10), draw(3, 2, 5), draw(5, delay_time=3)])

    assert world.run(build) == [(0, 1), (0, 10), (3, 2), (5, 1)]
    assert world.run(build) == []
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one["samples"], other["samples"])
        assert one["samples"].dtype == other["samples"].dtype
    assert world.sql("select status, count(*) from task_calls group by status order by 1") == [
        ("done", 4),
        ("skipped", 4),
    ]
    skipped = world.sql(
        "select distinct e.status from task_calls s join tasks e on s.execution = e.pk "
        "where s.status = 'skipped' and s.key = e.key"
    )
    assert skipped == [("done",)]


def test_the_queries_of_the_well_known_page_work(world: World) -> None:
    """Samples; samples beside the task; the parameters of one, inherited ones among them; and back to the call."""
    world.run(lambda: [draw(0), draw(0, 10), draw(3, 2, 5), draw(5, 1, 3)])
    samples = world.sql("select samples from result.draw order by output_pk")
    assert [list(map(np.float32, row[0])) for row in samples] == [
        list(map(np.float32, values))
        for values in (
            [1.7640524],
            [
                1.7640524,
                0.4001572,
                0.978738,
                2.2408931,
                1.867558,
                -0.9772779,
                0.95008844,
                -0.1513572,
                -0.10321885,
                0.41059852,
            ],
            [1.7886285, 0.43650985],
            [0.4412275],
        )
    ]
    joined = world.sql(
        "select t.task_module, t.task_id, t.duration, rng.samples from tasks as t, result.draw as rng "
        "where t.output_pk = rng.output_pk order by t.pk"
    )
    assert [row[0] for row in joined] == ["tests.tasks.functions"] * 4
    assert len({row[1] for row in joined}) == 4
    parameters = world.sql(
        "select p.parameter_name, p.parameter_value from parameters as p, task_parameters as tp, tasks as t "
        "where t.task_id = (select task_id from tasks order by pk offset 2 limit 1) and t.pk = tp.task_pk "
        "and tp.parameter_pk = p.pk order by tp.position"
    )
    names = ["seed", "draws", "delay_time", "version_major", "version_minor"]
    assert parameters == list(zip(names, ["3", "2", "5.0", "0", "1"], strict=True))
    assert world.sql("select (select count(*) from parameters), (select count(*) from task_parameters)") == [(11, 20)]
    assert world.sql("select count(distinct output_pk) = 4 from tasks") == [(True,)]


def test_statuses_tell_how_it_ended(world: World, run_ranks: RunRanks, tmp_path: Path) -> None:
    """An exception, sys.exit, a missing file and a killed process are four different ones."""

    def ends() -> None:
        with pytest.raises(ValueError, match="no convergence"):
            fails("raise")
        with pytest.raises(SystemExit):
            fails("3")
        with pytest.raises(braid.NotFoundError):
            spectrum(tmp_path / "none")

    world.run(ends)
    killed = run_ranks(
        0,
        "import os, signal\nimport braid_hpc as braid\n@braid.task(version='1', name='killed')\ndef killed(x):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\nwith braid.job('job'):\n    killed(1)\n",
        env={"BRAID_LOG_DIR": str(tmp_path / "killed")},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    braid.compact(tmp_path / "killed", world.path)
    assert world.sql("select status from task_calls order by 1") == [
        ("exited",),
        ("failed",),
        ("interrupted",),
        ("missing",),
    ]
    assert world.sql("select error from tasks where status = 'failed'") == [("ValueError: no convergence",)]
    states = {state.name for state in map(State, world.index.lookup(_keys(world.index)).tolist())}
    assert states == {"FAILED", "INTERRUPTED"}
    # Whatever it was, it runs again.
    assert world.run(failing) == []
    assert world.reason("fails") == "failed"


def failing() -> None:
    with pytest.raises(ValueError, match="no convergence"):
        fails("raise")


def _keys(index: DoneIndex) -> Any:
    return np.array([list(index._keys[at]) for at in range(len(index))], np.uint8)


def test_a_changed_file_a_version_and_rerun_run_it_again(world: World, tmp_path: Path) -> None:
    frames = tmp_path / "frames.fits"
    frames.write_bytes(b"one")
    assert world.run(lambda: spectrum(frames)) == ["frames.fits"]
    assert world.run(lambda: spectrum(frames)) == []
    frames.write_bytes(b"other")
    assert world.run(lambda: spectrum(frames)) == ["frames.fits"]
    assert world.reason("spectrum") == "new"
    assert world.run(lambda: spectrum.with_options(rerun=True)(frames)) == ["frames.fits"]
    assert world.reason("spectrum") == "rerun"
    newer = braid.task(version="2", name=spectrum.name)(spectrum.function)
    assert world.run(lambda: newer(frames)) == ["frames.fits"]
    # Both results are kept.
    assert world.sql("select version, count(*) from tasks group by version order by 1") == [("1", 3), ("2", 1)]


def first(x: int) -> int:
    """Have one source."""
    RAN.append(x)
    return x


def second(x: int) -> int:
    """Have another one."""
    RAN.append(x)
    return 2 * x


@pytest.mark.parametrize(
    ("policies", "ran", "differs"),
    [
        (["0.1.12", "0.1.12", "0.1.13", "0.2"], [True, False, True, True], ("version", "0.1.13", "0.2")),
        (
            [(version, "major.minor") for version in ("0.1.12", "0.1.13", "0.2.0", "0.2.9", "1.2")],
            [True, False, True, False, True],
            ("version_major", "0", "1"),
        ),
        ([(version, "major") for version in ("1.2", "1.9", "2")], [True, False, True], ("version_major", "1", "2")),
    ],
)
def test_the_policy_of_a_version_says_what_is_taken_over(
    policies: list[Any], ran: list[bool], differs: tuple[str, str, str], world: World
) -> None:
    """What was made by another version stays, and the difference is named."""
    for policy, expected in zip(policies, ran, strict=True):
        version, significant = (policy, "exact") if isinstance(policy, str) else policy
        task = braid.task(version=version, significant=significant, name="fit")(first)
        assert bool(world.run(lambda task=task: task(1))) is expected, policy
    with braid.open(world.path) as store:
        assert len(store.tasks("fit", status="done")) == sum(ran)
        assert store.why_run("fit").differences == (differs,)


def test_without_a_version_the_source_is_the_policy(world: World) -> None:
    for function, expected in ((first, [1]), (first, []), (second, [1]), (second, []), (first, [])):
        task = braid.task(name="fit")(function)
        assert world.run(lambda task=task: task(1)) == expected
    with braid.open(world.path) as store:
        assert sorted(row["value"] for row in store.tasks("fit")) == ["1", "2"]
        ((name, *_),) = store.why_run("fit").differences
        assert name == "source"


@pytest.mark.slow
def test_code_that_changed_under_the_same_version_runs_again_and_says_so(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def old(x: int) -> int:
        RAN.append("old")
        return x

    def new(x: int) -> int:
        RAN.append("new")
        return x + 1

    def fit(function: Any, **options: Any) -> Any:
        return braid.task(version="1", name="fit", **options)(function)

    assert world.run(lambda: fit(old)(1)) == ["old"]
    assert world.run(lambda: fit(new, code="keep")(1)) == []
    assert "what the old code made is taken" in capsys.readouterr().err
    assert world.run(lambda: fit(new)(1)) == ["new"]
    assert "the code of fit changed, and its version 1 did not: it runs again" in capsys.readouterr().err
    assert world.reason("fit") == "code"
    assert world.run(lambda: fit(new)(1)) == []


def test_a_target_that_was_edited_or_removed_is_made_again_and_no_other(world: World, tmp_path: Path) -> None:
    task = anything.with_options(result=LocalResult(tmp_path), target="{x}.json")
    results: list[Any] = []

    def build() -> None:
        results.append([task(name) for name in ("a", "b", "c")])

    assert world.run(build) == ["a", "b", "c"]
    assert world.run(build) == []
    assert [loaded(each) for each in results[-1]] == ["a", "b", "c"]
    assert [braid.record_of(each) is not None for each in results[-1]] == [True] * 3
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").write_text('"b')
    assert world.run(build) == ["a", "b"]
    reasons = world.sql("select reason from tasks order by created desc limit 2")
    assert sorted(reasons) == [("target-changed",), ("target-missing",)]
    assert world.run(build) == []
    assert world.run(lambda: anything("a")) == ["a"]
    assert world.reason("anything") == "target-moved"
    always = anything.with_options(result=LocalResult(tmp_path), location="{x}.json")
    assert world.run(lambda: always("a")) == ["a"]


def test_what_was_handed_on_counts_alike_whether_it_was_made_or_found(world: World, tmp_path: Path) -> None:
    """A chain: the second task is skipped too, although its argument was read and not made."""
    first = anything.with_options(result=LocalResult(tmp_path), target="first.json")

    def chain() -> None:
        made = first(["a", 1])
        double_of(made)

    @braid.task(version="1", name="second")
    def double_of(value: Any) -> int:
        RAN.append("second")
        return 2

    world.run(chain)
    world.run(chain)
    assert world.run(chain) == []


def test_an_invalidated_input_runs_it_again_and_revalidation_takes_it_back(world: World) -> None:
    def build() -> None:
        frames = braid.current_run().data("frames", digest="blake3:" + "1" * 64)
        anything(frames)

    def other() -> None:
        double(1)

    ran = world.run(build, other)
    assert len(ran) == 2
    with braid.open(world.path) as store:
        store.invalidate("data:frames", cause="detector was off")
    state = world.index.find(_key_of(world, "anything"))
    assert state is not None
    assert (state[0], state[1].cause) == (State.INVALID, "detector was off")
    with braid.open(world.path) as store:
        judged = store.judgements(at=store.snapshot)
        ids = {pk for (pk,) in world.sql("select pk from tasks where task like '%anything'")}
        assert ids <= judged.keys()
        assert not {pk for (pk,) in world.sql("select pk from tasks where task like '%double'")} & judged.keys()
        store.revalidate("data:frames")
    assert world.run(build, other) == []
    with braid.open(world.path) as store:
        store.invalidate("data:frames", cause="off again")
    assert len(world.run(build, other)) == 1
    assert world.reason("anything") == "invalidated"
    assert world.sql("select detail from tasks where reason = 'invalidated'") == [("off again",)]
    assert len(world.sql("from tasks where task like '%anything'")) == 2


@pytest.mark.slow
def test_what_holds_in_spite_of_a_statement_is_done(world: World) -> None:
    """As the store's own answer has it: a barrier stops the cascade."""
    task = braid.task(version="1", name="fit")(anything.function)

    def build() -> None:
        run = braid.current_run()
        frames = run.data("frames", digest="blake3:" + "1" * 64)
        with run.activity("clean", used=frames) as act:
            peaks = act.data("peaks", digest="blake3:" + "2" * 64)
        task(peaks)

    world.run(build)
    with braid.open(world.path) as store:
        (statement,) = store.invalidate("data:frames", cause="noise")
        assert world.index.find(_key_of(world, "fit"))[0] is State.INVALID  # type: ignore[index]
        store.revalidate("data:peaks", despite=statement)
    assert world.index.find(_key_of(world, "fit"))[0] is State.DONE  # type: ignore[index]


def _key_of(world: World, task: str) -> bytes:
    return bytes.fromhex(world.sql(f"select key from tasks where task like '%{task}' order by pk limit 1")[0][0])


def test_a_result_that_cannot_be_kept_runs_each_time(world: World) -> None:
    large = np.zeros(100_000)
    assert len(world.run(lambda: anything(large))) == 1
    assert world.index.find(anything.key_of(large))[0] is State.UNRECORDED  # type: ignore[index]
    assert len(world.run(lambda: anything(large))) == 1
    assert world.reason("anything") == "unrecorded"


def test_two_executions_at_once_are_recorded_as_such(world: World, tmp_path: Path) -> None:
    def outer(x: int) -> int:
        if x:
            # Another process would: it has the same key, and this one has not ended.
            braid.task(version="1", name="twice")(outer).with_options(rerun=True).function(0)
        return 0

    task = braid.task(version="1", name="twice", ignore=["x"])(outer)

    def inner(x: int) -> int:
        return int(task(0))

    nested = braid.task(version="1", name="twice", ignore=["x"])(inner)
    assert nested.key_of(1) == task.key_of(0)
    world.run(lambda: nested(1))
    assert world.sql("select count(*), any_value(task) from double_executions") == [(1, "twice")]
    assert world.sql("select code from problems") == [("task",)]


@pytest.mark.slow
def test_the_index_is_the_same_after_a_rebuild_and_of_logs_in_parts(world: World, tmp_path: Path) -> None:
    world.run(lambda: [draw(0), double(3)], failing)
    with braid.open(world.path) as store:
        store.invalidate("result:rng.draw/" + draw.key_of(0).hex(), cause="bad seed")
    world.run(lambda: [draw(1), double(3)])
    before = newest_done(world.path)
    assert before is not None
    rebuild(world.path, into=tmp_path / "again.duckdb")
    again = newest_done(tmp_path / "again.duckdb")
    assert again is not None
    assert again.read_bytes() == before.read_bytes()
    with braid.open(world.path) as one, braid.open(tmp_path / "again.duckdb") as other:
        assert one.digests() == other.digests()
    rebuild(world.path)
    assert newest_done(world.path).read_bytes() == before.read_bytes()  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_merge_without_tasks_gives_the_same_file_another_name(world: World) -> None:
    world.run(lambda: double(1))
    world.run(lambda: braid.current_run().fact("config", 1))
    files = StoreFiles(world.path)
    assert files.done(1).samefile(files.done(2))
    world.run(lambda: braid.current_run().fact("config", 2))
    assert not files.done(1).exists()
    assert world.run(lambda: double(1)) == []


def test_without_an_index_everything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RAN.clear()
    monkeypatch.setenv("BRAID_STORE", str(tmp_path / "none.duckdb"))
    with braid.job("job") as run:
        assert index_of(run) is None
        assert [double(1), double(1)] == [2.0, 2.0]
    assert RAN == [1.0, 1.0]


@pytest.mark.slow
def test_a_damaged_index_is_told_and_never_believed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.run(lambda: double(1))
    path = newest_done(world.path)
    assert path is not None
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = DoneIndex(path).find(double.key_of(1))
        except braid.BraidError:
            continue
        # A damaged key is not found; all else that is believed is as it was.
        assert found is None or (found[0] is State.DONE and found[1].task == double.name)
    path.write_bytes(whole[:-1])
    assert world.run(lambda: double(1)) == [1.0]
    assert "is damaged or cut off" in capsys.readouterr().err


def test_many_keys_are_looked_up_at_once(world: World) -> None:
    world.run(lambda: [double(x) for x in range(20)])
    keys = double.keys_of({"x": [float(x) for x in range(40)]})
    assert world.index.lookup(keys).tolist() == [1] * 20 + [0] * 20
    assert world.index.lookup(keys[:0]).tolist() == []
    with pytest.raises(braid.InvalidInputError, match="keys are uint8 of shape"):
        world.index.lookup(keys[:, :8])
    assert len(world.index) == 20
    prefix = double.key_of(3).hex()[:8]
    assert double.key_of(3) in world.index.starting_with(prefix)


def test_map_runs_what_is_left_and_each_rank_its_own(world: World) -> None:
    class Comm:
        def __init__(self, rank: int) -> None:
            self._rank = rank

        def Get_rank(self) -> int:
            return self._rank

        def Get_size(self) -> int:
            return 3

    world.run(lambda: [double(x) for x in range(10)])
    shares: list[Any] = []
    cells = {"x": [float(x) for x in range(30)]}
    assert sorted(
        world.run(*(lambda rank=rank: shares.append(double.map(cells, comm=Comm(rank))) for rank in range(3)))
    ) == [float(x) for x in range(10, 30)]
    assert sorted(at for share in shares for at in share.cells) == list(range(30))
    assert all(value == 2 * cells["x"][at] for share in shares for at, value in zip(share.cells, share, strict=True))
    assert min(len(share) for share in shares) > 0


@pytest.mark.slow
def test_the_share_of_a_setup_is_beside_the_duration(world: World) -> None:
    import time

    def classify(x: int, model: Any) -> int:
        return x

    task = braid.task(version="1", name="classify", ignore=["model"])(classify)
    world.run(lambda: task.map({"x": list(range(10))}, setup={"model": lambda: time.sleep(0.2)}))
    ((overhead, longest),) = world.sql("select sum(overhead), max(duration) from tasks")
    assert 0.2 <= overhead < 0.3
    assert longest < 0.2
    world.run(lambda: task.map({"x": list(range(10))}, setup={"model": RAN.clear}))
    assert world.sql("select count(*), count(distinct digest) from versions where kind = 'batch'") == [(2, 1)]


@pytest.mark.slow
def test_a_commit_that_was_killed_leaves_no_index(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run(lambda: double(1))

    def fails_late(self: StoreFiles, aside: Path, number: int) -> None:
        assert self.done_of(aside).exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoreFiles, "publish", fails_late)
        with pytest.raises(KeyboardInterrupt):
            world.run(lambda: double(2))
    names = os.listdir(world.path.with_name("prov.duckdb.d"))
    assert [name for name in names if name.endswith(".done")] == ["1.done"]
    braid.compact(world.folder / "logs-2", world.path)
    assert world.run(lambda: [double(1), double(2)]) == []


ENDS_WHEN_PUBLISHED = """
import os, sys
import braid_hpc as braid
from braid_hpc.snapshots.files import StoreFiles

StoreFiles._name_indices = lambda *given: os._exit(7)
braid.compact(sys.argv[1], sys.argv[2])
"""


def test_an_index_whose_merge_was_killed_before_it_had_its_name_gets_it_from_the_next_one(
    world: World, run_ranks: RunRanks
) -> None:
    """The snapshot was published; there is nothing new to merge, and ranks would find nothing done."""
    logs = world.folder / "alone"
    with braid.job("job", log_dir=logs, store=world.path):
        double(3)
    killed = run_ranks(0, ENDS_WHEN_PUBLISHED, logs, world.path, check=False)
    assert killed.returncode == 7, killed.stderr
    assert StoreFiles(world.path).snapshots() == [1]
    assert newest_done(world.path) is None
    assert not braid.compact(logs, world.path).new
    found = newest_done(world.path)
    assert found is not None
    assert DoneIndex(found).find(double.key_of(3)) is not None
    assert world.run(lambda: double(3)) == []
    assert not list(found.parent.glob("building-*"))


def test_an_index_that_was_removed_is_made_again_by_the_next_merge(world: World) -> None:
    """Of what is merged already; there is no new snapshot."""
    world.run(lambda: [double(1), double(2)])
    before = newest_done(world.path)
    assert before is not None
    data = before.read_bytes()
    before.unlink()
    assert not braid.compact(world.folder / "logs-1", world.path).new
    assert newest_done(world.path) == before
    assert before.read_bytes() == data
    assert not list(before.parent.glob("building-*"))
