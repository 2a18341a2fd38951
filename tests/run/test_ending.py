"""How a flat script ended is known when the interpreter ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from braid_hpc.run import ending
from braid_hpc.vocabulary.codes import Outcome, WriterState
from tests.rank_logs import read_only_log
from tests.ranks import RunRanks

CAUGHT = "try:\n    sys.exit(3)\nexcept SystemExit:\n    pass\n"
EARLIER = "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    sys.last_value = error\n"
NESTED = "def f():\n    try:\n        sys.exit(3)\n    finally:\n        len('x')\nf()\n"
THREAD = "t = threading.Thread(target=sys.exit, args=(3,))\nt.start()\nt.join()\n"


@pytest.mark.parametrize(
    ("body", "code", "outcome", "error"),
    [
        ("", 0, Outcome.OK, None),
        ("1 / 0\n", 1, Outcome.FAILED, "ZeroDivisionError: division by zero"),
        ("sys.exit()\n", 0, Outcome.OK, None),
        ("sys.exit(0)\n", 0, Outcome.OK, None),
        ("sys.exit(3)\n", 3, Outcome.EXITED, "SystemExit: 3"),
        ("sys.exit('told')\n", 1, Outcome.EXITED, "SystemExit: told"),
        (NESTED, 3, Outcome.EXITED, "SystemExit: 3"),
        ("raise SystemExit(3)\n", 3, Outcome.EXITED, f"SystemExit: {ending.UNKNOWN_CODE}"),
        ("signal.raise_signal(signal.SIGINT)\n", -2, Outcome.EXITED, "KeyboardInterrupt: "),
        (CAUGHT, 0, Outcome.OK, None),
        (CAUGHT + "1 / 0\n", 1, Outcome.FAILED, "ZeroDivisionError: division by zero"),
        (CAUGHT + "raise SystemExit(0)\n", 0, Outcome.EXITED, f"SystemExit: {ending.UNKNOWN_CODE}"),
        (CAUGHT + "sys.exit(4)\n", 4, Outcome.EXITED, "SystemExit: 4"),
        (EARLIER, 0, Outcome.OK, None),
        (THREAD, 0, Outcome.OK, None),
        (THREAD + "raise SystemExit(5)\n", 5, Outcome.EXITED, f"SystemExit: {ending.UNKNOWN_CODE}"),
    ],
)
def test_the_end_of_a_flat_script(
    run_ranks: RunRanks, tmp_path: Path, body: str, code: int, outcome: Outcome, error: str | None
) -> None:
    """Whatever ends it, with the exit code that it has anyway; an exit that was caught ended nothing."""
    script = f"import signal, sys, threading\nimport braid_hpc as braid\nbraid.start('flat').fact('a', 1)\n{body}"
    done = run_ranks(0, script, env={"BRAID_LOG_DIR": str(tmp_path / "logs")}, check=False)
    assert done.returncode == code, done.describe()
    log = read_only_log(tmp_path / "logs")
    assert log.close is not None
    assert (log.state, log.outcome, log.close.error) == (WriterState.CLOSED, outcome, error)


def test_where_no_main_module_is_seen_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what the interpreter printed is all there is."""
    monkeypatch.setattr(ending, "_main", None)
    assert ending.how_it_ended() is getattr(sys, "last_value", None)
