"""A device as ophyd-async has them, without its control system: it writes files and says so in stream documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from bluesky.protocols import Readable, WritesStreamAssets

__all__ = ["Streaming"]

#: Key to shape of an event's value, dtype, and rows that come with it.
KEYS: dict[str, tuple[tuple[int, ...], str]] = {
    "sum": ((1,), "float64"),
    "frames": ((2, 5, 4), "uint16"),
    "tiffs": ((3, 4), "uint8"),
}


class Streaming(Readable[Any], WritesStreamAssets):  # type: ignore[misc]
    """Writes three data keys, one value for each event."""

    parent = None

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder, self._count = name, folder, 0
        self._random = np.random.default_rng(3)
        self.written: dict[str, list[Any]] = {f"{name}-{key}": [] for key in KEYS}
        folder.mkdir(parents=True)

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> dict[str, Any]:
        return {
            f"{self._name}-{key}": {
                "source": "sim",
                "dtype": "array" if len(shape) > 1 else "number",
                "dtype_numpy": np.dtype(dtype).str,
                "shape": list(shape),
                "external": "STREAM:",
            }
            for key, (shape, dtype) in KEYS.items()
        }

    def read(self) -> dict[str, Any]:
        return {}

    def get_index(self) -> int:
        return self._count

    def collect_asset_docs(self, index: int | None = None) -> Iterator[Any]:
        for key, (shape, dtype) in KEYS.items():
            full = f"{self._name}-{key}"
            value = self._random.integers(0, 200, shape).astype(dtype)
            self.written[full].append(value)
            if key == "tiffs":
                mimetype, uri = "multipart/related;type=image/tiff", f"file://localhost/{self._folder}/"
                parameters: dict[str, Any] = {
                    "template": "{:05d}.tif",
                    "chunk_shape": (1, *shape),
                    "join_method": "stack",
                }
                tifffile.imwrite(self._folder / f"{self._count:05}.tif", value)
            else:
                mimetype, uri = "application/x-hdf5", f"file://localhost/{self._folder}/{key}.h5"
                parameters = {"dataset": f"/{key}/VALUE", "chunk_shape": (100, *shape[1:])}
                with h5py.File(self._folder / f"{key}.h5", "a") as file:
                    size = (self._count + 1) * shape[0]
                    rows = (
                        file.require_dataset(
                            f"/{key}/VALUE", shape, dtype, maxshape=(None, *shape[1:]), chunks=(100, *shape[1:])
                        )
                        if not self._count
                        else file[f"/{key}/VALUE"]
                    )
                    rows.resize(size, 0)
                    rows[size - shape[0] :] = value
            uid = f"{full}-{self._folder}"
            if not self._count:
                about = {"uid": uid, "data_key": full, "mimetype": mimetype, "uri": uri, "parameters": parameters}
                yield "stream_resource", about
            yield (
                "stream_datum",
                {
                    "uid": f"{uid}/{self._count}",
                    "stream_resource": uid,
                    "descriptor": "",
                    "indices": {"start": self._count, "stop": self._count + 1},
                    # The RunEngine fills them in.
                    "seq_nums": {"start": 0, "stop": 0},
                },
            )
        self._count += 1
