"""A specification is read, and whatever is wrong with it is one sentence that names file and field."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.batch.known_fields import CHECKS
from braid_hpc.batch.sites import SITES
from braid_hpc.batch.specification import Specification, read_specification
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.docs.pages import DOCS

LEAST = {"command": "python fit.py", "time": "00:10:00"}


def wrong(**values: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        Specification.of(LEAST | values, source="fit.toml")
    return str(caught.value)


def test_a_file_is_read(tmp_path: Path) -> None:
    """Its name is the job's, and paths in it are taken from its directory."""
    file = tmp_path / "fit.toml"
    file.write_text('command = ["python", "a b.py"]\ntime = 5\nnodes = 2\n[environment]\nX = 1\n')
    spec = read_specification(file)
    assert (spec.name, spec.nodes, spec.time, spec.ranks) == ("fit", 2, 300, 2)
    assert spec.argument == "python 'a b.py'"
    assert spec.environment == (("X", "1"),)
    assert (spec.shared, spec.store_path) == (tmp_path, tmp_path / "prov.duckdb")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nodes": -2}, "fit.toml: nodes is -2; it must be a whole number of at least 1, without quotes"),
        ({"nodes": "two"}, "fit.toml: nodes is 'two'; it must be a whole number"),
        ({"ranks_per_node": 0}, "fit.toml: ranks_per_node is 0; it must be a whole number of at least 1"),
        ({"time": "soon"}, "fit.toml: time is 'soon'; it must be a time: 'HH:MM:SS'"),
        ({"nodez": 2}, "fit.toml: there is no field 'nodez'; did you mean 'nodes'?"),
        ({"partition": "debug"}, "fit.toml: there is no field 'partition'; it is called 'queue' here"),
        ({"source": "x"}, "fit.toml: there is no field 'source'"),
        ({"requeue": "yes"}, "fit.toml: requeue is 'yes'; it must be true or false"),
        ({"scheduler": "sge"}, "fit.toml: scheduler is 'sge'; it must be one of 'slurm', 'pbs'"),
        ({"site": "summit"}, "fit.toml: site is 'summit'; it must be one of 'aurora', 'frontier'"),
        ({"queue": "a b"}, "fit.toml: queue is 'a b'; it must be one word"),
        ({"warning": 600}, "fit.toml: warning is 600 s before the limit, and the limit is 600 s"),
        ({"array": "0-3", "scheduler": "lsf"}, "fit.toml: array is '0-3', and LSF counts the tasks of an array from 1"),
        ({"array": "0-3", "scheduler": "flux"}, "fit.toml: array is '0-3', and flux has no array jobs"),
        ({"command": "cd x && ./fit"}, "fit.toml: command is 'cd x && ./fit'; it must be one command, and '&&' makes"),
        ({"command": "./fit; ./plot"}, "fit.toml: command is './fit; ./plot'; it must be one command, and ';' makes"),
        ({"command": "./fit # slow"}, "fit.toml: command is './fit # slow'; it must be one command, and '#' makes"),
        ({"command": "A=1 ./fit"}, "fit.toml: command is 'A=1 ./fit'; it must begin with a command: variables go"),
        ({"environment": {"job": "x"}}, "fit.toml: environment is {'job': 'x'}; it must be a table of variables; job"),
        ({"site": "aurora", "scheduler": "slurm"}, "fit.toml: scheduler is 'slurm', and Aurora has 'pbs'"),
    ],
)
def test_what_is_wrong_is_said(values: dict[str, Any], said: str) -> None:
    assert wrong(**values).startswith(said)


@pytest.mark.parametrize(
    "command",
    [
        "./fit 2>&1 | tee 'a; b'",
        "./fit &> x",
        './fit "a && # b" \\; x#y',
        "./fit $(date; id) `a;b`",
        ["bash", "-c", "a; b"],
    ],
)
def test_what_is_one_command(command: str | list[str]) -> None:
    """Signs of the shell that are quoted do not count, and pipes and redirections belong to a command."""
    Specification.of(LEAST | {"command": command})


def test_a_command_that_starts_its_ranks_itself_may_be_several() -> None:
    Specification.of(LEAST | {"command": "mpirun -n 2 a && A=1 mpirun -n 2 b; c # d", "launcher": "none"})


@pytest.mark.parametrize("key", ["time", "command"])
def test_what_is_missing_is_said(key: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^fit.toml: {key} is missing: say .* as in: {key} = "):
        Specification.of({name: value for name, value in LEAST.items() if name != key}, source="fit.toml")


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Specification.of({"nodes": -1, "tme": 5, "command": ""}, source="fit.toml")
    assert len([str(caught.value), *caught.value.__notes__]) == 4


def test_what_is_no_file_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no specification .*/no.toml"):
        read_specification(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("time = ")
    with pytest.raises(InvalidInputError, match=r"bad.toml: it is not TOML"):
        read_specification(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InvalidInputError, match=r"bytes.toml: it is not TOML"):
        read_specification(tmp_path / "bytes.toml")


def test_a_warning_fits_into_a_short_limit() -> None:
    assert Specification.of(LEAST | {"time": 1}).warning == 30
    assert Specification.of(LEAST | {"time": 3}).warning == 90
    assert Specification.of(LEAST).warning == 120


@pytest.mark.parametrize("name", SITES)
def test_a_site_brings_its_conventions(name: str) -> None:
    """What the file says itself holds, and its lists follow the site's."""
    site = SITES[name]
    spec = Specification.of(LEAST | {"site": name, "launcher_flags": ["--mine"], "directives": ["-x"]})
    assert (spec.scheduler, spec.launcher, spec.node_local) == (site.scheduler, site.launcher, site.node_local)
    assert spec.launcher_flags[-1] == "--mine"
    assert spec.directives[-1] == "-x"
    assert Specification.of(LEAST | {"site": name, "node_local": "/x"}).node_local == "/x"


def test_it_is_written_so_that_it_can_be_read_again() -> None:
    spec = Specification.of(LEAST | {"nodes": 2, "environment": {"A": "b"}, "requeue": False, "modules": ["gcc"]})
    assert Specification.of(spec.plain()) == spec


def test_the_page_has_every_field() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "batch.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(CHECKS.keys() - {"source"})
    assert {each.name for each in dataclasses.fields(Specification)} == set(CHECKS)
