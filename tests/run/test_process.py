"""What a process says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from braid_hpc.run.process import describe_process, git_commit, imported_packages, mpi_library, world_size
from tests.ranks import RunRanks

ONE, TWO = "1" * 40, "2" * 40


def repository(root: Path, head: str = "ref: refs/heads/main\n") -> Path:
    """Make what git would make, as far as it is read."""
    (root / ".git" / "refs" / "heads").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text(head)
    return root / ".git"


def test_a_loose_branch(tmp_path: Path) -> None:
    """Also from a folder far below, and before what packed-refs says of an earlier time."""
    git = repository(tmp_path)
    (git / "refs/heads/main").write_text(f"{ONE}\n")
    (git / "packed-refs").write_text(f"{TWO} refs/heads/main\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert git_commit(tmp_path) == git_commit(tmp_path / "a" / "b") == ONE


def test_a_packed_branch(tmp_path: Path) -> None:
    """As after `git gc`, with comments and peeled tags; another branch whose name ends alike is another one."""
    git = repository(tmp_path)
    packed = f"# pack-refs with: peeled\n{TWO} refs/heads/not/refs/heads/main2\n{ONE} refs/heads/main\n^{TWO}\n"
    (git / "packed-refs").write_text(packed)
    assert git_commit(tmp_path) == ONE


def test_a_detached_head(tmp_path: Path) -> None:
    """The commit itself stands there."""
    repository(tmp_path, f"{ONE}\n")
    assert git_commit(tmp_path) == ONE


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree(tmp_path: Path, relative: bool, packed: bool) -> None:
    """Its own HEAD, with branches that lie in the main repository."""
    git = repository(tmp_path / "main")
    own = git / "worktrees" / "other"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/topic\n")
    (own / "commondir").write_text("../..\n")
    (git / "refs/heads/main").write_text(f"{TWO}\n")
    if packed:
        (git / "packed-refs").write_text(f"{ONE} refs/heads/topic\n")
    else:
        (git / "refs/heads/topic").write_text(f"{ONE}\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".git").write_text(f"gitdir: {'../main/.git/worktrees/other' if relative else own}\n")
    assert git_commit(tmp_path / "other") == ONE


def test_no_commit(tmp_path: Path) -> None:
    """Outside a repository, before the first commit, and where nothing can be made of the files."""
    assert git_commit(Path("/proc")) is None
    git = repository(tmp_path)
    assert git_commit(tmp_path) is None
    (git / "HEAD").write_bytes(b"\xff\xfe\x00")
    assert git_commit(tmp_path) is None
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / ".git").write_bytes(b"\xff\xfe")
    assert git_commit(tmp_path / "file") is None


def test_it_is_what_git_says(tmp_path: Path) -> None:
    """With the real one, where it is installed: a branch, packed, in a worktree, detached."""
    if subprocess.run(["which", "git"], capture_output=True, check=False).returncode:
        pytest.skip("git is not installed")

    def git(*words: str, cwd: Path = tmp_path) -> str:
        quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": str(tmp_path)}
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *who, *words], cwd=cwd, env=os.environ | quiet, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "one")
    assert git_commit(tmp_path) == git("rev-parse", "HEAD")
    git("worktree", "add", str(tmp_path / "tree"), "-b", "topic")
    git("commit", "--allow-empty", "-m", "two", cwd=tmp_path / "tree")
    git("pack-refs", "--all")
    for place in (tmp_path, tmp_path / "tree"):
        assert git_commit(place) == git("rev-parse", "HEAD", cwd=place)
    git("checkout", "--detach", "topic")
    assert git_commit(tmp_path) == git("rev-parse", "topic")


def test_a_script_is_described(run_ranks: RunRanks, tmp_path: Path) -> None:
    """Its path and digest, the whole command line, where and by whom it was started."""
    script = tmp_path / "work.py"
    script.write_text(
        "import json\nfrom braid_hpc.run.process import describe_process\nprint(json.dumps(describe_process()))\n"
    )
    import json

    from braid_hpc.vocabulary.identity import content_of_bytes

    facts = json.loads(run_ranks(0, script, "--steps", 3, cwd=tmp_path).stdout)
    assert facts["script"] == str(script)
    assert facts["script_digest"] == content_of_bytes(script.read_bytes()).digest
    assert facts["argv"][-3:] == [str(script), "--steps", "3"]
    assert (facts["cwd"], facts["executable"]) == (str(tmp_path), sys.executable)
    assert facts["python"] == sys.version.split()[0]
    assert facts["user"]


def test_a_process_in_a_folder_that_is_gone_is_described(run_ranks: RunRanks, tmp_path: Path) -> None:
    """And can record: an absolute log directory is all it needs."""
    script = """
    import os, braid_hpc as braid
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    with braid.job("gone") as run:
        assert run.fact("a", 1)
    """
    run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")})


def test_this_process_is_described() -> None:
    """Also where there is no script."""
    facts = describe_process()
    assert facts["cwd"] == os.getcwd()
    assert facts["argv"][0] == sys.orig_argv[0]


def test_packages_are_those_imported(run_ranks: RunRanks, tmp_path: Path) -> None:
    """With their versions; none of the standard library, none twice, and none that raises when it is asked."""
    import msgspec
    import numpy

    packages = imported_packages()
    assert packages["numpy"] == numpy.__version__
    assert packages["msgspec"] == msgspec.__version__
    assert not set(packages) & set(sys.stdlib_module_names)
    script = """
    import sys, types
    class Odd(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError(name)
    sys.modules["odd"] = Odd("odd")
    sys.modules["none"] = None
    sys.modules["number"] = 5
    from braid_hpc.run.process import imported_packages
    print(sorted(imported_packages().keys() & {"odd", "none", "number"}))
    """
    assert run_ranks(0, script).stdout == "[]\n"


@pytest.mark.mpi_matrix
def test_mpi_is_asked_only_where_the_program_imported_it(run_ranks: RunRanks) -> None:
    """Rank, size and library of a program that did; nothing, and no import, of one that did not."""
    script = """
    import sys
    from braid_hpc.run.process import mpi_library, world_size
    assert (world_size(), mpi_library()) == (None, None)
    assert not any(name.startswith("mpi4py") for name in sys.modules)
    from mpi4py import MPI
    assert world_size() == (MPI.COMM_WORLD.rank, 2)
    assert "MPI" in mpi_library() and "\\n" not in mpi_library()
    MPI.Finalize()
    assert world_size() is None
    """
    run_ranks(2, script)


def test_no_mpi_here() -> None:
    """A program without it says nothing of it."""
    if "mpi4py.MPI" not in sys.modules:
        assert world_size() is None
        assert mpi_library() is None
