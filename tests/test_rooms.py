"""The rooms: what may import what, by the sources, so that lazy imports and those for type checkers count too."""

from __future__ import annotations

import ast
import functools
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import braid_hpc

PACKAGE = Path(__file__).resolve().parent.parent / "braid_hpc"

#: From left to right; a room imports only rooms to its left, and itself.
ROOMS = (
    *("vocabulary", "log", "run", "results", "tasks", "reading", "remote", "snapshots", "compaction"),
    *("queries", "store", "lineage", "assets", "scans", "exports", "batch", "campaigns", "bench", "cli"),
)

#: Import nothing of ours, so that everybody may import them.
LEAVES = ("kernels", "_version")

#: What one module may import although it lies to the right, with the reason.
EXCEPTIONS = {
    ("store.walking", "lineage.ask"): "Store.lineage and Store.impact are asked of the store, and answered there",
    ("store.walking", "lineage.answer"): "what they return",
    ("store.walking", "lineage.component"): "so is Store.graph",
    ("store.walking", "lineage.rows"): "so is Store.row_lineage",
    ("store.walking", "lineage.row_answer"): "what it returns",
    ("store.walking", "lineage.validity"): "so is what is valid",
    (
        "store.asking",
        "lineage.described",
    ): "what is said of a thing is so at a moment, with its neighbours and its validity",
    ("store.versions", "lineage.history"): "what made each version, and whether it is valid, is so at a moment too",
    ("store.versions", "assets.staging"): "Store.stage copies what a store refers to",
    **{
        ("store.questions", f"lineage.{module}"): "so is each further question"
        for module in ("compared", "completeness", "how", "stale", "where", "why")
    },
    ("store.reading_back", "scans.scan"): "Store.scan is asked of the store, and answered there",
    ("store.scan_files", "assets.filler"): "what lies in files of detectors is read there, also in a search",
    ("scans.muxing", "exports.exporting"): "Scan.export is asked of a scan, and answered there",
    ("scans.muxing", "exports.replaying"): "so is Scan.replay",
    ("store.reading_back", "scans.program_run"): "what it returns for runs that are no scans",
    ("run.job", "collectors.files"): "files='auto' of a job is that collector, imported when it is asked for",
    ("cli.collectors", "collectors.registry"): "which collectors there are is asked of what is installed",
    ("cli.doctor", "collectors.registry"): "so it is here",
    ("cli.ingesting", "collectors.documents"): "what a file holds goes the way of what an instrument says",
}

#: What runs on a rank, and the import that it does not come to.
RANK = ("vocabulary", "log", "run", "results", "tasks", "collectors", "kernels")
NOT_ON_A_RANK = {("cli", "cli.app"): "braid run is taken before"}


