"""Results: what tasks return, written whole, with a digest, and read back instead of being computed again.

Each name below is loaded on first use, and each kind of file imports its package when it is used first (extra
``results``).

Examples
--------
>>> from braid_hpc.results import LocalResult, Json
>>> target = LocalResult("staging", serializer=Json()).at("{cell}.json", {"cell": 3})
>>> written = target.write({"volume": 2.5})
>>> target.read(digest=written.digest)
{'volume': 2.5}
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from braid_hpc.results.arrays import Hdf5, Npy, Zarr
    from braid_hpc.results.dataset import Dataset, DatasetResult
    from braid_hpc.results.export import open_dataset
    from braid_hpc.results.images import OmeTiff, Png
    from braid_hpc.results.lazy import Lazy, loaded
    from braid_hpc.results.quilt import QuiltDatasetResult, export_package, open_package
    from braid_hpc.results.result import LocalResult, MemoryResult, RemoteResult, Result, S3Result, Target
    from braid_hpc.results.serializer import Serializer
    from braid_hpc.results.source import source
    from braid_hpc.results.storage import Storage
    from braid_hpc.results.tables import Parquet
    from braid_hpc.results.texts import Json, OfBytes, Raw, Text
    from braid_hpc.results.written import Found, Verify, Written

__all__ = [
    "Dataset",
    "DatasetResult",
    "Found",
    "Hdf5",
    "Json",
    "Lazy",
    "LocalResult",
    "MemoryResult",
    "Npy",
    "OfBytes",
    "OmeTiff",
    "Parquet",
    "Png",
    "QuiltDatasetResult",
    "Raw",
    "RemoteResult",
    "Result",
    "S3Result",
    "Serializer",
    "Storage",
    "Target",
    "Text",
    "Verify",
    "Written",
    "Zarr",
    "export_package",
    "loaded",
    "open_dataset",
    "open_package",
    "source",
]

_HOMES = {
    **dict.fromkeys(("Hdf5", "Npy", "Zarr"), "arrays"),
    **dict.fromkeys(("Dataset", "DatasetResult"), "dataset"),
    "open_dataset": "export",
    **dict.fromkeys(("QuiltDatasetResult", "export_package", "open_package"), "quilt"),
    **dict.fromkeys(("OmeTiff", "Png"), "images"),
    **dict.fromkeys(("Lazy", "loaded"), "lazy"),
    **dict.fromkeys(("LocalResult", "MemoryResult", "RemoteResult", "Result", "S3Result", "Target"), "result"),
    "Serializer": "serializer",
    "source": "source",
    "Storage": "storage",
    "Parquet": "tables",
    **dict.fromkeys(("Json", "OfBytes", "Raw", "Text"), "texts"),
    **dict.fromkeys(("Found", "Verify", "Written"), "written"),
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for.

    Raises
    ------
    AttributeError
        If there is no such name.
    """
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'braid_hpc.results' has no attribute {name!r}")
    value = getattr(import_module(f"braid_hpc.results.{home}"), name)
    globals()[name] = value
    return value
