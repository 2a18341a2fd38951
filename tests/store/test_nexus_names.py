"""NeXus names of what documents say: a table, a file, what a program adds, and projections of starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from event_model import DocumentNames, schema_validators

from braid_hpc.queries import nexus
from braid_hpc.queries.fields import Field
from braid_hpc.store import nexus_names as module
from braid_hpc.store.nexus_names import (
    STANDARD,
    NexusName,
    nexus_names,
    nexus_path,
    nexus_table,
    read_nexus_names,
    register_nexus_name,
)
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stored

PROJECTIONS: list[dict[str, Any]] = [
    {
        "name": "nexus",
        "version": "1",
        "configuration": {},
        "projection": {
            "entry/sample/name": {"type": "linked", "location": "start", "field": "specimen"},
            "/entry/instrument/monochromator/energy": {
                "type": "linked",
                "location": "event",
                "stream": "primary",
                "field": "mono_e",
            },
            "/entry/instrument/detector/gain": {
                "type": "linked",
                "location": "configuration",
                "config_index": 0,
                "config_device": "det",
                "stream": "primary",
                "field": "gain",
            },
            "/entry/definition": {"type": "static", "value": "NXxas"},
            "/entry/flux": {
                "type": "calculated",
                "location": "event",
                "stream": "primary",
                "field": "flux",
                "calculation": {"callable": "a:b"},
            },
        },
    }
]


def documents() -> dict[str, list[Pair]]:
    """One scan that is as the table says, one with projections, and one with neither."""
    plain = start(uid="plain", sample={"name": "Nickel"})
    own = start(uid="own", specimen="Nickel", sample={"name": "no"}, projections=PROJECTIONS)
    other = start(uid="other", sample={"name": "Copper"}, projections="none")
    energy = descriptor(plain, {"energy": key()})
    settings = {"det": {"data": {"gain": 20}, "timestamps": {"gain": 1.0}, "data_keys": {}}}
    mono = descriptor(own, {"mono_e": key(), "energy": key()}, configuration=settings)
    return {
        "plain": [plain, energy, event(energy, 1, {"energy": 8.5})],
        "own": [own, mono, event(mono, 1, {"mono_e": 9.5, "energy": 1.0})],
        "other": [other],
    }


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REGISTERED", {})


def test_a_search_by_a_nexus_name_finds_scans_by_what_each_calls_so(tmp_path: Path) -> None:
    with stored(tmp_path, [pair for each in documents().values() for pair in each]) as store:
        for search, expected in SEARCHES.items():
            assert sorted(store.find_scans(search)["uid"]) == expected, search
        found = store.find_scans(
            nexus("/entry/sample/name").similar("Nikcel") & (nexus("/entry/definition") == "NXxas")
        )
        assert found["uid"] == ["own"]


SEARCHES: dict[str, list[str]] = {
    "/entry/sample/name = Nickel": ["own", "plain"],
    "/entry:NXentry/sample:NXsample/name = Nickel": ["own", "plain"],
    "/entry/sample/name = no": [],
    "/entry/sample/name != Nickel": ["other"],
    "/entry/instrument/monochromator/energy > 8": ["own", "plain"],
    "/entry/instrument/monochromator/energy = 1": [],
    "/entry/instrument/detector/gain = 20": ["own"],
    "/entry/definition = NXxas": ["own"],
    "/entry/flux exists or /entry/nothing exists": [],
}


def test_the_standard_table_is_of_fields() -> None:
    assert nexus_table().keys() == STANDARD.keys()
    assert nexus_table()["/entry/sample/name"] == Field("start", "sample.name")
    assert all(nexus_path(path) == path for path in STANDARD)


def test_files_and_programs_say_further_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a program stand over those of a file, and these over the standard ones."""
    names = tmp_path / "names.toml"
    names.write_text('"/entry/sample/name" = "start.specimen"\n"entry/t" = "data.temp@primary"\n')
    monkeypatch.setenv("BRAID_NEXUS_NAMES", str(names))
    register_nexus_name("/entry/t", "config.cryo.setpoint")
    table = nexus_table()
    assert table["/entry/sample/name"] == Field("start", "specimen")
    assert table["/entry/t"] == Field("config", "cryo.setpoint")
    assert read_nexus_names(names)["/entry/t"] == "data.temp@primary"
    assert table.keys() == {*STANDARD, "/entry/t"}
    with stored(tmp_path, documents()["own"]) as store:
        assert store.find_scans("/entry/sample/mass not exists")["uid"] == ["own"]


def test_projections_stand_over_the_table() -> None:
    document = documents()["own"][0][1]
    names = dict(PROJECTIONS[0]["projection"])
    # The only one that today's schema does not have.
    del names["entry/sample/name"]
    valid = {**document, "scan_id": 1, "projections": [{**PROJECTIONS[0], "projection": names}]}
    schema_validators[DocumentNames.start].validate(valid)
    found = nexus_names(document, {"/entry/sample/name": Field("start", "sample.name")})
    assert found == {
        "/entry/sample/name": NexusName("/entry/sample/name", Field("start", "specimen")),
        "/entry/instrument/monochromator/energy": NexusName(
            "/entry/instrument/monochromator/energy", Field("data", "mono_e", None, "primary")
        ),
        "/entry/instrument/detector/gain": NexusName("/entry/instrument/detector/gain", Field("config", "det.gain")),
        "/entry/definition": NexusName("/entry/definition", None, "NXxas"),
    }
    for odd in (None, 3, [None], [{"projection": 1}], [{"projection": {3: {}, "a": 3, "b": {"type": "linked"}}}]):
        assert nexus_names({"projections": odd}, {}) == {}


@pytest.mark.parametrize("field", ["tag.x", "x", "max(data.x)", "", 3, "start.", "kind", "start.a = 1 and b"])
def test_what_is_no_part_of_documents_is_refused(field: Any) -> None:
    with pytest.raises(InvalidInputError, match="cannot be called /entry/x"):
        register_nexus_name("/entry/x", field)


def test_mistakes_in_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file of NeXus names"):
        read_nexus_names(tmp_path / "none.toml")
    for text, message in (
        ("a b", "is no TOML"),
        ('"/entry/x" = 3', "cannot be called"),
        ('"/" = "start.a"', "no NeXus"),
    ):
        (tmp_path / "names.toml").write_text(text)
        with pytest.raises(InvalidInputError, match=message):
            read_nexus_names(tmp_path / "names.toml")
