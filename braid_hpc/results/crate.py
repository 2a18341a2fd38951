"""``ro-crate-metadata.json``: what RO-Crate 1.1 wants said of a folder with a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from braid_hpc.results.dataset import Dataset
    from braid_hpc.results.made import Made

__all__ = ["CRATE", "crate_of"]

CRATE = "ro-crate-metadata.json"

_PROFILE = "https://w3id.org/ro/crate/1.1"


def crate_of(
    dataset: Dataset, made: Made | None, *, published: str, license: str, beside: Mapping[str, int]
) -> dict[str, Any]:
    """Describe an exported dataset.

    Parameters
    ----------
    dataset : Dataset
        Its files are named by paths below the folder.
    made : Made, optional
        How it was made.
    published : str
        Date or time, ISO 8601.
    license : str
        Url, or a sentence that says that there is none.
    beside : mapping of str to int
        Sizes of the files beside those of the dataset: manifest and readme.

    Returns
    -------
    dict
        JSON-LD.
    """
    files = {file.uri: file for _, _, file in dataset.files()}
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": dataset.name,
        "description": dataset.readme.strip(),
        "datePublished": published,
        "identifier": dataset.version,
        "license": {"@id": license} if license.startswith("http") else license,
        "hasPart": [_ref(quote(path)) for path in (*beside, *files)],
    }
    graph: list[dict[str, Any]] = [
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": _ref(_PROFILE),
        },
        root,
    ]
    if license.startswith("http"):
        graph.append({"@id": license, "@type": "CreativeWork", "name": license})
    for path, size in beside.items():
        kind = "text/markdown" if path.endswith(".md") else "application/vnd.apache.parquet"
        graph.append(_file(path, size, kind))
    for path, file in files.items():
        graph.append(_file(path, file.size, file.media_type) | {"identifier": file.digest})
    if made is not None:
        graph += _actions(made)
        root["mentions"] = [_ref(f"#{run.run}") for run in made.runs]
    return {"@context": f"{_PROFILE}/context", "@graph": graph}


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _file(path: str, size: int, kind: str) -> dict[str, Any]:
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path.rpartition("/")[2],
        "contentSize": str(size),
        "encodingFormat": kind,
    }


def _actions(made: Made) -> list[dict[str, Any]]:
    """Describe the runs that made it: what was started, from which state of the sources, with which inputs."""
    found: list[dict[str, Any]] = []
    inputs = [{"@id": f"#input-{number}", "@type": "Thing", "name": name} for number, name in enumerate(made.sources)]
    for run in made.runs:
        code = f"#code-{run.run}"
        found += [
            {
                "@id": f"#{run.run}",
                "@type": "CreateAction",
                "name": run.command,
                "description": run.code,
                "instrument": _ref(code),
                "object": _refs(inputs),
                "result": _ref("./"),
                **({"endTime": run.end} if run.end else {}),
            },
            {
                "@id": code,
                "@type": "SoftwareApplication",
                "name": run.script or "program",
                "version": run.commit or "unknown",
                "softwareRequirements": [f"{name} {version}" for name, version in sorted(run.packages.items())],
            },
        ]
    return [*found, *inputs]


def _refs(entities: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [_ref(each["@id"]) for each in entities]
