"""Tasks of a store: found by key, task id and name; why they ran; and the way back to the call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError
from tests.ranks import RunRanks
from tests.tasks.functions import Colour, Window, anything, clashing, double, draw, fails, random_numbers, spectrum


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of tasks of all kinds, in two runs."""
    folder = tmp_path_factory.mktemp("tasks")
    frames = folder / "frames.fits"
    for number, data in enumerate((b"one", b"other")):
        frames.write_bytes(data)
        with braid.job("job", log_dir=folder / f"logs-{number}", store=folder / "prov.duckdb"):
            draw(0, delay_time=0.5 * number)
            spectrum(frames)
            anything({"window": Window(1, 2), "colour": Colour.RED}, ("a", 2**70, -0.0))
            anything(anything([1]))
            with pytest.raises(ValueError, match="no convergence"):
                fails("raise")
        braid.compact(folder / f"logs-{number}", folder / "prov.duckdb")
    return folder


def test_a_task_is_found_by_key_task_id_activity_and_name(folder: Path) -> None:
    with braid.open(folder / "prov.duckdb") as store:
        key = draw.key_of(0).hex()
        found = store.task(key[:8])
        assert (found.task, found.key, found.status, found.executions, found.skips) == ("rng.draw", key, "done", 1, 0)
        assert store.task(f"rng.draw_{key[:6]}") == found
        assert store.task("activity:rng.draw@1") == found
        assert store.task("rng.draw").parameters[2].value == "0.5"
        assert [each.name for each in found.parameters if each.role == "inherited"] == [
            "version_major",
            "version_minor",
        ]
        assert store.task(anything.key_of([1]).hex(), at=1).skips == 0
        assert store.task(anything.key_of([1]).hex()).skips == 2


@pytest.mark.parametrize("reference", ["none", "ffffffffffff", "fact:none", "activity:job"])
def test_what_is_no_task_is_not_found(folder: Path, reference: str) -> None:
    with braid.open(folder / "prov.duckdb") as store, pytest.raises((NotFoundError, ConflictError)):
        store.task(reference)


def test_executions_are_listed_newest_first(folder: Path) -> None:
    with braid.open(folder / "prov.duckdb") as store:
        failed = store.tasks(status="failed").to_pylist()
        assert [row["error"] for row in failed] == ["ValueError: no convergence"] * 2
        assert failed[0]["pk"] > failed[1]["pk"]
        assert [row["parameters"] for row in store.tasks("rng.draw", at=1)] == ["seed=0, draws=1, delay_time=0.0"]


def test_why_a_task_ran_names_what_differs(folder: Path) -> None:
    with braid.open(folder / "prov.duckdb") as store:
        why = store.why_run("rng.draw")
        assert (why.reason, why.differences) == ("new", (("delay_time", "0.0", "0.5"),))
        assert why.sentence == "no execution of this key was on record: delay_time was 0.0, and is 0.5"
        assert why.now == "it would not run: it is done, and holds"
        (changed,) = store.why_run(spectrum.name).differences
        assert changed[0] == "path"
        assert changed[1] != changed[2]
        failed = store.why_run(fails.name)
        assert failed.sentence == "the execution before it failed: ValueError: no convergence"
        assert failed.now == "it would run again: its newest execution is failed"
        assert store.why_run("rng.draw", at=1).reason == "no-index"


def test_a_call_is_made_again_and_has_the_same_key(folder: Path) -> None:
    with braid.open(folder / "prov.duckdb") as store:
        made = [store.task(row["task_id"].rpartition("_")[2]).call() for row in store.tasks("rng.draw")]
        assert [call.arguments for call in made] == [
            {"seed": 0, "draws": 1, "delay_time": 0.5},
            {"seed": 0, "draws": 1, "delay_time": 0.0},
        ]
        nested = {"window": Window(1, 2), "colour": Colour.RED}
        key = anything.key_of(nested, ("a", 2**70, -0.0))
        call = store.task(key.hex()).call()
        assert call.key == key
        assert call.arguments == {"x": nested, "y": ("a", 2**70, -0.0)}
        assert call.task is anything


def test_a_call_of_a_file_that_changed_is_refused(folder: Path) -> None:
    with braid.open(folder / "prov.duckdb") as store:
        newest, first = [row["pk"] for row in store.tasks(spectrum.name)]
        refs = dict(
            store.sql("select id, 'activity:\"' || name || '\"@' || version from activities")
            .to_arrow()
            .to_pandas()
            .itertuples(index=False)
        )
        assert store.task(refs[newest]).call().arguments["path"] == folder / "frames.fits"
        with pytest.raises(ConflictError, match="is not what it was"):
            store.task(refs[first]).call()


