"""The error tree."""

from __future__ import annotations

import inspect

import pytest

from braid_hpc.vocabulary import errors
from braid_hpc.vocabulary.errors import BraidError, BraidWarning

CLASSES = [
    found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, BraidError | BraidWarning)
]


def test_every_class_is_exported() -> None:
    """Nothing raised on purpose is hidden from a handler."""
    assert sorted(found.__name__ for found in CLASSES) == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("error", "builtin", "exit_code"),
    [
        (errors.NotFoundError, LookupError, 3),
        (errors.InvalidInputError, ValueError, 2),
        (errors.ConflictError, Exception, 5),
        (errors.ReadOnlyError, PermissionError, 4),
        (errors.FormatTooOldError, ValueError, 4),
        (errors.FormatTooNewError, ValueError, 4),
        (errors.CorruptLogError, ValueError, 4),
        (errors.StorageError, OSError, 4),
        (errors.MissingExtraError, ImportError, 4),
    ],
)
def test_each_error_is_a_builtin_one_with_its_exit_code(
    error: type[BraidError], builtin: type[Exception], exit_code: int
) -> None:
    """Who never heard of this package catches it all the same; the command line ends with the code of the issue."""
    assert issubclass(error, BraidError)
    assert issubclass(error, builtin)
    assert error.exit_code == exit_code


@pytest.mark.parametrize("error", [found for found in CLASSES if issubclass(found, BraidError)])
def test_the_message_is_the_sentence(error: type[BraidError]) -> None:
    """Not its repr, as of KeyError, and not an errno, as of OSError."""
    assert str(error("no such thing: 'x'")) == "no such thing: 'x'"
    assert str(error()) == ""


def test_the_warning_can_be_silenced_by_itself() -> None:
    """It is a UserWarning and no error."""
    assert issubclass(BraidWarning, UserWarning)
    assert not issubclass(BraidWarning, BraidError)
