"""What an import brings in, under which names, and that the examples in docstrings hold."""

import doctest
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

import braid_hpc
from braid_hpc.log.choice import compiled_module
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

EVERYTHING = "\n".join(
    [
        "import braid_hpc, pkgutil, importlib",
        "for found in list(pkgutil.walk_packages(braid_hpc.__path__, 'braid_hpc.')):",
        f"    if found.name.endswith('.__main__') or found.name in {COMPILED}: continue",
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

heavy = {"pyarrow", "duckdb", "numba", "llvmlite", "numpy", "h5py", "click", "rich", "mpi4py"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def modules() -> list[str]:
    """Names all modules of the package, the linked folders included, without importing any."""
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py") and file != "__main__.py":
                path = Path(folder, file).relative_to(PACKAGE.parent).with_suffix("")
                found.append(".".join(path.parts).removesuffix(".__init__"))
    return sorted(set(found) - set(COMPILED))


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


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
