"""The wall between the recorder and the program."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.run.guard import caller, disabled, recording, shown, strict, tell


class Guarded:
    """Something with one recording call."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Exception, str]] = []

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        self.kept.append((call, error, given))
        return "instead"

    @recording
    def call(self, value: Any, *, error: BaseException | None = None) -> Any:
        """Do something."""
        if error is not None:
            raise error
        return value


class Odd:
    """Whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRAID_STRICT")


@pytest.mark.usefixtures("lenient")
def test_an_exception_is_kept_and_not_raised() -> None:
    """With the call, what was given, and something to go on with."""
    guarded, error = Guarded(), ValueError("x")
    assert guarded.call(1) == 1
    assert guarded.call("a", error=error) == "instead"
    assert guarded.kept == [("call", error, "'a', error=ValueError('x')")]
    assert guarded.call(Odd(), error=error) == "instead"
    assert "<Odd whose repr raises RuntimeError>" in guarded.kept[1][2]
    guarded.call("x" * 10_000, error=error)
    assert len(guarded.kept[2][2]) < 600


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_ends_a_program_passes(error: BaseException) -> None:
    """It was not the recorder that failed."""
    with pytest.raises(type(error)):
        Guarded().call(1, error=error)


def test_strict_raises_the_very_exception() -> None:
    """For tests and demonstrations."""
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        Guarded().call(1, error=error)
    assert caught.value is error


def test_a_recording_call_keeps_its_name_and_text() -> None:
    """For help and for completion."""
    assert Guarded.call.__name__ == "call"
    assert Guarded.call.__doc__ == "Do something."


@pytest.mark.parametrize(("text", "on"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_switches(monkeypatch: pytest.MonkeyPatch, text: str | None, on: bool) -> None:
    """Off unless they say something else than 0."""
    for name, asked in (("BRAID_STRICT", strict), ("BRAID_DISABLE", disabled)):
        monkeypatch.delenv(name, raising=False)
        if text is not None:
            monkeypatch.setenv(name, text)
        assert asked() is on


def test_the_caller_is_the_programs_line() -> None:
    """Not one of this package."""
    line = sys._getframe().f_lineno + 1
    assert caller() == f"{__file__}:{line}"


def test_what_is_shown_is_short() -> None:
    """Of anything."""
    assert shown("a") == "'a'"
    assert len(shown("x" * 1000)) == 120
    assert shown(Odd()) == "<Odd whose repr raises RuntimeError>"


def test_telling_needs_no_error_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is none, or it is closed, nothing happens."""
    tell("one sentence")
    assert capsys.readouterr().err == "braid: one sentence\n"
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        tell("nobody hears this")
        monkeypatch.setattr(sys, "stderr", None)
        tell("nor this")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()


class DeadlineError(Exception):
    """What a program's handler raises to get out of where it is."""


class Interrupting:
    """A value that is being looked at when the signal comes."""

    def __fspath__(self) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return "nowhere"

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray[Any, Any]:
        signal.raise_signal(signal.SIGUSR1)
        return np.zeros(1)


@pytest.mark.parametrize("tail", ["python", "compiled"])
def test_what_a_signal_handler_raises_reaches_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    """A deadline that passes in the middle of a recording call is the program's, and no refusal and no loss."""
    monkeypatch.setenv("BRAID_TAIL", tail)
    monkeypatch.delenv("BRAID_STRICT", raising=False)

    def handle(number: int, frame: Any) -> None:
        raise DeadlineError

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with braid.job("interrupted", log_dir=tmp_path) as run:
            stream = run.stream("numbers", {"n": "float64"})
            calls: list[Callable[[], Any]] = [
                lambda: run.data("file", path=Interrupting()),
                lambda: run.array("block", Interrupting()),
                lambda: stream.extend({"n": Interrupting()}),
            ]
            for call in calls:
                with pytest.raises(DeadlineError):
                    call()
            assert stream.append(1.0).count == 1
            assert (run._rejected, run._log.lost) == (0, 0)
    finally:
        signal.signal(signal.SIGUSR1, before)


class Unspeakable:
    """A value that cannot be shown, and is neither true nor false."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


def test_a_refusal_of_what_cannot_be_shown_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling what was refused asks nothing of it that may raise."""
    monkeypatch.delenv("BRAID_STRICT", raising=False)
    odd: Any = Unspeakable()
    with braid.job("unspeakable", log_dir=tmp_path) as run:
        assert run.flush(odd) is False
        run.external(odd, kind=odd, name=odd)
        assert run._rejected >= 2


class Hostile:
    """An object of a program that raises whatever it is asked."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __call__(self) -> int:
        return 3


class HostileText(str):
    """A text whose methods raise."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


@pytest.mark.parametrize("thing", [Hostile(), HostileText("fit")], ids=["object", "text"])
def test_an_object_that_raises_whatever_it_is_asked_is_no_ones_exception(thing: Any, tmp_path: Path) -> None:
    """Neither the name of a job or an activity nor what a handle is looked up by has to answer."""
    assert braid.record_of(thing) is None
    with braid.job("hostile", log_dir=tmp_path) as run, run.activity(thing):
        assert braid.record_of(thing) is None
    braid.start(thing, log_dir=tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_callable_that_raises_when_it_is_asked_for_its_name_is_carried() -> None:
    """It is called all the same."""
    assert braid.carry(Hostile())() == 3
