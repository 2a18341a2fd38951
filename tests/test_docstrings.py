"""Docstrings: what is public has one; it names its parameters, what is returned, and what is raised.

Form and order of the sections are held by ``ruff`` (rules D, convention numpy). Tests and benchmarks are left out.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "braid_hpc"

#: For what cannot happen, and for what another class does.
NEVER_SEEN = {"AssertionError", "NotImplementedError"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Public:
    """A public function, method or class."""

    place: str
    node: Function | ast.ClassDef
    doc: str | None
    #: The docstring of the class around it, whose Parameters section is that of ``__init__``.
    around: str | None = None

    @property
    def decorators(self) -> list[str]:
        return [ast.unparse(each) for each in self.node.decorator_list]

    @property
    def section(self) -> dict[str, str]:
        """The sections by their titles."""
        parts = re.split(r"^([A-Z][A-Za-z ]+)\n-+$", self.doc or "", flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))


def public(source: str, place: str) -> Iterator[Public]:
    """Give what is public in a module: at its top and in its public classes. Special methods count."""
    yield from _within(ast.parse(source).body, place, None)


def _within(body: list[ast.stmt], place: str, around: str | None) -> Iterator[Public]:
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _within(node.body, place, around)
        if not isinstance(node, (Function, ast.ClassDef)):
            continue
        special = node.name.startswith("__") and node.name.endswith("__")
        if node.name.startswith("_") and not special:
            continue
        found = Public(f"{place}:{node.lineno} {node.name}", node, ast.get_docstring(node), around)
        if "overload" not in found.decorators:
            yield found
        if isinstance(node, ast.ClassDef):
            yield from _within(node.body, place, found.doc or "")


@functools.cache
def everything() -> list[Public]:
    found: list[Public] = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in sorted(files):
            if file.endswith(".py"):
                path = Path(folder, file)
                found.extend(public(path.read_text(), path.relative_to(PACKAGE.parent).as_posix()))
    return found


def raised(node: ast.AST, caught: frozenset[str] = frozenset()) -> Iterator[str]:
    """Give the errors that a function raises by name, without those of functions within it and those it catches."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        # A variable, or what a function returns, is not the name of an error.
        if isinstance(error, ast.Name) and error.id[:1].isupper() and error.id not in {*caught, *NEVER_SEEN}:
            yield error.id
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (Function, ast.ClassDef, ast.Lambda)):
            continue
        inside = caught
        if isinstance(node, ast.Try) and child in node.body:
            inside |= {ast.unparse(handler.type) for handler in node.handlers if handler.type is not None}
        yield from raised(child, inside)


def is_command(found: Public) -> bool:
    """Whether it is a command of the command line: its docstring is its help, its errors are exit codes."""
    return any(".command(" in each or ".group(" in each for each in found.decorators)


def undocumented(found: Public) -> bool:
    """Whether it lacks a docstring; that of ``__init__`` is the class's."""
    return found.doc is None and found.node.name != "__init__"


def unnamed_errors(found: Public) -> set[str]:
    """Give the errors that a function raises by name in its own body, and that its Raises section does not name."""
    if isinstance(found.node, ast.ClassDef) or is_command(found):
        return set()
    said = found.section.get("Raises", "")
    if found.node.name == "__init__":
        said += found.around or ""
    return {error for error in raised(found.node) if not re.search(rf"\b{error}\b", said)}


def wrong_parameters(found: Public) -> set[str]:
    """Give the names in which a Parameters section and the signature differ, where there is such a section."""
    if isinstance(found.node, ast.ClassDef) or "Parameters" not in found.section:
        return set()
    arguments = found.node.args
    names = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    names |= {each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None}
    said: set[str] = set()
    for line in found.section["Parameters"].splitlines():
        if line and not line.startswith(" "):
            said |= {name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")}
    names -= {"self", "cls"}
    if arguments.kwarg is not None and arguments.kwarg.arg not in said:
        # The names that it takes stand there instead.
        return names - {arguments.kwarg.arg} - said
    return said ^ names


def lacks_returns(found: Public) -> bool:
    """Whether a function that is described by sections returns something, and does not say what."""
    if isinstance(found.node, ast.ClassDef) or not found.section or found.node.returns is None:
        return False
    if found.node.name.startswith("__"):
        # What a special method returns, its first line says.
        return False
    nothing = ast.unparse(found.node.returns) in ("None", "NoReturn")
    return not nothing and not {"Returns", "Yields"} & set(found.section) and not is_command(found)


def test_what_is_public_has_a_docstring() -> None:
    assert [found.place for found in everything() if undocumented(found)] == []


def test_what_is_raised_is_named() -> None:
    assert {found.place: names for found in everything() if (names := unnamed_errors(found))} == {}


def test_parameters_are_those_of_the_signature() -> None:
    assert {found.place: names for found in everything() if (names := wrong_parameters(found))} == {}


def test_what_is_returned_is_said() -> None:
    assert [found.place for found in everything() if lacks_returns(found)] == []


GOOD = '''
def f(a, *b, c=1, **d) -> int:
    """Do it.

    Parameters
    ----------
    a : int
        One.
    *b, c, **d
        Others.

    Returns
    -------
    int
        It.

    Raises
    ------
    ValueError
        If not.
    """
    def inner(x):
        raise KeyError
    try:
        raise LookupError
    except LookupError:
        pass
    raise ValueError("no") from None
'''


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (("", ""), (False, set(), set(), False)),
        (("ValueError\n", "LookupError\n"), (False, {"ValueError"}, set(), False)),
        (("*b, c, **d", "*b, **d"), (False, set(), {"c"}, False)),
        (("a : int", "e : int"), (False, set(), {"a", "e"}, False)),
        (("Returns\n    -------", "Notes\n    -----"), (False, set(), set(), True)),
        (('"""', "'"), (True, {"ValueError"}, set(), False)),
    ],
)
def test_faults_are_seen(change: tuple[str, str], faults: tuple[object, ...]) -> None:
    source = GOOD.replace(*change) if change[0] != '"""' else re.sub(r'""".*?"""', "pass", GOOD, flags=re.DOTALL)
    (found,) = public(source, "here")
    assert (undocumented(found), unnamed_errors(found), wrong_parameters(found), lacks_returns(found)) == faults
