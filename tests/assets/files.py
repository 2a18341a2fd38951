"""Files as detectors write them, and documents that refer to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from tests.collectors.documents.instrument import Pair, descriptor, event, key, start, stop, uid

DATA = "/entry/data/data"


def images(count: int, shape: tuple[int, ...] = (3, 4), dtype: str = "uint16") -> Any:
    """Give frames that are all different."""
    size = count * int(np.prod(shape, dtype=int))
    return (np.arange(size) * 7 % 60_000).reshape(count, *shape).astype(dtype)


def write_hdf5(path: Path, frames: Any, dataset: str = DATA, **options: Any) -> Path:
    with h5py.File(path, "w", libver=options.pop("libver", None)) as file:
        file.create_dataset(dataset, data=frames, **options)
    return path


def write_tiffs(folder: Path, frames: Any, name: str = "shot", template: str = "%s_%06d.tif") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for number, frame in enumerate(frames):
        tifffile.imwrite(folder / (template % (name, number)), frame)
    return folder


def write_npys(stem: Path, frames: Any) -> Path:
    for number, frame in enumerate(frames):
        np.save(f"{stem}_{number}.npy", frame)
    return stem


def with_datums(
    spec: str, path: Path, kwargs: dict[str, Any], datums: list[dict[str, Any]], shape: Any, **members: Any
) -> list[Pair]:
    """Give a run whose events name datums of one resource."""
    first = start()
    of = descriptor(first, {"img": key("array", shape, external="FILESTORE:"), "n": key("integer")})
    resource: dict[str, Any] = {
        "uid": uid("res"),
        "spec": spec,
        "root": str(path.parent),
        "resource_path": path.name,
        "resource_kwargs": kwargs,
        "path_semantics": "posix",
        "run_start": first[1]["uid"],
        **members,
    }
    documents: list[Pair] = [first, of, ("resource", resource)]
    for number, each in enumerate(datums, 1):
        name = f"{resource['uid']}/{number}"
        documents.append(("datum", {"datum_id": name, "resource": resource["uid"], "datum_kwargs": each}))
        documents.append(event(of, number, {"img": name, "n": number}, filled={"img": False}))
    return [*documents, stop(first, {"primary": len(datums)})]


def with_stream(
    mimetype: str,
    uri: str,
    parameters: dict[str, Any],
    shape: Any,
    parts: list[tuple[int, int]],
    *,
    events: bool = True,
    **members: Any,
) -> list[Pair]:
    """Give a run whose events lie in one stream resource; each part is the indices of a stream datum."""
    first = start()
    of = descriptor(first, {"img": key("array", shape, external="STREAM:", **members), "n": key("integer")})
    resource = {
        "uid": uid("sres"),
        "data_key": "img",
        "mimetype": mimetype,
        "uri": uri,
        "parameters": parameters,
        "run_start": first[1]["uid"],
    }
    documents: list[Pair] = [first, of, ("stream_resource", resource)]
    count = 0
    for number, (begin, end) in enumerate(parts):
        seq_nums = {"start": count + 1, "stop": count + 1 + end - begin}
        about = {"uid": f"{resource['uid']}/{number}", "stream_resource": resource["uid"], "descriptor": of[1]["uid"]}
        documents.append(("stream_datum", {**about, "indices": {"start": begin, "stop": end}, "seq_nums": seq_nums}))
        if events:
            documents += [event(of, count + n + 1, {"n": count + n + 1}) for n in range(end - begin)]
        count += end - begin
    return [*documents, stop(first, {"primary": count})]


def uri_of(path: Path) -> str:
    return f"file://localhost{path}"


def events_of(documents: Any) -> list[dict[str, Any]]:
    return [document for name, document in documents if name == "event"]
