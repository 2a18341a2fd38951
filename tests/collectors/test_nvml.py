"""GPUs that NVML tells, from a library with its functions that is compiled here: no machine of the tests has one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import braid_hpc as braid

#: By the declarations of nvml.h; device 1 has fallen off the bus, which is error 15.
LIBRARY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { unsigned long long total, free, used; } Memory;
static int begun, devices[] = {10, 11, 12};
static int copied(const char *text, char *to, unsigned room)
{
    return strlen(text) < room ? (strcpy(to, text), 0) : 7;
}
int nvmlInit_v2(void) { begun++; return getenv("NO_DRIVER") ? 9 : 0; }
int nvmlShutdown(void) { if (getenv("SAY")) fprintf(stderr, "shut down %d\n", begun); return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned room) { return begun ? copied("570.86.15", to, room) : 1; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return begun ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    *device = &devices[index];
    return index == 1 ? 15 : 0;
}
int nvmlDeviceGetName(void *device, char *to, unsigned room)
{
    return copied(*(int *)device == 10 ? "NVIDIA A100-SXM4-40GB" : "NVIDIA H100", to, room);
}
int nvmlDeviceGetUUID(void *device, char *to, unsigned room)
{
    return *(int *)device == 10 ? copied("GPU-6f1a", to, room) : 3;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory)
{
    memory->total = 42949672960ULL;
    return 0;
}
"""

ASKED = """
import json
from braid_hpc.collectors.machine import gpus
print(json.dumps(gpus()))
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="a library is compiled")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "nvml.c").write_text(LIBRARY)
    command = ["gcc", "-shared", "-fPIC", "-o", str(tmp_path / "libnvidia-ml.so.1"), str(tmp_path / "nvml.c")]
    subprocess.run(command, check=True, timeout=60)
    return tmp_path


def asked(library: Path, program: str = ASKED, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), "SAY": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )


def test_each_device_is_told_as_far_as_it_answers(library: Path) -> None:
    done = asked(library)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    driver = {"driver": "570.86.15"}
    assert found == [
        {"index": 0, "name": "NVIDIA A100-SXM4-40GB", "uuid": "GPU-6f1a", "memory_bytes": 40 << 30, **driver},
        {"index": 1, **driver},
        {"index": 2, "name": "NVIDIA H100", "memory_bytes": 40 << 30, **driver},
    ]
    assert done.stderr == "shut down 1\n"


def test_without_a_driver_the_next_source_is_asked(library: Path) -> None:
    """Also where a library of that name is something else; a machine of the tests has no such driver in ``/proc``."""
    assert json.loads(asked(library, NO_DRIVER="1").stdout) == []
    (library / "nvml.c").write_text("int nvmlInit_v2(void) { return 0; } int nvmlShutdown(void) { return 0; }")
    command = ["gcc", "-shared", "-fPIC", "-o", str(library / "libnvidia-ml.so.1"), str(library / "nvml.c")]
    subprocess.run(command, check=True, timeout=60)
    assert json.loads(asked(library).stdout) == []
    (library / "libnvidia-ml.so.1").write_text("no library")
    assert json.loads(asked(library).stdout) == []


RECORDED = """
import braid_hpc as braid
from braid_hpc.collectors.environment import EnvironmentCollector
with braid.job("gpus", log_dir="logs") as run, EnvironmentCollector(run) as collector:
    collector.look(thorough=False)
    assert not collector.losses, collector.losses.counts
"""


def test_a_run_records_them(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library)
    asked(library, RECORDED)
    braid.compact("logs", "prov.duckdb")
    with braid.open("prov.duckdb") as store:
        (value,) = store.sql("select value from versions where name = 'environment/gpus'")["value"]
        assert [each.get("name") for each in json.loads(value)] == ["NVIDIA A100-SXM4-40GB", None, "NVIDIA H100"]
