"""Making an endpoint known, and the functions known to Globus Compute; the client is given.

What was registered stands in a JSON file, by which flows are written, and by which nothing is registered twice.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import uuid
from pathlib import Path
from typing import Any, Protocol

from braid_hpc.remote.functions import FUNCTIONS
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError

__all__ = ["Client", "configure", "default_file", "register"]


class Client(Protocol):
    """What is used of :class:`globus_compute_sdk.Client`."""

    def get_endpoint_status(self, endpoint_uuid: Any) -> Any:
        """Ask about an endpoint."""

    def register_function(self, function: Any, *, description: Any, public: bool) -> str:
        """Register a function; return its id."""


def default_file() -> Path:
    """Return where settings stand if no file is named.

    Returns
    -------
    Path
        ``braid/globus.json`` below the user's directory of settings.
    """
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "braid" / "globus.json"


def configure(client: Client, file: Path, *, endpoint: str) -> dict[str, Any]:
    """Remember which endpoint runs the functions, after asking whether there is one.

    Parameters
    ----------
    client : Client
        Of the user who may use it.
    file : Path
        The settings.
    endpoint : str
        Its id.

    Returns
    -------
    dict
        The settings.

    Raises
    ------
    InvalidInputError
        If `endpoint` is no id.
    NotFoundError
        If the service knows nothing of it.
    StorageError
        If the file cannot be written, or is something else.
    """
    try:
        known = str(uuid.UUID(endpoint))
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError(f"{endpoint!r} is not the id of an endpoint, a UUID") from None
    settings = _read(file)
    if not client.get_endpoint_status(known):
        raise NotFoundError(f"Globus Compute knows no endpoint {known}")
    settings["endpoint"] = known
    _write(file, settings)
    return settings


def register(client: Client, file: Path, *, again: bool = False, public: bool = False) -> dict[str, str]:
    """Register those functions that are new or have changed.

    Parameters
    ----------
    client : Client
        Of the user whom they belong to.
    file : Path
        The settings; written after each function, so that nothing registered is forgotten.
    again : bool
        Whether also those that have not changed.
    public : bool
        Whether everybody may run them.

    Returns
    -------
    dict of str to str
        Id by name, of all functions.

    Raises
    ------
    StorageError
        If the file cannot be written, or is something else.
    """
    settings = _read(file)
    known = settings.setdefault("functions", {})
    for name, function in FUNCTIONS.items():
        digest = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
        if again or known.get(name, {}).get("digest") != digest:
            description = f"braid_hpc {name}: {(function.__doc__ or '').partition(';')[0]}"
            made = client.register_function(function, description=description, public=public)
            known[name] = {"id": str(made), "digest": digest}
            _write(file, settings)
    return {name: known[name]["id"] for name in FUNCTIONS}


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{file} cannot be read: {error}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("functions", {}), dict):
        raise StorageError(f"{file} is not what braid globus has written")
    return settings


def _write(file: Path, settings: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        aside.write_text(json.dumps(settings, indent=1) + "\n")
        aside.rename(file)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror}") from error
