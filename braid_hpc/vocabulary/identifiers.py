"""Identifiers of what is published elsewhere: when two spellings name the same thing.

An identifier is kept as it was given. Only letters of which a standard says that their case does not matter are
compared without it:

- the scheme, the host and the digits of percent-encoded bytes of a URI (RFC 3986, 6.2.2.1);
- a DOI name, behind ``doi:`` or its resolvers (ISO 26324; ASCII letters only);
- ``urn:``, the namespace behind it (RFC 8141, 3.1), and a UUID (RFC 9562, 4).

Everything else, such as ``tomo_00058``, is what it is. ``doi:10.5/x`` and ``https://doi.org/10.5/x`` stay two.
"""

from __future__ import annotations

import re

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import key_digest

__all__ = ["canonical", "check_identifier", "identifier_digest"]

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?(.*)", re.DOTALL)
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_RESOLVERS = ("doi.org", "dx.doi.org")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CAPITALS = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def check_identifier(text: object) -> str:
    """Return an identifier, if it is one.

    Parameters
    ----------
    text : object
        What the caller gave.

    Returns
    -------
    str
        The same text.

    Raises
    ------
    InvalidInputError
        If it is no text, is empty, or holds line breaks or other control characters.
    """
    if not isinstance(text, str) or not text.strip() or any(ord(letter) < 32 for letter in text):
        raise InvalidInputError(f"{text!r:.80} is not an identifier: give one such as 'doi:10.17038/XSD/1344262'")
    return text


def canonical(identifier: str) -> str:
    """Return the spelling by which two identifiers are compared.

    Parameters
    ----------
    identifier : str
        Any text.

    Returns
    -------
    str
        Of the same length; only the case of some ASCII letters is another one.

    Examples
    --------
    >>> canonical("DOI:10.17038/XSD/1344262")
    'doi:10.17038/xsd/1344262'
    >>> canonical("HTTPS://Materialsdatafacility.org/Detail/A%c3")
    'https://materialsdatafacility.org/Detail/A%C3'
    >>> canonical("tomo_00058"), canonical("Tomo_00058")
    ('tomo_00058', 'Tomo_00058')
    """
    found = _URI.fullmatch(identifier)
    if found is None:
        return identifier
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    if scheme == "doi" and authority is None:
        return f"doi:{_percent(_lower(rest))}"
    if scheme == "urn" and authority is None:
        return f"urn:{_urn(rest)}"
    if authority is None:
        return f"{scheme}:{_percent(rest)}"
    user, at, host = authority.rpartition("@")
    host = _lower(host)
    if scheme in ("http", "https") and host in _RESOLVERS and rest.startswith("/10."):
        rest = _lower(rest)
    return f"{scheme}://{_percent(user)}{at}{_percent(host)}{_percent(rest)}"


def _urn(rest: str) -> str:
    namespace, colon, name = rest.partition(":")
    namespace = _lower(namespace)
    if namespace == "uuid" and _UUID.fullmatch(name):
        name = _lower(name)
    return f"{namespace}{colon}{_percent(name)}"


def _lower(text: str) -> str:
    return text.translate(_CAPITALS)


def _percent(text: str) -> str:
    return _PERCENT.sub(lambda byte: byte[0].upper(), text)


def identifier_digest(identifier: str) -> str:
    """Return what stands in for the digest of bytes that only an identifier is known of.

    Parameters
    ----------
    identifier : str
        In any spelling.

    Returns
    -------
    str
        ``identifier:`` and 32 hexadecimal digits, equal for identifiers of one canonical spelling.
    """
    return f"identifier:{key_digest(['identifier', canonical(identifier)])}"