SCRIPT = """
import sys
import braid_hpc as braid

@braid.task(version={version!r})
def fit(x: int, factor: int = 2) -> int:
    return {body}

if __name__ == "__main__":
    with braid.job("job"):
        fit(int(sys.argv[1]))
"""


def test_a_script_in_a_repository_is_found_again_unless_it_changed(run_ranks: RunRanks, tmp_path: Path) -> None:
    (tmp_path / "work" / ".git").mkdir(parents=True)
    script = tmp_path / "work" / "fits" / "fit.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(version="1", body="x * factor"))
    run_ranks(0, script, 3, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        found = store.task("fits/fit.py:fit")
        assert found.task_module == str(script)
        assert found.call().key.hex() == found.key
        # A comment is no change.
        script.write_text(SCRIPT.format(version="1", body="x * factor  # once more"))
        assert found.call().arguments == {"x": 3, "factor": 2}
        script.write_text(SCRIPT.format(version="1", body="x + factor"))
        with pytest.raises(
            ConflictError, match=r"the code of fits/fit\.py:fit changed since, and its version 1 did not"
        ):
            found.call()
        script.write_text(SCRIPT.format(version="2", body="x + factor"))
        with pytest.raises(ConflictError, match="version 2, and was 1"):
            found.call()
        assert found.call(force=True).task.version == "2"
        script.write_text("raise SystemError('no')")
        with pytest.raises(NotFoundError, match=r"cannot be loaded \(SystemError: no\)"):
            found.call()
        script.unlink()
        with pytest.raises(NotFoundError, match="is not there"):
            found.call()


def test_what_is_on_record_by_its_digest_cannot_be_made_again(tmp_path: Path) -> None:
    with braid.job("job", log_dir=tmp_path / "logs"):
        anything(np.arange(3))
        double(1)
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        with pytest.raises(InvalidInputError, match="its argument x cannot be made again: only the digest of an array"):
            store.task(anything.name).call()
        assert store.task(double.name).call().run(rerun=False) == 2.0


def test_tasks_are_told_as_they_were_known_and_as_they_stood(tmp_path: Path) -> None:
    """At every snapshot and every time that matters, against plain Python over the base tables."""
    store_path, during = tmp_path / "prov.duckdb", []

    @braid.task(version="1", name="merges")
    def merges(logs: str) -> int:
        if logs:
            braid.compact(logs, store_path)
            during.append(logs)
        return 1

    for number in range(3):
        logs = tmp_path / f"logs-{number}"
        with braid.job("job", log_dir=logs, store=store_path):
            merges("")
            merges(str(logs))
            with pytest.raises(ValueError, match="no convergence"):
                fails("raise")
        braid.compact(logs, store_path)
    with braid.open(store_path) as store:
        tables = {
            name: store.sql(f"select * from {name}").to_pylist()
            for name in ("task_rows", "activity_rows", "activity_ends", "writer_states", "task_skips")
        }
        known = [row["snapshot"] for row in store.sql("select snapshot from snapshots").to_pylist()]
        ids = {(row["writer"], row["sequence"]): row for row in tables["activity_rows"]}
        begun_ns = {
            row["id"]: row["t"]
            for row in store.sql("select id, epoch_ns(begin_time) as t from activity_rows").to_pylist()
        }
        ended_ns = {
            (row["begun_by"], row["begun_at"]): row["t"]
            for row in store.sql("select begun_by, begun_at, epoch_ns(end_time) as t from activity_ends").to_pylist()
        }
        last_ns = {
            (row["writer"], row["snapshot"]): row["t"]
            for row in store.sql(
                "select writer, snapshot, epoch_ns(greatest(end_time, last_time)) as t from writer_states"
            ).to_pylist()
        }
        times = sorted({*begun_ns.values(), *ended_ns.values()})

        def expected(at: int, as_of: int | None) -> list[tuple[int, str]]:
            found = []
            for row in tables["task_rows"]:
                place = row["begun_by"], row["begun_at"]
                began = begun_ns[ids[place]["id"]]
                if row["snapshot"] > at or (as_of is not None and began > as_of):
                    continue
                ends = [
                    each
                    for each in tables["activity_ends"]
                    if (each["begun_by"], each["begun_at"]) == place
                    and each["snapshot"] <= at
                    and (as_of is None or ended_ns[place] <= as_of)
                ]
                states = [
                    each for each in tables["writer_states"] if each["writer"] == place[0] and each["snapshot"] <= at
                ]
                newest = max(states, key=lambda each: each["snapshot"])
                over = newest["state"] == "closed" and (as_of is None or last_ns[place[0], newest["snapshot"]] <= as_of)
                word = (
                    {"ok": "done", "failed": "failed"}[ends[0]["status"]]
                    if ends
                    else "interrupted"
                    if over
                    else "running"
                )
                found.append((began, ids[place]["id"], word))
            return [each[1:] for each in sorted(found, reverse=True)]

        asked = 0
        for at in known:
            for as_of in (None, *times, *(time - 1 for time in times[1:])):
                said = store.tasks(at=at, as_of=as_of).to_pylist()
                assert [(row["pk"], row["status"]) for row in said] == expected(at, as_of), (at, as_of)
                asked += len(said)
        assert asked > 100
        words = {row["status"] for at in known for row in store.tasks(at=at)}
        assert words == {"done", "failed", "running"}
        # One of them, likewise: its newest execution that was there then, and how often it had been made by then.
        first, last = store.task("merges", at=1), store.task("merges")
        assert (first.status, first.value, first.executions) == ("running", None, 1)
        assert (last.status, last.value) == ("done", "1")
        key = merges.key_of("").hex()
        assert (store.task(key).executions, store.task(key).skips) == (1, 2)
        middle = begun_ns[store.task(key).pk]
        assert (store.task(key, as_of=middle).status, store.task(key, as_of=middle).skips) == ("running", 0)
        with pytest.raises(NotFoundError):
            store.task("tests.tasks.functions.fails", as_of=middle)
        with pytest.raises(InvalidInputError):
            store.tasks(as_of=1)


TEN = "1.7640524 0.4001572 0.978738 2.2408931 1.867558 -0.9772779 0.95008844 -0.1513572 -0.10321885 0.41059852"


def test_questions_that_were_written_for_astra(tmp_path: Path) -> None:
    """The queries of its documentation, word for word; numbers are those that it prints."""
    with braid.job("job", log_dir=tmp_path / "logs"):
        for seed, draws, delay in ((0, 1, 0.0), (0, 10, 0.0), (3, 2, 0.1), (5, 1, 0.1)):
            random_numbers(seed, draws, delay)
        clashing()
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    printed = [
        [1.7640524],
        [float(word) for word in TEN.split()],
        [1.7886285, 0.43650985],
        [0.4412275],
    ]
    with braid.open(tmp_path / "prov.duckdb") as store:
        rows = store.sql("select * from astra.random_number_generator order by output_pk").to_pylist()
        assert [[f"{value:.8g}" for value in row["samples"]] for row in rows] == [
            [f"{np.float32(value):.8g}" for value in values] for values in printed
        ]
        rows = store.sql(
            "select t.pk, t.task_module, t.task_id, t.duration, rng.samples from astra.task as t, "
            "astra.random_number_generator as rng where t.output_pk = rng.output_pk;"
        ).to_pylist()
        assert sorted(row["pk"] for row in rows) == [1, 2, 3, 4]
        assert {row["task_module"] for row in rows} == {"tests.tasks.functions"}
        assert [row["duration"] >= 0.1 for row in sorted(rows, key=lambda row: row["pk"])] == [False, False, True, True]
        rows = store.sql(
            "select t.task_id, t.duration, p.parameter_name, p.parameter_value from astra.parameter as p, "
            "astra.task_parameter as tp, astra.task as t where t.pk = 3 and t.pk = tp.task_pk and "
            "tp.parameter_pk = p.pk;"
        ).to_pylist()
        assert {(row["parameter_name"], row["parameter_value"]) for row in rows} == {
            ("seed", "3"),
            ("draws", "2"),
            ("delay_time", "0.1"),
            ("version_major", "0"),
            ("version_minor", "1"),
        }
        # A pair that several tasks have is there once, and each key of a result leads to one task.
        counts = "(select count(*) from astra.{}), (select count(distinct pk) from astra.{})"
        (row,) = store.sql(
            f"select {', '.join(counts.format(name, name) for name in ('task', 'parameter', 'task_parameter'))}"
        ).to_pylist()
        assert list(row.values()) == [5, 5, 11, 11, 21, 21]
        keys = store.sql(
            "select output_interface.pk, count(task.output_pk) as n from astra.output_interface left join astra.task "
            "on task.output_pk = output_interface.pk group by output_interface.pk"
        ).to_pylist()
        assert [row["n"] for row in keys] == [1] * 5
        # What would take the place of a view is in the other schema only.
        assert store.sql("select y from result.tasks").to_pylist() == [{"y": 1}]
        assert store.sql(
            "select status, status_code from astra.task where execution = (select max(pk) from tasks)"
        ).to_pylist() == [{"status": "done", "status_code": 1}]
