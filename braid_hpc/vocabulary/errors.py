"""One error tree, ordered by what a handler would do.

Each class is also the builtin exception that a caller who never heard of this package would catch.
The message is one sentence: what is wrong, where, and what to do. Further diagnosis (rank, host, segment,
offset) hangs on it as notes (:meth:`BaseException.add_note`).
"""

from __future__ import annotations

__all__ = [
    "BraidError",
    "BraidWarning",
    "ConflictError",
    "CorruptLogError",
    "FormatTooNewError",
    "FormatTooOldError",
    "InvalidInputError",
    "MissingExtraError",
    "NotFoundError",
    "ReadOnlyError",
    "StorageError",
]


class BraidError(Exception):
    """Root of every exception this package raises on purpose."""

    exit_code = 4


class NotFoundError(BraidError, LookupError):
    """A reference, a stream, a log or a store that does not exist: ask for something else."""

    exit_code = 3

    def __str__(self) -> str:
        """Return the sentence itself (a bare :class:`KeyError` would show its ``repr``)."""
        return str(self.args[0]) if self.args else ""


class InvalidInputError(BraidError, ValueError):
    """The call is wrong as it stands: correct it."""

    exit_code = 2


class ConflictError(BraidError, RuntimeError):
    """Somebody else was faster, or a reference has several answers: try again or say which."""

    exit_code = 5


class ReadOnlyError(BraidError, PermissionError):
    """Something that may only be read was asked to change."""


class FormatTooOldError(BraidError, ValueError):
    """The file is of an older format that is read only after an upgrade."""


class FormatTooNewError(BraidError, ValueError):
    """The file is of a newer format: update braid_hpc."""


class CorruptLogError(BraidError, ValueError):
    """Bytes that do not carry the check sum they were written with."""


class StorageError(BraidError, OSError):
    """The file system refused: no space, no permission, no such directory."""


class MissingExtraError(BraidError, ImportError):
    """An optional part is not installed; the message names the extra that brings it."""


class BraidWarning(UserWarning):
    """Something of the recorder failed or was refused; the program goes on."""
