"""Collectors are found by the entry points of packages, and imported by nobody but `load`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import braid_hpc as braid
from braid_hpc.cli.app import braid as command
from braid_hpc.collectors.registry import GROUP, installed, load
from braid_hpc.vocabulary.errors import MissingExtraError, NotFoundError

Braid = Callable[..., Result]


@pytest.fixture
def cli() -> Braid:
    return lambda *words: CliRunner().invoke(command, list(words), prog_name="braid")


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of somebody else, as pip would lay it down."""
    about = tmp_path / "site" / "their_lab-2.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their_lab\nVersion: 2.1\n")
    (about / "entry_points.txt").write_text(
        f"[{GROUP}]\nscope = their_lab_scope:Scope\nbroken = their_lab_gone:Nothing\n"
    )
    (tmp_path / "site" / "their_lab_scope.py").write_text("class Scope:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    sys.modules.pop("their_lab_scope", None)


@pytest.mark.usefixtures("others")
def test_collectors_of_others_are_listed_and_loaded() -> None:
    """Listing imports none of them."""
    found = {one.name: one for one in installed()}
    assert (found["scope"].target, found["scope"].package, found["scope"].version) == (
        "their_lab_scope:Scope",
        "their_lab",
        "2.1",
    )
    assert "their_lab_scope" not in sys.modules
    assert load("scope").__name__ == "Scope"


@pytest.mark.usefixtures("others")
def test_what_cannot_be_imported_is_one_sentence() -> None:
    with pytest.raises(MissingExtraError, match=r"'broken' \(their_lab_gone:Nothing\) cannot be imported"):
        load("broken")
    with pytest.raises(NotFoundError, match=r"no collector 'none': installed are .*scope"):
        load("none")


def test_ours_can_be_loaded() -> None:
    for found in installed():
        if found.package == "braid_hpc":
            assert load(found.name) is not None


@pytest.mark.usefixtures("others")
def test_commands_list_them(cli: Braid) -> None:
    done = cli("collectors", "--format", "json")
    assert done.exit_code == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["scope"] == {
        "name": "scope",
        "target": "their_lab_scope:Scope",
        "package": "their_lab",
        "version": "2.1",
    }
    found = {row["what"]: row["finding"] for row in json.loads(cli("doctor", "--format", "json").stdout)}
    assert "scope" in found["collectors"].split(", ")


def test_modules_are_attributes() -> None:
    """`braid.collectors.losses` needs no import of its own."""
    assert braid.collectors.losses.STREAM == "collector_losses"
    assert "registry" in dir(braid.collectors)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = braid.collectors.nothing
