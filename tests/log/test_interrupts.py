"""What a signal handler raises is told from what is raised by a recording call."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from braid_hpc.log.interrupts import from_handler


class DeadlineError(Exception):
    """What the handlers raise."""


def fail() -> None:
    """Raise, called by a handler or not."""
    raise DeadlineError


def handle(number: int, frame: Any) -> None:
    """Do what a program's handler does."""
    fail()


class Handlers:
    """Other things that may be a handler."""

    def method(self, number: int, frame: Any) -> None:
        """Raise."""
        fail()

    def __call__(self, number: int, frame: Any) -> None:
        """Raise."""
        fail()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the signal back."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def caught(cause: Callable[[], Any]) -> Exception:
    """Return what a call raises."""
    try:
        cause()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def interrupted() -> None:
    """Have the handler run here."""
    signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize(
    "handler",
    [handle, Handlers().method, Handlers(), functools.partial(lambda extra, number, frame: fail(), 1)],
    ids=["function", "method", "object", "partial"],
)
def test_what_a_handler_raises_is_known(handler: Any) -> None:
    """Whatever sort of callable the handler is."""
    signal.signal(signal.SIGUSR1, handler)
    assert from_handler(caught(interrupted))


def test_what_was_made_of_it_is_known_and_what_only_came_later_is_not() -> None:
    """An error that names it as its cause stands for it; one that a program has caught long ago does not come again."""
    signal.signal(signal.SIGUSR1, handle)

    def wrapped() -> None:
        try:
            interrupted()
        except DeadlineError as error:
            raise OSError("while writing") from error

    def later() -> None:
        try:
            interrupted()
        except DeadlineError:
            raise ValueError("in the program's own except") from None

    assert from_handler(caught(wrapped))
    assert not from_handler(caught(later))


def test_other_exceptions_are_not() -> None:
    """The same exception raised by something else is an ordinary one."""
    signal.signal(signal.SIGUSR1, handle)
    assert not from_handler(caught(fail))
