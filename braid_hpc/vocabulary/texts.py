"""Text that a store can hold."""

from __future__ import annotations

import re

__all__ = ["clean", "visible"]

#: C0 but tab and line break, delete, and C1.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    r"""Return text that UTF-8 can hold.

    Parameters
    ----------
    text : str
        Any text; a path or an argument that is not UTF-8 has lone surrogates in it.

    Returns
    -------
    str
        Lone surrogates are shown as escapes (``\udcff``).
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def visible(text: str) -> str:
    r"""Return text that does nothing to a terminal but stand there.

    Parameters
    ----------
    text : str
        Any text; who made a store chose the names in it.

    Returns
    -------
    str
        Control characters are shown as escapes (``\x1b``); tabs and line breaks stay.
    """
    return text if text.isprintable() else _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
