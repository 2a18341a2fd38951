"""Text that a store can hold."""

from __future__ import annotations

__all__ = ["clean"]


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
