"""Taking secrets out of texts before they come into a log: it is copied, archived and read by others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

__all__ = ["REDACTED", "is_secret_argument", "redact", "redact_arguments", "redact_values", "sounds_secret"]

#: What stands in the place of a secret.
REDACTED = "<redacted>"

_WORDS = (
    r"token(?!i[sz])|secret|passw|passphrase|passwd|pwd(?=$|_)|api_?-?key|credential|"
    r"(?:access|account|client|encryption|master|private|service|shared|signing|ssh|storage|subscription)_?-?key|"
    r"cookie|auth(?!or)|signature|bearer"
)
#: What a text has in small letters, if one of the words above is in it.
_HINTS = ("token", "secret", "pass", "pwd", "key", "credential", "cookie", "auth", "signature", "bearer")
#: What a text has in small letters, if it has one of the forms below.
_MORE_HINTS = (
    *(*_HINTS, "://", "eyj", "gho_", "ghp_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "npm_", "pypi-"),
    *("xox", "sk-", "aiza", "ya29.", "akia", "asia", "basic"),
)


@cache
def _name() -> re.Pattern[str]:
    return re.compile(_WORDS, re.IGNORECASE)


@cache
def _forms() -> tuple[re.Pattern[str], ...]:
    """Return what secrets look like wherever they stand; the group is what remains.

    Made when a text looks as if it had one: compiling them takes longer than a rank's log to begin.
    """
    patterns = (
        # Without an end, everything after it: what follows of a key may be cut.
        (r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        (r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE),
        (r"()\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?", 0),
        (r"()\b(?:gh[opusr]_|github_pat_|glpat-|hf_|npm_|pypi-|xox[abeoprs]-|sk-|AIza|ya29\.)[\w.-]{12,}", 0),
        (r"()\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", 0),
        (r"(\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE),
        (
            # In a list of settings; the working directory has this name too.
            r"(\b\w*pwd(?:\s*=\s*|[\"']\s*:\s*))(?!/)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'&;,]+)",
            re.IGNORECASE,
        ),
        (
            rf"((?:{_WORDS})[\w-]*[\"']?\s*(?:=>|:=|[=:])\s*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'&;,]+)",
            re.IGNORECASE,
        ),
    )
    return tuple(re.compile(pattern, flags) for pattern, flags in patterns)


#: Values of variables that sound secret are looked for everywhere, if they are as long as this.
_LONG = 6


def sounds_secret(name: str) -> bool:
    """Return whether what has this name is a secret, by its name.

    Parameters
    ----------
    name : str
        Of a variable, an option, a key.

    Returns
    -------
    bool
        Of ``GITHUB_TOKEN``, ``--password`` and the like.

    Examples
    --------
    >>> sounds_secret("AWS_SECRET_ACCESS_KEY"), sounds_secret("OMP_NUM_THREADS")
    (True, False)
    """
    low = name.lower()
    return any(hint in low for hint in _HINTS) and _name().search(name) is not None


@lru_cache(4096)
def is_secret_argument(name: str) -> bool:
    """Return :func:`sounds_secret` of the name of an argument or a function, quickly where it was asked before.

    Parameters
    ----------
    name : str
        Of an argument, or of what returns something.

    Returns
    -------
    bool
        As there.
    """
    return sounds_secret(name)


def redact(text: str) -> str:
    """Return a text without what looks like a secret, and without the values of variables that sound secret.

    Parameters
    ----------
    text : str
        Anything.

    Returns
    -------
    str
        With :data:`REDACTED` in the place of each.

    Examples
    --------
    >>> redact("git clone https://me:hunter2@host/x --api-key=abc")
    'git clone https://<redacted>@host/x --api-key=<redacted>'
    """
    for value in _known_secrets():
        if value in text:
            text = text.replace(value, REDACTED)
    low = text.lower()
    if not any(hint in low for hint in _MORE_HINTS):
        return text
    for form in _forms():
        text = form.sub(lambda found: f"{found[1]}{REDACTED}{'@' if found[0].endswith('@') else ''}", text)
    return text


def _known_secrets() -> list[str]:
    values = {value for name, value in os.environ.items() if len(value) >= _LONG and sounds_secret(name)}
    # A path is no secret, though the file that it names may hold one.
    return sorted((value for value in values if not value.startswith("/")), key=len, reverse=True)


def redact_arguments(arguments: Iterable[str]) -> list[str]:
    """Return a command line without secrets.

    Parameters
    ----------
    arguments : iterable of str
        As given to a program.

    Returns
    -------
    list of str
        The value after an option that sounds secret is redacted too.

    Examples
    --------
    >>> redact_arguments(["fit.py", "--password", "hunter2", "--steps", "3"])
    ['fit.py', '--password', '<redacted>', '--steps', '3']
    """
    found: list[str] = []
    secret = False
    for argument in arguments:
        found.append(REDACTED if secret and not argument.startswith("-") else redact(argument))
        secret = argument.startswith("-") and "=" not in argument and sounds_secret(argument)
    return found


def redact_values(value: Any) -> Any:
    """Return a value in which each text is redacted, and each value of a key that sounds secret.

    Parameters
    ----------
    value : object
        Mappings and lists of plain values.

    Returns
    -------
    object
        Of the same form; a tuple becomes a list.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            _redacted_key(key): REDACTED
            if _key_sounds_secret(key) and isinstance(item, (str, bytes, int, float))
            else redact_values(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact_values(item) for item in value]
    return value


def _redacted_key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_redacted_key(part) for part in key)
    return redact(key) if isinstance(key, str) else key


def _key_sounds_secret(key: Any) -> bool:
    if isinstance(key, (tuple, frozenset)):
        return any(_key_sounds_secret(part) for part in key)
    if isinstance(key, bytes):
        key = key.decode("latin-1")
    return isinstance(key, str) and sounds_secret(key)
