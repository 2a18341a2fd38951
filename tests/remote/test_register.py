"""Which calls are made of the client, and what is remembered. That the service takes them is not tested here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braid_hpc.cli import globus as command
from braid_hpc.cli.app import braid
from braid_hpc.remote.functions import FUNCTIONS
from braid_hpc.remote.register import configure, default_file, register
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError

ENDPOINT = "834dd614-adc1-4ed1-a620-d67c4e90a165"


class Recorder:
    """Stands for the client, whose calls go to a service: it keeps them, and fails at the one that it is told to."""

    def __init__(self, *, status: Any = "online", fail_at: int | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._status, self._fail_at = status, fail_at

    def get_endpoint_status(self, endpoint_uuid: Any) -> Any:
        self.calls.append(("status", endpoint_uuid))
        return self._status and {"status": self._status}

    def register_function(self, function: Any, *, description: Any, public: bool) -> str:
        if len(self.calls) == self._fail_at:
            raise ConnectionError("gone")
        self.calls.append((function.__name__, public))
        return f"id-{len(self.calls)}"


def test_the_functions_are_registered_once(tmp_path: Path) -> None:
    """Again only those that have changed, or all if one says so."""
    file, client = tmp_path / "new" / "globus.json", Recorder()
    ids = register(client, file)
    assert client.calls == [(name, False) for name in FUNCTIONS]
    assert list(ids) == list(FUNCTIONS)
    assert len(set(ids.values())) == 5
    assert register(client, file) == ids
    assert len(client.calls) == 5
    settings = json.loads(file.read_text())
    settings["functions"]["add_records"]["digest"] = "other"
    file.write_text(json.dumps(settings))
    changed = register(client, file, public=True)
    assert client.calls[5:] == [("add_records", True)]
    assert {name for name in ids if ids[name] != changed[name]} == {"add_records"}
    register(client, file, again=True)
    assert len(client.calls) == 11


def test_what_was_registered_before_a_failure_is_remembered(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        register(Recorder(fail_at=3), tmp_path / "globus.json")
    client = Recorder()
    register(client, tmp_path / "globus.json")
    assert [name for name, _ in client.calls] == list(FUNCTIONS)[3:]


def test_an_endpoint_is_asked_for_and_remembered(tmp_path: Path) -> None:
    file, client = tmp_path / "globus.json", Recorder()
    register(client, file)
    assert configure(client, file, endpoint=ENDPOINT.upper())["endpoint"] == ENDPOINT
    assert client.calls[-1] == ("status", ENDPOINT)
    assert set(json.loads(file.read_text())) == {"endpoint", "functions"}
    before = file.read_text()
    with pytest.raises(NotFoundError, match="knows no endpoint"):
        configure(Recorder(status=None), file, endpoint=ENDPOINT)
    with pytest.raises(InvalidInputError, match="not the id of an endpoint"):
        configure(client, file, endpoint="mine")
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["[]", "{", '{"functions": []}'])
def test_another_file_is_not_written_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "globus.json").write_text(text)
    client = Recorder()
    with pytest.raises(StorageError):
        register(client, tmp_path / "globus.json")
    assert client.calls == []
    assert (tmp_path / "globus.json").read_text() == text


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(command, "_client", Recorder)
    call = CliRunner().invoke
    done = call(braid, ["globus", "register", "--format", "json"])
    assert [row["function"] for row in json.loads(done.stdout)] == list(FUNCTIONS)
    assert call(braid, ["globus", "configure", ENDPOINT]).exit_code == 0
    assert call(braid, ["globus", "configure", "mine"]).exit_code == 2
    assert json.loads(default_file().read_text())["endpoint"] == ENDPOINT
