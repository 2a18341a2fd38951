"""``braid campaign copies``, ``archive`` and ``restore``: what they say, and what they do."""

from __future__ import annotations

from pathlib import Path

from braid_hpc.campaigns.archiving import Decision
from tests.campaigns.archive import NAMES, Archive
from tests.cli.conftest import Braid


def test_the_command_line_moves_files(cli: Braid, tmp_path: Path) -> None:
    """What is to be done, counted and listed; then it is done, and the exit code says whether all of it was."""
    archive = Archive(tmp_path)
    store = ("--store", archive.path)
    assert "it is not on tape" in cli("campaign", "copies", "src", *store).stdout
    listed = cli("campaign", "copies", "src", "--decision", "archive", "--where", "s__lt=3", "--format", "csv", *store)
    assert len(listed.stdout.splitlines()) == 1 + 3
    command = " ".join(archive.put)
    done = cli("campaign", "archive", "src", "--command", command, "--root", archive.disk, "--where", "s=0", *store)
    assert done.exit_code == 0, done.stderr
    assert "archived" in done.stdout
    done = cli("campaign", "archive", "src", "--command", command, "--root", archive.disk, "--format", "json", *store)
    assert done.exit_code == 1
    assert "the drive is busy" in done.stderr
    (archive.disk / NAMES[0]).unlink()
    assert cli("campaign", "verify", "src", "--root", archive.disk, "--where", "s=0", *store).exit_code == 0
    done = cli("campaign", "restore", "src", "--command", archive.get, "--root", archive.disk, *store)
    assert (done.exit_code, (archive.disk / NAMES[0]).read_bytes()) == (0, b"\0")
    assert (
        "there is nothing to restore"
        in cli("campaign", "restore", "src", "--command", archive.get, "--root", archive.disk, *store).stderr
    )
    wrong = cli("campaign", "copies", "src", "--decision", "burn", *store)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert f"'burn' is no decision: there are {', '.join(Decision)}" in wrong.stderr
