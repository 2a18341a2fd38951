"""What a function is called, in every process that runs it, and what its source is."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from typing import Any

from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = [
    "MAIN_MODULES",
    "SCRIPT_MODULE",
    "Place",
    "code_digest",
    "main_prefix",
    "package_version",
    "place_of",
    "qualified_name",
]

#: The module that a script is loaded as when a call is made again from the store.
SCRIPT_MODULE = "__braid_script__"

#: Modules that a script's functions are in: run, run by a worker of multiprocessing, and loaded by us.
MAIN_MODULES = ("__main__", "__mp_main__", SCRIPT_MODULE)


class Place:
    """Where a function is.

    Attributes
    ----------
    name : str
        What a task of it is called: ``package.module.function``; of a script's ``path/in/repository.py:function``.
    module : str
        Importable module; empty for a script.
    script : str
        Absolute path of the script; empty for a module.
    qualname : str
        Name within the module.
    """

    __slots__ = ("module", "name", "qualname", "script")

    def __init__(self, name: str, module: str, script: str, qualname: str) -> None:
        self.name, self.module, self.script, self.qualname = name, module, script, qualname


def place_of(function: Any) -> Place:
    """Return where a function is.

    Parameters
    ----------
    function : callable
        A function.

    Returns
    -------
    Place
        Its name is the same in every process: a script goes by its path within its repository, or, where there is
        none, by its absolute path; one that is run as ``python -m package.module`` by the module's name.

    Raises
    ------
    InvalidInputError
        If it has no name, or is a lambda.
    """
    qualname, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if not qualname or not module:
        raise InvalidInputError(f"a task is a function with a name, not a {type(function).__name__}")
    if "<lambda>" in qualname:
        raise InvalidInputError("a task is a function with a name, not a lambda: define it with def")
    if module not in MAIN_MODULES:
        return Place(f"{module}.{qualname}", module, "", qualname)
    if (run := _run_as(module)) is not None:
        return Place(f"{run}.{qualname}", run, "", qualname)
    code = getattr(function, "__code__", None)
    script = code.co_filename if code is not None else getattr(sys.modules.get(module), "__file__", None) or ""
    if not script or script.startswith("<"):
        # Typed at a prompt, or given with -c.
        return Place(f"{script or '<unknown>'}:{qualname}", "", "", qualname)
    script = os.path.realpath(script)
    return Place(f"{_within_repository(script)}:{qualname}", "", script, qualname)


def _run_as(module: str) -> str | None:
    """Return the name under which ``python -m`` found a main module, also in a worker of multiprocessing."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return None if spec is None or spec.name in MAIN_MODULES or spec.name.endswith("_main__") else str(spec.name)


def qualified_name(thing: Any) -> str:
    """Return what a class or function is called in every process.

    Parameters
    ----------
    thing : type or callable
        With ``__module__`` and ``__qualname__``.

    Returns
    -------
    str
        ``package.module.Class``; of a script's ``path/in/repository.py:Class``.
    """
    module = thing.__module__
    return f"{main_prefix(module) if module in MAIN_MODULES else f'{module}.'}{thing.__qualname__}"


def main_prefix(module: str) -> str:
    """Return how the names of what is in a main module begin.

    Parameters
    ----------
    module : str
        One of :data:`MAIN_MODULES`.

    Returns
    -------
    str
        Ends with a dot, or a colon.
    """
    if (run := _run_as(module)) is not None:
        return f"{run}."
    script = getattr(sys.modules.get(module), "__file__", None)
    return f"{_within_repository(os.path.realpath(script))}:" if script else "<unknown>:"


@functools.cache
def _within_repository(script: str) -> str:
    folder = os.path.dirname(script)
    while True:
        if os.path.exists(os.path.join(folder, ".git")):
            return os.path.relpath(script, folder)
        if (above := os.path.dirname(folder)) == folder:
            return script
        folder = above


def code_digest(function: Any) -> str | None:
    """Return a digest of the source of a function.

    Parameters
    ----------
    function : callable
        A function; the decorators above it are left out, as are comments at the ends of its lines and blank lines.

    Returns
    -------
    str or None
        ``source:<32 hex>``; of a function without source (typed at a prompt) ``bytecode:<version>:<32 hex>``; None if
        there is neither.
    """
    import inspect

    function = inspect.unwrap(function)
    if isinstance(function, type):
        try:
            text = _significant(inspect.getsourcelines(function)[0])
        except (OSError, TypeError, SyntaxError):
            return None
        return f"source:{_digest(text.encode('utf-8', 'surrogatepass'))}"
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    try:
        lines = inspect.getblock(inspect.findsource(code)[0][code.co_firstlineno - 1 :])
        text = _significant(lines)
    except (OSError, SyntaxError, IndexError):
        return f"bytecode:{sys.version_info[0]}.{sys.version_info[1]}:{_digest(_bytecode(code))}"
    return f"source:{_digest(text.encode('utf-8', 'surrogatepass'))}"


def _significant(lines: list[str]) -> str:
    """Return the tokens of a function from its ``def`` on, without comments: their texts, and where lines begin."""
    import io
    import textwrap
    import tokenize

    found: list[str] = []
    begun = False
    dropped = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent("".join(lines))).readline):
        begun = begun or token.string in ("def", "async", "class", "lambda")
        if begun and token.type not in dropped:
            # What an indent is made of does not matter, only that there is one.
            found.append("\t" if token.type == tokenize.INDENT else token.string)
    return "\0".join(found)


def _bytecode(code: Any) -> bytes:
    inner = [_bytecode(each) if hasattr(each, "co_code") else repr(each).encode() for each in code.co_consts]
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *inner])


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def package_version(function: Any) -> str | None:
    """Return the version of the package that a function is in, as the package says it.

    Parameters
    ----------
    function : callable
        A function.

    Returns
    -------
    str or None
        ``<package> <version>``; None for a script, and for a package without ``__version__``.
    """
    top = str(getattr(function, "__module__", "")).partition(".")[0]
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top} {version}" if isinstance(version, str) and top not in MAIN_MODULES else None
