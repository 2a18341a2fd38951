"""What a newer minor version added to a log: it is kept, counted and named, and not understood here.

A newer major version is refused before anything else is read of the log, or written anywhere.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from braid_hpc.log.layout import MAJOR, MINOR, PAGE, TAIL_HEADER, TailHeader
from braid_hpc.log.seal import EVENT_COLUMNS
from braid_hpc.reading.directories import read_header, tail_files
from braid_hpc.reading.events import Events
from braid_hpc.reading.parts import CODES
from braid_hpc.reading.sealed import schema_message
from braid_hpc.reading.writer_log import WriterLog
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.errors import CorruptLogError, FormatTooNewError

__all__ = ["HEADER_MEMBERS", "refuse_newer", "unknown_codes", "unknown_in", "unknown_parts"]

#: Members of ``header.json`` in this version of the format.
HEADER_MEMBERS = frozenset(
    {
        *("format", "major", "minor", "writer", "clock", "host", "boot_id", "pid", "pid_namespace"),
        *("process_start", "byteorder", "job", "ordinal", "rank", "size", "launcher", "evidence", "store", "argv"),
        *("executable", "python", "cwd", "user", "script", "script_digest", "git", "file_system", "mount", "tail"),
        "parent",
    }
)

_KNOWN_CODES = frozenset(Code)
#: Where a part counts its rows of other codes.
_UNKNOWN = [code for code in range(CODES) if code not in _KNOWN_CODES]
_COLUMNS = frozenset({"sequence", "payload", *(name for name, *_ in EVENT_COLUMNS)})


def refuse_newer(directory: Path) -> None:
    """See that a log is not of a newer major version; only its header and the first page of its tails are read.

    Parameters
    ----------
    directory : Path
        A writer's directory.

    Raises
    ------
    FormatTooNewError
        If it is.
    """
    read_header(directory)
    for path in tail_files(directory):
        try:
            with path.open("rb") as file:
                TailHeader.unpack(file.read(PAGE)[: TAIL_HEADER.size + 8])
        except FormatTooNewError as error:
            error.add_note(str(path))
            raise
        except (CorruptLogError, OSError):
            # Said when the log is read; or it was sealed meanwhile.
            continue


def unknown_codes(events: Events) -> dict[int, tuple[int, int]]:
    """Return the codes among some rows that this version of the format does not have.

    Parameters
    ----------
    events : Events
        Rows in order.

    Returns
    -------
    dict of int to (int, int)
        Code to the number of its rows and the sequence of the first one.
    """
    found = {code: count for code, count in Counter(events["code"].tolist()).items() if code not in _KNOWN_CODES}
    return {code: (count, int(events["sequence"][next(events.positions(code))])) for code, count in found.items()}


def unknown_in(log: WriterLog) -> dict[int, tuple[int, int]]:
    """Return the codes in a log that this version of the format does not have.

    Parameters
    ----------
    log : WriterLog
        Only parts that have such rows are read again.

    Returns
    -------
    dict of int to (int, int)
        As for :func:`unknown_codes`.
    """
    found: dict[int, tuple[int, int]] = {}
    for part in log.parts:
        if part.codes[_UNKNOWN].any():
            for code, (count, first) in unknown_codes(part.read()).items():
                before = found.get(code, (0, first))
                found[code] = (before[0] + count, min(before[1], first))
    return found


def unknown_parts(log: WriterLog) -> list[str]:
    """Say what of a log this version of the format does not know.

    Parameters
    ----------
    log : WriterLog
        All of it was read.

    Returns
    -------
    list of str
        One sentence for each sort; none for a log of this version.
    """
    notes = []
    header = log.header
    minor = header.get("minor")
    if isinstance(minor, int) and minor > MINOR:
        notes.append(
            f"the log is of format {MAJOR}.{minor} and this braid_hpc knows {MAJOR}.{MINOR}: what is new in it is "
            f"kept and not understood; update braid_hpc"
        )
    if members := sorted(header.keys() - HEADER_MEMBERS):
        notes.append(f"members of header.json that are not known: {', '.join(members)}")
    for code, (count, first) in sorted(unknown_in(log).items()):
        notes.append(
            f"{count} event{'s' if count > 1 else ''} of code {code} {'are' if count > 1 else 'is'} not known, "
            f"the first one is number {first}"
        )
    for path in sorted(log.directory.glob("events*.arrows")):
        if columns := _columns(path) - _COLUMNS:
            notes.append(f"columns of {path.name} that are not known: {', '.join(sorted(columns))}")
    return notes


def _columns(path: Path) -> set[str]:
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            return set(pa.ipc.read_schema(pa.py_buffer(schema_message(file.read(64 << 10)))).names)
    except (OSError, pa.ArrowInvalid):
        # A batch that carries its sum vouches for the schema; where none does, that is said of the log already.
        return set()
