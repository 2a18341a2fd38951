"""What trials share: the library that ends processes at a call of ours to choose."""

from pathlib import Path

import pytest

from tests.faults.interrupt import interrupt_library


@pytest.fixture(scope="session")
def interrupt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the compiled library for LD_PRELOAD."""
    return interrupt_library(tmp_path_factory.mktemp("interrupt"))
