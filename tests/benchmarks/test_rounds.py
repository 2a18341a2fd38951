"""Rounds of a benchmark are kept as they are measured, however the program ends."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from benchmarks.rounds import (
    NotRun,
    Rounds,
    Summary,
    in_turn,
    machine,
    not_run_list,
    publish,
    read_rounds,
    summary,
    table,
)


def of(variant: str, turn: int = 0) -> dict[str, object]:
    return {"mode": "weak", "variant": variant, "ranks": 2, "round": turn}


def test_rounds_come_back_with_their_machine_and_what_was_not_run(tmp_path: Path) -> None:
    with Rounds("thing", tmp_path, machine(tmp_path)) as measured:
        measured.add(of("a"), {"rate": (2.5, "events/s"), "wall": (4, "s")})
        measured.skip(of("b"), "there is no b here")
    found = read_rounds(tmp_path / "thing.parquet")
    assert found.rows == measured.rows
    assert (found.rows[1].value, found.rows[1].unit) == (4.0, "s")
    assert found.not_run == [NotRun("weak", "b", 2, 0, "there is no b here")]
    assert found.about["cores"] >= 1
    assert len(found.about["load_before"]) == len(found.about["load_after"]) == 3
    assert found.ended_early == ""
    assert [path.name for path in tmp_path.iterdir()] == ["thing.parquet"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_what_was_measured_before_an_interruption_is_kept(tmp_path: Path, sent: signal.Signals) -> None:
    """And the signal means afterwards what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with Rounds("thing", tmp_path, machine(tmp_path)) as measured:
        measured.add(of("a"), {"wall": (1, "s")})
        os.kill(os.getpid(), sent)
        measured.add(of("a", 1), {"wall": (2, "s")})
    assert signal.getsignal(signal.SIGTERM) is before
    found = read_rounds(tmp_path / "thing.parquet")
    assert [row.value for row in found.rows] == [1.0]
    assert found.ended_early == "interrupted"
    assert "interrupted" in not_run_list(found)


def test_what_an_early_end_leaves_out_is_named(tmp_path: Path) -> None:
    """Each with the reason; what was measured, or had a reason of its own, is not among it."""
    planned = {("weak", name): f"the {name}" for name in "abc"}
    with Rounds("thing", tmp_path, machine(tmp_path), planned=dict(planned)) as measured:
        measured.add(of("a"), {"wall": (1, "s")})
        measured.skip(of("b"), "there is no b here")
        raise KeyboardInterrupt
    notes = read_rounds(tmp_path / "thing.parquet").not_run
    assert [(note.variant, note.why) for note in notes] == [("b", "there is no b here"), ("the c", "interrupted")]
    with Rounds("thing", tmp_path, machine(tmp_path), planned=dict(planned)) as measured:
        pass
    assert measured.not_run == []


def test_a_full_disk_ends_the_rounds_and_not_the_program(tmp_path: Path) -> None:
    with Rounds("thing", tmp_path, machine(tmp_path)) as measured:
        measured.add(of("a"), {"wall": (1, "s")})
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert read_rounds(tmp_path / "thing.parquet").ended_early == os.strerror(errno.ENOSPC)


def test_where_the_file_cannot_be_written_the_last_one_stays(tmp_path: Path) -> None:
    """A file that may not grow is refused as on a full disk; what did not fit is said, and goes into the next one."""
    measured = Rounds("thing", tmp_path, machine(tmp_path))
    measured.add(of("a"), {"wall": (1, "s")})
    measured.save()
    measured.add(of("a", 1), {"wall": (2, "s")})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        measured.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "thing.parquet" in measured.unwritten
    assert [row.value for row in read_rounds(measured.path).rows] == [1.0]
    measured.save()
    assert measured.unwritten == ""
    assert [row.value for row in read_rounds(measured.path).rows] == [1.0, 2.0]


def test_tables_are_printed_where_they_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And rounds that found no room while others of the benchmark's files were there are written then."""
    measured = Rounds("thing", tmp_path, machine(tmp_path))
    measured.add(of("a"), {"wall": (1, "s")})
    measured.unwritten = "there was no room"
    (tmp_path / "thing.md").mkdir()
    with pytest.raises(SystemExit, match="thing: tables or picture could not be written: Is a directory"):
        publish(measured, "the table", lambda measured, path: "")
    assert capsys.readouterr().out == "the table\n"
    assert [row.value for row in read_rounds(measured.path).rows] == [1.0]
    (tmp_path / "thing.md").rmdir()
    publish(measured, "the table", lambda measured, path: "nothing to draw with")
    assert (tmp_path / "thing.md").read_text() == "the table"
    assert capsys.readouterr().err == "thing: no picture: nothing to draw with\n"


def test_another_error_is_an_error(tmp_path: Path) -> None:
    """With what was measured written all the same."""

    def work() -> None:
        with Rounds("thing", tmp_path, machine(tmp_path)) as measured:
            measured.add(of("a"), {"wall": (1, "s")})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(read_rounds(tmp_path / "thing.parquet").rows) == 1


def test_ratios_are_of_rounds_that_both_have(tmp_path: Path) -> None:
    measured = Rounds("thing", tmp_path, machine(tmp_path))
    for turn, (first, second) in enumerate([(2, 1), (9, 3), (8, 2)]):
        measured.add(of("a", turn), {"wall": (first, "s")})
        if turn != 1:
            measured.add(of("b", turn), {"wall": (second, "s")})
    ratios = measured.ratios({"variant": "a", "measure": "wall"}, {"variant": "b", "measure": "wall"})
    assert ratios == [2.0, 4.0]
    assert summary(ratios) == Summary(2.5, 3.0, 3.5, 2)
    assert summary([]) is None


@pytest.mark.parametrize("names", ["ab", "abc", "abcdefgh"])
def test_nothing_always_comes_after_the_same(names: str) -> None:
    """Each is first as often as last, and has each of its neighbours before it."""
    orders = [in_turn(names, turn) for turn in range(2 * len(names))]
    assert all(sorted(order) == list(names) for order in orders)
    firsts, lasts = ([order[at] for order in orders] for at in (0, -1))
    assert {name: firsts.count(name) for name in names} == dict.fromkeys(names, 2)
    assert sorted(firsts) == sorted(lasts)
    for name in names:
        before = {order[order.index(name) - 1] for order in orders if order.index(name)}
        assert len(before) == min(2, len(names) - 1)


def test_the_command_is_noted_without_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are somebody's own, and say nothing of the figures."""
    given = ["/somewhere/scaling.py", "--out", "/a", "--rounds", "3", "--dir", "/b", "--quick"]
    monkeypatch.setattr("sys.argv", given)
    assert machine(tmp_path)["command"] == "python benchmarks/scaling.py --rounds 3 --quick"


def test_a_table_is_of_markdown() -> None:
    assert table(["what", "s"], [["a", "1.5"]]).splitlines() == ["| what | s |", "|---|--:|", "| a | 1.5 |"]
