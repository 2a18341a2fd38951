"""`braid run`: a program that was not written for it, and launchers whose ranks belong together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs import count, made, rows

Program = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = """
import sys
import braid_hpc as braid
assert __name__ == "__main__"
braid.current_run().data("seen", tags={"args": " ".join(sys.argv[1:])})
if "fail" in sys.argv:
    raise ValueError("on purpose")
if "exit" in sys.argv:
    sys.exit(7)
print("done", sys.argv[0])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "fit.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_recorded_without_an_edit(program: Program, script: Path, tmp_path: Path) -> None:
    """With its arguments, under the script's name, and its output is its own."""
    done = program("run", "--log-dir", tmp_path / "logs", "--store", tmp_path / "s.duckdb", script, "--flag", "a b")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"done {script}\n", "")
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as opened:
        assert rows(opened, "select job, status, ranks from runs") == [("fit", "ok", 1)]
        assert rows(opened, "select text from tags") == [("--flag a b",)]
        assert rows(opened, "select script from runs") == [(str(script),)]


@pytest.mark.parametrize(("word", "code", "status"), [("fail", 1, "failed"), ("exit", 7, "exited")])
def test_a_script_ends_as_it_would(
    program: Program, script: Path, tmp_path: Path, word: str, code: int, status: str
) -> None:
    """Its exception is printed and its exit code kept, and the run says how it ended."""
    done = program("run", f"--log-dir={tmp_path / 'logs'}", "--name", "mine", script, word)
    assert done.returncode == code
    assert ("ValueError: on purpose" in done.stderr) == (word == "fail")
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as opened:
        assert rows(opened, "select job, status from runs") == [("mine", status)]


def test_a_module_is_recorded(program: Program, script: Path, tmp_path: Path) -> None:
    """Found in the working directory, as `python -m` does."""
    done = program("run", "--log-dir", tmp_path / "logs", "-m", "fit", "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as opened:
        assert rows(opened, "select text from tags") == [("x",)]


def test_a_module_knows_its_package(program: Program, tmp_path: Path) -> None:
    """So that it may import what lies beside it."""
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").write_text("")
    (tmp_path / "kit" / "beside.py").write_text("value = 4\n")
    (tmp_path / "kit" / "fit.py").write_text("from .beside import value\nprint(value, __spec__.name)\n")
    done = program("run", "--log-dir", tmp_path / "logs", "-m", "kit.fit", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 kit.fit\n", "")


FAILING = """
def inner(value):
    try:
        return 1 / value
    except ZeroDivisionError as error:
        raise ValueError("no") from error

def outer():
    inner(0)

outer()
"""


@pytest.mark.parametrize(
    "text",
    [FAILING, "def f(:\n", "x = 1\nraise KeyboardInterrupt\n", "import sys\nsys.exit('told')\n"],
    ids=["exception", "syntax", "interrupt", "exit"],
)
def test_what_python_prints_is_printed(program: Program, tmp_path: Path, text: str) -> None:
    """The traceback is the script's, without a frame of ours, and the exit code is the one it has anyway."""
    path = tmp_path / "fit.py"
    path.write_text(text)
    own = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    done = program("run", "--log-dir", tmp_path / "logs", path)
    assert own.returncode != 0
    assert (done.returncode, done.stdout, done.stderr) == (own.returncode, own.stdout, own.stderr)


def test_a_hook_of_the_program_is_called(program: Program, tmp_path: Path) -> None:
    """With the exception, and the traceback that begins in the script."""
    path = tmp_path / "fit.py"
    path.write_text(
        "import sys\nsys.excepthook = lambda *a: print(a[0].__name__, a[2].tb_frame.f_code.co_name)\n1 / 0\n"
    )
    done = program("run", "--log-dir", tmp_path / "logs", path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "ZeroDivisionError <module>\n", "")


THREADS = """
import atexit, threading, time
import braid_hpc as braid

go = threading.Event()

def late():
    go.wait()
    braid.current_run().data("from-a-thread", digest="x:1")

threading.Thread(target=late).start()
# Called when the interpreter waits for threads: the script is over, and this one is not.
threading._register_atexit(go.set)
atexit.register(lambda: braid.current_run().data("at-exit", digest="x:2"))
"""


def test_threads_and_functions_at_exit_belong_to_the_run(program: Program, tmp_path: Path) -> None:
    """What the script leaves running is recorded, before the run is closed."""
    path = tmp_path / "fit.py"
    path.write_text(THREADS)
    done = program("run", "--log-dir", tmp_path / "logs", path)
    assert (done.returncode, done.stderr) == (0, "")
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as opened:
        assert rows(opened, "select name from versions order by 1") == [("at-exit",), ("from-a-thread",)]
        assert rows(opened, "select status from runs") == [("ok",)]


def test_a_launcher_gives_all_its_programs_one_run_id(program: Program, tmp_path: Path) -> None:
    """Two programs that a shell starts are known as ranks of one run by it."""
    code = "import braid_hpc as braid\nwith braid.job('j') as run: run.data('d', digest='x:0')"
    shell = f'for r in 0 1; do PMI_RANK=$r PMI_SIZE=2 {sys.executable} -c "{code}"; done'
    done = program("run", "--log-dir", tmp_path / "logs", "--", "bash", "-c", shell)
    assert done.returncode == 0, done.stderr
    with made(tmp_path / "logs", tmp_path / "s.duckdb") as opened:
        assert rows(opened, "select size, ranks, status from runs") == [(2, 2, "ok")]
        assert count(opened, "versions") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "braid run needs a script"),
        (["--name"], 2, "--name is not an option of braid run, or lacks its value"),
        (["--unknown", "x", "y"], 2, "--unknown is not an option of braid run"),
        (["--"], 2, "behind -- comes the launcher"),
        (["--", "no-such-launcher"], 127, "no-such-launcher cannot be started"),
        (["nowhere.py"], 2, "cannot read"),
        (["-m"], 2, "behind -m comes a module"),
        (["-m", "no_such_module"], 2, "there is no module no_such_module"),
        (["-m", "no_such_package.module"], 2, "there is no module no_such_package.module"),
    ],
)
def test_wrong_calls(program: Program, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    """One sentence and an exit code, before anything is recorded."""
    done = program("run", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("braid: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "logs").exists()
