"""``braid run``: record a program that was not written for it, or start a launcher whose ranks belong together."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from braid_hpc.run.ending import note_ending

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, TracebackType

__all__ = ["USAGE", "run_program"]

USAGE = """\
usage: braid run [--name NAME] [--log-dir DIR] [--store DB] SCRIPT [ARGUMENTS]...
       braid run [--name NAME] [--log-dir DIR] [--store DB] -m MODULE [ARGUMENTS]...
       braid run [--log-dir DIR] [--store DB] -- LAUNCHER [ARGUMENTS]...

The first two record a Python program as one job, on each rank when a launcher starts them:
  mpirun -n 4 braid run fit.py
The third starts a launcher and gives its ranks one run id:
  braid run -- mpirun -n 4 python fit.py
"""

_OPTIONS = {"--name": "name", "--log-dir": "log_dir", "--store": "store"}


def run_program(arguments: list[str]) -> NoReturn:
    """Take the words behind ``braid run``; does not return.

    Parameters
    ----------
    arguments : list of str
        The words.

    Raises
    ------
    SystemExit
        With the program's own code, or 2 for a wrong call.
    """
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("--") and rest[0] != "--":
        word, equals, value = rest.pop(0).partition("=")
        if word not in _OPTIONS or not (equals or rest):
            _wrong(f"{word} is not an option of braid run, or lacks its value")
        options[_OPTIONS[word]] = value if equals else rest.pop(0)
    if not rest:
        _wrong("braid run needs a script, or a launcher behind --")
    if rest[0] == "--":
        _launch(rest[1:], options)
    _record(rest, options)


def _wrong(message: str) -> NoReturn:
    sys.stderr.write(f"braid: {message}\n{USAGE}")
    sys.exit(2)


def _launch(command: list[str], options: dict[str, str]) -> NoReturn:
    if not command:
        _wrong("behind -- comes the launcher, such as mpirun")
    os.environ["BRAID_RUN_ID"] = os.urandom(16).hex()
    for option, variable in (("log_dir", "BRAID_LOG_DIR"), ("store", "BRAID_STORE")):
        if option in options:
            os.environ[variable] = os.path.abspath(options[option])
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"braid: {command[0]} cannot be started ({error.strerror})\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _record(words: list[str], options: dict[str, str]) -> NoReturn:
    import braid_hpc as braid

    module = ModuleType("__main__")
    if words[0] == "-m":
        if len(words) < 2:
            _wrong("behind -m comes a module")
        code, path, spec = _find_module(words[1])
        module.__dict__.update(__spec__=spec, __package__=spec.parent, __loader__=spec.loader)
        words = words[1:]
        sys.path.insert(0, os.getcwd())
    else:
        path = os.path.abspath(words[0])
        code = _read_script(path)
        sys.path.insert(0, os.path.dirname(path))
    name = options.get("name") or os.path.splitext(os.path.basename(words[0]))[0]
    sys.argv = [path, *words[1:]]
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    # The program is __main__, as if Python had started it: pickle, multiprocessing and its own checks rely on it.
    sys.modules["__main__"] = module
    # It ends with the interpreter, because the program's threads and what it does at exit belong to it.
    braid.start(name, log_dir=options.get("log_dir"), store=options.get("store"))
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        note_ending(error)
        _print_from(code)
        raise
    note_ending(None)
    sys.exit(0)


def _print_from(code: CodeType | None) -> None:
    """Have the exception that ends the program printed as Python prints it, without the frames of this command."""
    hook = sys.excepthook

    def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code is not code:
            trace = trace.tb_next
        hook(kind, error.with_traceback(trace), trace)

    sys.excepthook = print_exception


def _read_script(path: str) -> CodeType:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        sys.stderr.write(f"braid: cannot read {path} ({error.strerror})\n")
        sys.exit(2)
    try:
        return compile(text, path, "exec")
    except (SyntaxError, ValueError):
        _print_from(None)
        raise


def _find_module(name: str) -> tuple[CodeType, str, ModuleSpec]:
    import importlib.util

    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        spec = None
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    loader = spec.loader if spec is not None else None
    if spec is None or spec.origin is None or not hasattr(loader, "get_code"):
        sys.stderr.write(f"braid: there is no module {name} that can be run\n")
        sys.exit(2)
    del sys.path[0]
    try:
        return loader.get_code(spec.name), spec.origin, spec  # type: ignore[union-attr]
    except SyntaxError:
        _print_from(None)
        raise
