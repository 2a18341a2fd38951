"""What an import brings in, under which names, and that the examples in docstrings hold."""

import doctest
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

import braid_hpc
from braid_hpc.cli.app import _HOMES
from braid_hpc.compaction.compact import compact
from braid_hpc.log.choice import compiled_module
from tests.jobs import Job
from tests.ranks import RunRanks

PACKAGE = Path(__file__).resolve().parent.parent / "braid_hpc"

# Prints the names that `{statement}` adds to sys.modules, in an interpreter that has imported nothing else.
NEW_MODULES = """
import sys
before = set(sys.modules)
{statement}
new = sorted(set(sys.modules) - before)
import json
print(json.dumps(new))
"""

# They are made of the compiled tail, so they cannot be imported where it was not built.
COMPILED = ("braid_hpc.log.compiled", "braid_hpc.run.compiled") if compiled_module() is None else ()

# They are made of mpi4py's classes, so importing them starts MPI; whoever traces a communicator has done that already.
MADE_OF_MPI = tuple(
    f"braid_hpc.collectors.mpi.{name}"
    for name in ("collectives", "communicators", "envelopes", "messages", "requests", "windows")
)

EVERYTHING = "\n".join(
    [
        "import braid_hpc, pkgutil, importlib",
        "for found in list(pkgutil.walk_packages(braid_hpc.__path__, 'braid_hpc.')):",
        f"    if found.name.endswith('.__main__') or found.name in {COMPILED + MADE_OF_MPI}: continue",
        "    importlib.import_module(found.name)",
    ]
)

# One of everything that a rank can record, in a run that is then closed.
RECORDING = """
import sys
import braid_hpc as braid

@braid.activity
def double(x):
    return 2 * x

with braid.job("imports") as run:
    config = run.fact("config", 7, tags={"energy_keV": 71.7})
    frames = run.data("frames", array=bytearray(64), derived_from=config)
    with run.activity("find", used=frames, params={"threshold": 40}) as activity:
        peaks = activity.data("peaks", uri="file:///nowhere/peaks")
    model = run.model("braggnn", digest="00" * 32, derived_from=[config, peaks])
    positions = run.stream("positions", {"frame": "int32", "label": "text"})
    for frame in range(1000):
        positions.append(frame, "a")
    positions.extend({"frame": [1, 2], "label": ["b", "c"]})
    assert double(4) == 8

heavy = {"pyarrow", "duckdb", "numba", "llvmlite", "numpy", "h5py", "click", "rich", "mpi4py", "fsspec", "zarr", "PIL"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


# A command in a process of its own; what it prints is not looked at here.
COMMAND = """
import contextlib, io
from braid_hpc.cli import main
with contextlib.redirect_stdout(io.StringIO()) as printed:
    try:
        main({words})
    except SystemExit as ended:
        assert ended.code == 0, ended.code
