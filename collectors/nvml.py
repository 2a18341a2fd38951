"""The GPUs of a machine, asked of NVML: the library that comes with NVIDIA's driver. No package is needed for it."""

from __future__ import annotations

import ctypes
from typing import Any

__all__ = ["LIBRARY", "nvml_gpus"]

#: As the driver installs it.
LIBRARY = "libnvidia-ml.so.1"

_SUCCESS = 0
#: Bytes of the longest name, and more.
_ROOM = 256
#: More devices than any machine has: a count beyond is not believed.
_MOST = 1024


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def nvml_gpus() -> list[dict[str, Any]] | None:
    """Return the GPUs that NVML knows.

    Returns
    -------
    list of dict or None
        ``name``, ``uuid``, ``memory_bytes`` and ``driver`` of each, in NVML's order; what it does not answer is left
        out. None if there is no NVML, or it cannot be used here.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
        begin, end = library.nvmlInit_v2, library.nvmlShutdown
    except (OSError, AttributeError):
        return None
    if begin() != _SUCCESS:
        return None
    try:
        return _listed(library)
    except AttributeError:
        # A library of that name that has none of its functions.
        return None
    finally:
        end()


def _listed(library: Any) -> list[dict[str, Any]] | None:
    count = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _SUCCESS:
        return None
    driver = _text(library.nvmlSystemGetDriverVersion)
    found: list[dict[str, Any]] = []
    for index in range(min(count.value, _MOST)):
        device = ctypes.c_void_p()
        about: dict[str, Any] = {"name": None, "uuid": None, "memory_bytes": None}
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)) == _SUCCESS:
            memory = _Memory()
            if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == _SUCCESS:
                about["memory_bytes"] = memory.total
            about["name"] = _text(library.nvmlDeviceGetName, device)
            about["uuid"] = _text(library.nvmlDeviceGetUUID, device)
        told = {key: value for key, value in {**about, "driver": driver}.items() if value is not None}
        # One that has fallen off the bus is still one of the machine.
        found.append({"index": index, **told})
    return found


def _text(function: Any, *of: Any) -> str | None:
    room = ctypes.create_string_buffer(_ROOM)
    if function(*of, room, ctypes.c_uint(_ROOM)) != _SUCCESS:
        return None
    return room.value.decode("utf-8", "replace")
