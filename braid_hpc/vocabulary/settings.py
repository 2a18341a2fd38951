"""How the settings of a device are told apart: equal ones have one digest, whatever the order of their members."""

from __future__ import annotations

from typing import Any

from braid_hpc.vocabulary.verbatim import encode_words

__all__ = ["LONGEST_NAME", "in_order", "settings_digest", "words_digest"]

#: Characters of the name of a device by which its settings are found.
LONGEST_NAME = 1000


def words_digest(data: bytes) -> str:
    """Return the digest of a document.

    Parameters
    ----------
    data : bytes
        The document, encoded.

    Returns
    -------
    str
        ``blake3:`` and 64 hexadecimal digits.
    """
    from blake3 import blake3

    return f"blake3:{blake3(data).hexdigest()}"


def in_order(value: Any, depth: int = 0) -> Any:
    """Return a value with its mappings in order of their keys, so that equal settings have one digest.

    Parameters
    ----------
    value : object
        Any.
    depth : int
        How deep it stands; beyond 16 the order stays.

    Returns
    -------
    object
        An equal one.
    """
    if isinstance(value, dict) and depth < 16:
        return {key: in_order(value[key], depth + 1) for key in sorted(value, key=repr)}
    return value


def settings_digest(about: dict[str, Any]) -> str:
    """Return the digest of the settings of a device: of values and data keys, without the times.

    Parameters
    ----------
    about : dict
        The device, in the configuration of a descriptor.

    Returns
    -------
    str
        That of the version ``config:<device>``.
    """
    return words_digest(encode_words(in_order({key: about.get(key) for key in ("data", "data_keys")}))[0])
