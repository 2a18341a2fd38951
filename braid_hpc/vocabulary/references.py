r"""References, everywhere the same: ``[kind:]name[@version]`` or ``id:<hex>``.

The kind comes from a closed pattern, the last ``@`` separates the version, and a name that would read
otherwise stands in double quotes: ``data:"a@b"``, ``"http://host/x"``. Within quotes, ``\"`` and ``\\`` stand
for the quote and the backslash. ``#k`` behind a stream name is a row of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from braid_hpc.vocabulary.codes import KIND_PATTERN
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["LATEST", "Reference", "format_reference", "parse_reference"]

#: The version that no other version of that name revises.
LATEST = "latest"

_HEX = re.compile(r"[0-9a-f]{4,32}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_VERSION = re.compile(r"[1-9][0-9]{0,17}|latest")
_ROW = re.compile(r"#([0-9]{1,18})$")
#: What most names are made of, and nothing of which is misread.
_PLAIN = re.compile(r"[\w./-]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference.

    Attributes
    ----------
    name : str or None
        The record's name; None when `identity` is given.
    kind : str or None
        The record's kind, if it was named.
    version : int or None
        The number in this store; None for ``@latest`` or when no version was named.
    latest : bool
        Whether ``@latest`` was written.
    identity : str or None
        Hexadecimal digits (4 to 32) of a global id, or the beginning of one.
    row : int or None
        A row of a stream, counted from 0.
    """

    name: str | None
    kind: str | None = None
    version: int | None = None
    latest: bool = False
    identity: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        """Return the text that parses to this reference."""
        if self.identity is not None:
            return f"id:{self.identity}"
        version = LATEST if self.latest else self.version
        text = format_reference(self.kind, self.name or "", version)
        return text if self.row is None else f"{text}#{self.row}"


def format_reference(kind: str | None, name: str, version: int | str | None = None) -> str:
    """Write a reference, with quotes around the name where it would be misread without.

    Parameters
    ----------
    kind : str or None
        The kind, or None to leave it out.
    name : str
        Any text.
    version : int, str or None
        A version number, ``"latest"``, or None to leave it out.

    Returns
    -------
    str
        A text that :func:`parse_reference` reads back.

    Examples
    --------
    >>> format_reference("model", "braggnn", 3)
    'model:braggnn@3'
    >>> format_reference("data", "a@b")
    'data:"a@b"'
    """
    head = f"{kind}:" if kind else ""
    tail = f"@{version}" if version is not None else ""
    if _needs_quotes(name, with_kind=bool(kind)):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{escaped}"'
    return f"{head}{name}{tail}"


def _needs_quotes(name: str, *, with_kind: bool) -> bool:
    if _PLAIN.fullmatch(name):
        return False
    if not name or name != name.strip() or name[0] == '"' or _ROW.search(name):
        return True
    if any(letter in name for letter in "@\n\\"):
        return True
    head, colon, _ = name.partition(":")
    return bool(colon) and not with_kind and KIND_PATTERN.fullmatch(head) is not None


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Parameters
    ----------
    text : str
        ``[kind:]name[@version]`` or ``id:<hex>``.

    Returns
    -------
    Reference
        Its parts.

    Raises
    ------
    InvalidInputError
        If the text is not a reference; the message says which part is not.

    Examples
    --------
    >>> parse_reference("model:braggnn@3")
    Reference(name='braggnn', kind='model', version=3, latest=False, identity=None, row=None)
    >>> str(parse_reference("id:0f3a"))
    'id:0f3a'
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"{text!r:.80} is not a reference: that is a text, [kind:]name[@version] or id:<hex>")
    if not text.strip():
        raise InvalidInputError("an empty reference names nothing: write [kind:]name[@version] or id:<hex>")
    text = text.strip()
    if text.startswith("id:"):
        if not _HEX.fullmatch(text[3:].lower()):
            raise InvalidInputError(f"{text!r} is not an id: after 'id:' come 4 to 32 hexadecimal digits")
        return Reference(name=None, identity=text[3:].lower())
    rest, row = text, None
    if (found := _ROW.search(rest)) and not rest[: found.start()].endswith("\\"):
        rest, row = rest[: found.start()], int(found[1])
    kind, rest = _split_kind(rest)
    name, version = _split_version(rest, text)
    return Reference(
        name=name,
        kind=kind,
        version=int(version) if version and version != LATEST else None,
        latest=version == LATEST,
        row=row,
    )


def _split_kind(text: str) -> tuple[str | None, str]:
    head, colon, rest = text.partition(":")
    if colon and rest and KIND_PATTERN.fullmatch(head):
        return head, rest
    return None, text


def _split_version(rest: str, whole: str) -> tuple[str, str | None]:
    if rest.startswith('"'):
        if not (quoted := _QUOTED.match(rest)):
            raise InvalidInputError(f"the quotes in {whole!r} are not closed: end the name with a double quote")
        name = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        rest = rest[quoted.end() :]
        if rest and not rest.startswith("@"):
            raise InvalidInputError(f"after the quoted name in {whole!r} only '@version' may follow")
        version = rest[1:] if rest else None
    else:
        name, at, version = rest.rpartition("@")
        if not at:
            name, version = rest, None
    if version is not None and not _VERSION.fullmatch(version):
        raise InvalidInputError(
            f"{version!r} in {whole!r} is not a version: it is a number from 1, or 'latest' "
            f"(a name with an '@' stands in double quotes)"
        )
    return name, version