@functools.cache
def modules() -> dict[str, Path]:
    """Give all modules by their names without the package's."""
    found = {}
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder, file)
                parts = path.relative_to(PACKAGE).with_suffix("").parts
                found[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    return found


def imported(source: str, known: set[str]) -> Iterator[str]:
    """Give the modules of ours that a source imports anywhere in it, without the package's name; "" is the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "braid_hpc":
                    yield alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno} hides its room"
            if (node.module or "").partition(".")[0] == "braid_hpc":
                inside = (node.module or "").partition(".")[2]
                for alias in node.names:
                    deeper = f"{inside}.{alias.name}".lstrip(".")
                    # A name of the package's root is of the module that it is loaded from.
                    home = braid_hpc._HOMES.get(alias.name, "").partition(".")[2] if not inside else ""
                    yield home or (deeper if deeper in known else inside)


@functools.cache
def graph() -> dict[str, set[str]]:
    found = modules()
    return {name: set(imported(path.read_text(), set(found))) for name, path in found.items()}


def room(name: str) -> str:
    return name.partition(".")[0]


def out_of_order(name: str, target: str) -> bool:
    """Say whether a module of a room imports what lies to its right, or lies in no room."""
    here, there = room(name), room(target)
    if here == there or there in LEAVES:
        return False
    return there not in ROOMS or ROOMS.index(there) > ROOMS.index(here)


def test_every_module_lies_in_a_room() -> None:
    """Beside them are the root, the leaves, the collectors and the demonstrations."""
    beside = {"", "__main__", "collectors", "demos", *LEAVES}
    assert {room(name) for name in modules()} == {*ROOMS, *beside}


def test_rooms_import_only_rooms_to_their_left() -> None:
    wrong = {
        (name, target)
        for name, targets in graph().items()
        if room(name) in ROOMS
        for target in targets
        # Of the root the last room only may ask: it stands for everything.
        if (room(name) != "cli" if target == "" else out_of_order(name, target))
    }
    assert wrong == set(EXCEPTIONS)


def test_leaves_import_nothing_of_ours() -> None:
    found = {name: targets for name, targets in graph().items() if room(name) in LEAVES}
    assert {target for targets in found.values() for target in targets if room(target) not in LEAVES} == set()


def test_collectors_use_what_run_offers() -> None:
    """Names of the package's root that belong to recording, and public names of run."""
    for name, path in modules().items():
        if room(name) != "collectors":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "braid_hpc":
                for alias in node.names:
                    assert not (reason := not_offered(node.module or "", alias.name)), f"{name}: {reason}"


def not_offered(module: str, name: str) -> str:
    home = braid_hpc._HOMES.get(name, module) if module == "braid_hpc" else module
    if room(home.partition(".")[2]) not in ("run", "vocabulary", "kernels", "collectors"):
        return f"{name} of {module} is not for ranks"
    offered = getattr(importlib.import_module(module), "__all__", ())
    return "" if name in offered else f"{name} is not public in {module}"


def test_demonstrations_use_the_root_and_the_leaves() -> None:
    """As a program of a user would, and the places that results go to, which have names of their own."""
    found = {name: targets for name, targets in graph().items() if room(name) == "demos"}
    used = {target for targets in found.values() for target in targets if room(target) not in ("demos", *LEAVES)}
    assert found
    assert used - {home.partition(".")[2] for home in braid_hpc._HOMES.values()} <= {"", "results"}


def test_nothing_on_a_rank_reaches_the_store_or_beyond() -> None:
    """Through any chain of imports, also such as are made late."""
    edges = graph()
    reached = {name for name in edges if room(name) in RANK} | {"cli", "cli.program"}
    todo = list(reached)
    while todo:
        name = todo.pop()
        for target in edges.get(name, set()):
            # The root loads each of its names when it is asked for.
            if target and target not in reached and (name, target) not in NOT_ON_A_RANK:
                reached.add(target)
                todo.append(target)
    beyond = ROOMS[ROOMS.index("reading") :]
    assert {name for name in reached if room(name) in beyond} == {"cli", "cli.program"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import braid_hpc.store.store", {"store.store"}),
        ("def f():\n    from braid_hpc.store import store", {"store.store"}),
        ("if TYPE_CHECKING:\n    from braid_hpc.store.store import Store", {"store.store"}),
        ("import braid_hpc as braid", {""}),
        ("from braid_hpc import Store, record_of", {"store.store", "run.handles"}),
        ("import os, numpy", set()),
    ],
)
def test_imports_are_seen_wherever_they_stand(source: str, found: set[str]) -> None:
    assert set(imported(source, set(modules()))) == found


def test_an_import_to_the_right_is_seen() -> None:
    assert out_of_order("run.recorder", "store.store")
    assert out_of_order("store.walking", "lineage.answer")
    assert out_of_order("log.writer", "demos.braggnn")
    assert not out_of_order("run.recorder", "log.writer")
    assert not_offered("braid_hpc.run.calls", "_leave")
    assert not_offered("braid_hpc", "Store")
    assert not not_offered("braid_hpc", "current_run")