assert printed.getvalue()
"""

# What a question to the edges has no use for: it costs more to load than the question does.
HEAVY = {
    *(
        "PIL",
        "fsspec",
        "h5py",
        "llvmlite",
        "mpi4py",
        "networkx",
        "numba",
        "pandas",
        "polars",
        "prov",
        "pyarrow",
        "rich",
    ),
    *("tifffile", "zarr"),
}


def modules() -> list[str]:
    """Names all modules of the package, the linked folders included, without importing any."""
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py") and file != "__main__.py":
                path = Path(folder, file).relative_to(PACKAGE.parent).with_suffix("")
                found.append(".".join(path.parts).removesuffix(".__init__"))
    return sorted(set(found) - {*COMPILED, *MADE_OF_MPI})


def new_modules(run_ranks: RunRanks, statement: str) -> list[str]:
    printed: list[str] = json.loads(run_ranks(0, NEW_MODULES.format(statement=statement)).stdout)
    return printed


def test_import_loads_only_the_standard_library(run_ranks: RunRanks) -> None:
    new = new_modules(run_ranks, "import braid_hpc")
    assert "braid_hpc" in new
    foreign = [name for name in new if name.partition(".")[0] not in {"braid_hpc", *sys.stdlib_module_names}]
    assert foreign == []


def test_import_loads_no_linked_folder(run_ranks: RunRanks) -> None:
    new = new_modules(run_ranks, "import braid_hpc")
    assert [name for name in new if name.startswith(("braid_hpc.kernels", "braid_hpc.collectors"))] == []


def test_linked_folders_have_one_name_each(run_ranks: RunRanks) -> None:
    """Bare `kernels` would be a well-known package of that name, and a second copy of ours."""
    new = new_modules(run_ranks, EVERYTHING)
    assert {"braid_hpc.kernels", "braid_hpc.collectors"} <= set(new)
    assert [name for name in new if name.partition(".")[0] in ("kernels", "collectors")] == []


def test_this_process_never_has_a_bare_linked_folder() -> None:
    for name in modules():
        importlib.import_module(name)
    assert [name for name in sys.modules if name.partition(".")[0] in ("kernels", "collectors")] == []


def test_root_has_few_names_and_all_of_them_resolve() -> None:
    names = [name for name in braid_hpc.__all__ if not name.startswith("__")]
    assert 0 < len(names) <= 20
    for name in names:
        assert getattr(braid_hpc, name) is not None


def test_recording_loads_nothing_heavy(run_ranks: RunRanks) -> None:
    assert run_ranks(0, RECORDING).stdout == "[]\n"


def test_naming_a_result_loads_nothing_heavy(run_ranks: RunRanks) -> None:
    """What a kind of file needs is loaded when a value is written or read."""
    new = new_modules(
        run_ranks,
        "from braid_hpc.results import *; LocalResult('x', serializer=OmeTiff()); S3Result('x', serializer=Npy())",
    )
    assert {*HEAVY, "numpy", "duckdb"} & {name.partition(".")[0] for name in new} == set()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which there is something to ask for."""
    folder = tmp_path_factory.mktemp("cold")
    with Job(folder / "logs", 1) as job:
        config = job[0].fact("config", 7)
        with job[0].activity("find", used=config) as activity:
            frames = activity.data("frames", digest="x:1")
        job[0].model("net", digest="w:1", derived_from=frames)
    return compact(folder / "logs", folder / "prov.duckdb").store


@pytest.mark.parametrize(
    ("verb", "words", "own"),
    [
        ("lineage", ("net",), {"cli.ask", "lineage.ask", "lineage.render"}),
        ("lineage", ("net", "--depth", "1", "--format", "json"), {"cli.ask", "lineage.ask"}),
        ("impact", ("config",), {"cli.ask", "lineage.ask", "lineage.render"}),
        ("why", ("net", "config", "--paths", "2"), {"cli.questions", "lineage.why"}),
        ("stale", ("net",), {"cli.questions", "lineage.stale"}),
        ("complete", ("net",), {"cli.questions", "lineage.completeness"}),
        ("how", ("net",), {"cli.questions", "lineage.how"}),
        ("where", ("net",), {"cli.questions", "lineage.where"}),
        ("show", ("net", "--format", "json"), {"cli.ask", "lineage.described"}),
    ],
)
def test_a_question_loads_what_answers_it_and_no_more(
    run_ranks: RunRanks, store: Path, verb: str, words: tuple[str, ...], own: set[str]
) -> None:
    """Neither a heavy package, nor what records, reads logs and merges them, nor the module of another command."""
    new = new_modules(run_ranks, COMMAND.format(words=[verb, *words, "--store", str(store)]))
    assert HEAVY & {name.partition(".")[0] for name in new} == set()
    ours = {name.removeprefix("braid_hpc.") for name in new if name.startswith("braid_hpc.")}
    assert own <= ours
    rooms = {name.partition(".")[0] for name in ours}
    assert rooms & {"collectors", "compaction", "log", "queries", "reading", "remote", "run"} == set()
    commands = {name for name, _ in _HOMES.values()} & {name.removeprefix("cli.") for name in ours}
    assert {f"cli.{name}" for name in commands} - own <= {"cli.ask"}


def test_help_loads_no_heavy_package(run_ranks: RunRanks) -> None:
    """It lists all commands, and imports their modules for that: these import what they do their work with later."""
    new = new_modules(run_ranks, COMMAND.format(words=["--help"]))
    assert {f"braid_hpc.cli.{module}" for module, _ in _HOMES.values()} <= set(new)
    assert {*HEAVY, "duckdb"} & {name.partition(".")[0] for name in new} == set()


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
