"""Which version of a model was loaded: the digest of its weights, against that of the version that was named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.outputs import as_array
from braid_hpc.run.handles import record_of
from braid_hpc.vocabulary.arrays import array_bytes
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import Content, content_of_bytes, content_of_file
from braid_hpc.vocabulary.payloads import Tensor
from braid_hpc.vocabulary.references import parse_reference
from braid_hpc.vocabulary.regular import open_regular
from braid_hpc.vocabulary.states import content_of_state, flat_state

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["Loaded", "content_of_weights", "loaded_model"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was loaded.

    Attributes
    ----------
    link : Record or str
        What outputs descend from.
    verdict : str
        ``not looked at``: no weights were given, so the version is what the program said. ``checked``: they have the
        digest of that version. ``unchecked``: that digest is not known here; they are a version of their own, derived
        from the one that was named. ``mismatch``: they have another digest; they are a version of their own, which
        descends from nothing.
    digest : str
        Of the weights.
    note : str
        Both digests, of a mismatch.
    """

    link: Any
    verdict: str = "not looked at"
    digest: str = ""
    note: str = ""


def loaded_model(run: Run, model: Any, *, weights: Any = None, digest: str | None = None) -> Loaded:
    """Compare what was loaded with what was named.

    Parameters
    ----------
    run : Run
        Where a version of its own is declared, if it is one.
    model : Record or str
        The version that was named.
    weights : mapping, bytes, or path, optional
        What was loaded.
    digest : str, optional
        Of the version that was named; that of a version that this run declared is known without it.

    Returns
    -------
    Loaded
        What outputs descend from.

    Raises
    ------
    InvalidInputError
        If `model` is no record, or `weights` none of these.
    OSError
        If the file cannot be read.
    """
    record = record_of(model)
    if record is None and not isinstance(model, str):
        raise InvalidInputError(f"model= is a record or a reference, not a {type(model).__name__}")
    kind, name = ("model", model) if record is None else (record.kind or "model", record.name or "model")
    if record is None:
        reference = parse_reference(model)
        kind, name = reference.kind or "model", reference.name or "model"
    if weights is None or not run:
        return Loaded(model)
    content = content_of_weights(weights)
    known = digest or (run.digest_of(record) if record is not None else None)
    if known == content.digest:
        return Loaded(model, "checked", content.digest)
    about: dict[str, Any] = {"digest": content.digest, "size": content.size}
    if known is None:
        own = run.record(kind, name, derived_from=model, tags={"weights": "unchecked"}, **about)
        return Loaded(own, "unchecked", content.digest)
    own = run.record(kind, name, tags={"weights": "mismatch", "weights_of": known}, **about)
    run.statement(
        "the weights are those of the version that was named",
        about=own,
        value={"loaded": content.digest, "named": known},
        passed=False,
    )
    return Loaded(own, "mismatch", content.digest, f"loaded {content.digest}, named {known}")


def content_of_weights(weights: Any) -> Content:
    """Return digest and size of weights, as ``run.model(state=weights)`` gives them.

    Parameters
    ----------
    weights : mapping of str to array, bytes-like, or path
        What was loaded.

    Returns
    -------
    Content
        Nothing of it is stored.

    Raises
    ------
    InvalidInputError
        If it is none of these.
    OSError
        If the file cannot be read.
    """
    if isinstance(weights, Mapping):
        tensors = []
        for name, value in flat_state(weights).items():
            laid = array_bytes(as_array(value))
            content = laid.content()
            tensors.append(Tensor(name, content.digest, laid.dtype, laid.shape, content.size or 0))
        return content_of_state(tensors)
    if isinstance(weights, (str, os.PathLike)):
        with open_regular(Path(weights)) as file:
            return content_of_file(file)
    if isinstance(weights, (bytes, bytearray, memoryview)):
        return content_of_bytes(bytes(weights))
    raise InvalidInputError(f"weights= is a mapping of arrays, bytes, or a path, not a {type(weights).__name__}")
