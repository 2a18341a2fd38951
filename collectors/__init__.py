"""Adapters that turn something real into events of the vocabulary.

Imported as ``braid_hpc.collectors``. A collector uses only the public interface of a run; what it needs to be one
stands in :mod:`braid_hpc.collectors.protocol`, and what most are made on in :mod:`braid_hpc.collectors.losses`.
``braid_hpc.collectors.<name>`` is imported when it is first asked for, and with it nothing heavy: the library that a
collector is for is imported by its first use.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["modules"]

#: The modules that are loaded as attributes, so that ``braid.collectors.fpga`` needs no import of its own.
modules = (
    *("documents", "losses", "mpi", "protocol", "registry", "testing"),
    *("aside", "decisions", "firmware", "fpga", "frames", "hls", "sequence", "sources"),
    *("attempts", "files"),
    *("environment", "machine", "repository"),
    *("forms", "inference", "models", "outputs", "weights"),
)


def __getattr__(name: str) -> ModuleType:
    """Import a module of this package when it is first asked for.

    Raises
    ------
    AttributeError
        If there is no such module.
    """
    if name not in modules:
        raise AttributeError(f"module 'braid_hpc.collectors' has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"braid_hpc.collectors.{name}")


def __dir__() -> list[str]:
    """Return all modules, also those that are not imported yet."""
    return sorted([*__all__, *modules])
