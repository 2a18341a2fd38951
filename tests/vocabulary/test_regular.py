"""Only a regular file is opened, whatever the path names by then, and nobody waits for another one."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from braid_hpc.vocabulary.regular import NOT_REGULAR, open_regular


def test_a_regular_file_is_opened_and_others_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"here"
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=NOT_REGULAR):
            open_regular(path)


def test_what_becomes_a_fifo_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a file when it was looked at; to open it does not wait for a writer."""
    (tmp_path / "file").write_bytes(b"here")
    about = os.stat(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("braid_hpc.vocabulary.regular.os", SimpleNamespace(**{**vars(os), "stat": lambda _: about}))
    with pytest.raises(OSError, match=NOT_REGULAR):
        open_regular(tmp_path / "fifo")
