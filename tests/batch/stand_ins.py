"""Commands of schedulers that are not here: they check how they are called, and answer as their manuals say.

Installed under the names of the commands. What they are told is kept in the folder ``STAND_INS``: a line for each call
in ``calls``, and each script that is submitted, with what it asks for, as ``<id>.sh`` and ``<id>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PLACE = Path(os.environ.get("STAND_INS", "."))

#: Options of each submitting command that take a value, as their manuals list them, and those that do not.
OPTIONS = {
    "bsub": (["-J", "-n", "-nnodes", "-R", "-W", "-gpu", "-q", "-P", "-m", "-o", "-w"], ["-r", "-rn"]),
    "qsub": (["-N", "-l", "-q", "-A", "-J", "-r", "-j", "-o", "-W", "-v"], []),
    "flux batch": (
        [
            *("--job-name", "--nodes", "--nslots", "--cores-per-slot", "--gpus-per-slot", "--time-limit", "--queue"),
            *("--bank", "--requires", "--output", "--dependency"),
        ],
        ["--exclusive"],
    ),
}
PREFIXES = {"bsub": "#BSUB ", "qsub": "#PBS ", "flux batch": "# flux: "}


def refuse(text: str) -> None:
    print(text, file=sys.stderr)
    raise SystemExit(1)


def options(command: str, words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Read options as the command would; what it does not have ends it."""
    parser = argparse.ArgumentParser(prog=command, allow_abbrev=False)
    for name in OPTIONS[command][0]:
        parser.add_argument(name, action="append", dest=name)
    for name in OPTIONS[command][1]:
        parser.add_argument(name, action="append_const", const="", dest=name)
    parser.add_argument("script", nargs="*")
    found = vars(parser.parse_args(words))
    script = found.pop("script")
    return {name: values for name, values in found.items() if values}, script


def submitted(command: str, words: list[str]) -> str:
    """Take a script, and return its number."""
    told, rest = options(command, words)
    if command == "bsub":
        # Only a script on the input is searched for directives.
        if rest:
            refuse("bsub: a file's directives are not read")
        text = sys.stdin.read()
    else:
        (path,) = rest
        text = Path(path).read_text()
    prefix = PREFIXES[command]
    lines = [line for line in text.splitlines() if line.startswith(prefix)]
    asked, stray = options(command, [word for line in lines for word in shlex.split(line.removeprefix(prefix))])
    if stray:
        refuse(f"{command}: {stray} is no option")
    if os.environ.get("STAND_INS_REFUSE") == ("after" if set(told) & {"-w", "-W", "--dependency"} else "job"):
        refuse(f"{command}: Job not submitted. Bad account.")
    number = str(77 + len(list(PLACE.glob("*.json"))))
    (PLACE / f"{number}.sh").write_text(text)
    (PLACE / f"{number}.json").write_text(json.dumps({"told": told, "asked": asked, "cwd": os.getcwd()}))
    return number


def bsub(words: list[str]) -> None:
    print(f"Job <{submitted('bsub', words)}> is submitted to default queue <normal>.")


def bjobs(words: list[str]) -> None:
    assert words[:4] == ["-a", "-noheader", "-o", "stat"]
    if words[4] == "1":
        refuse("Job <1> is not found")
    print("RUN" if words[4] == "77" else "PEND\nDONE" if words[4] == "78" else "EXIT")


def bqueues(words: list[str]) -> None:
    if words[:1] == ["-l"]:
        limit = "MAXIMUM LIMITS:\n RUNLIMIT\n 30.0 min of host1\n" if words[1] == "debug" else ""
        print(f"QUEUE: {words[1]}\n\n{limit}")
    else:
        assert words == ["-noheader", "-o", "queue_name"]
        print("debug\nnormal")


def bkill(words: list[str]) -> None:
    print(f"Job <{words[0]}> is being terminated")


def blaunch(words: list[str]) -> None:
    assert words[0] == "-z"
    assert len(words[1].split()) == 1, "the test has one node"
    os.execvp(words[2], words[2:])


def qsub(words: list[str]) -> None:
    print(f"{submitted('qsub', words)}.server")


def qstat(words: list[str]) -> None:
    if words == ["-Q", "-f"]:
        print("Queue: debug\n    queue_type = Execution\n    resources_max.walltime = 00:30:00\n\nQueue: normal\n")
        return
    assert words[0] == "-x"
    if words[1].startswith("1."):
        refuse("qstat: Unknown Job Id 1.server")
    state = {"77": "R", "78": "H"}.get(words[1].partition(".")[0], "F")
    print("Job id            Name             User              Time Use S Queue")
    print("----------------  ---------------- ----------------  -------- - -----")
    print(f"{words[1]:<17} fit              me                00:00:01 {state} workq")


def qdel(words: list[str]) -> None:
    assert re.fullmatch(r"\d+\.server", words[0])


def mpiexec(words: list[str]) -> None:
    """Start ranks with the launcher of this environment, all of them on this machine."""
    assert (words[0], words[2]) == ("-n", "-ppn")
    if words[3] == "1" and words[1] == "1":
        os.execvp(words[4], words[4:])
    os.execv(os.environ["STAND_INS_MPIRUN"], ["mpirun", "-n", words[1], *words[4:]])


def flux(words: list[str]) -> None:
    """The subcommands that are used, and no other."""
    name, rest = words[0], words[1:]
    if name == "batch":
        print(f"\u0192{submitted('flux batch', rest)}")
    elif name == "jobs":
        assert rest[:2] == ["--no-header", "--format={state}"]
        if rest[2] == "\u01921":
            refuse("flux-jobs: ERROR: JobID \u01921 unknown")
        print({"\u019277": "RUN", "\u019278": "DEPEND"}.get(rest[2], "INACTIVE"))
    elif name == "queue":
        assert rest == ["list", "--no-header", "--format={queue} {limits.timelimit}"]
        print("debug 30m\nnormal inf")
    elif name == "cancel":
        assert rest[0].startswith("\u0192")
    elif name == "getattr":
        assert rest == ["jobid"]
        print("\u019277")
    elif name == "job":
        assert rest[:2] == ["id", "--to=dec"]
        print(rest[2].removeprefix("\u0192"))
    elif name == "exec":
        assert rest[0] == "--rank=all"
        os.execvp(rest[1], rest[1:])
    elif name == "run":
        assert (rest[0], rest[2], rest[4]) == ("-N", "-n", "-c")
        os.execv(os.environ["STAND_INS_MPIRUN"], ["mpirun", "-n", rest[3], *rest[6:]])
    else:
        refuse(f"flux: {name} is not a flux command")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    each.__name__: each for each in (bsub, bjobs, bqueues, bkill, blaunch, qsub, qstat, qdel, mpiexec, flux)
}

#: What a job finds in its environment.
VARIABLES = {
    "lsf": {"LSB_JOBID": "77", "LSB_JOBINDEX": "0", "LSB_DJOB_HOSTFILE": "{nodes}", "LS_SUBCWD": "{cwd}"},
    "pbs": {"PBS_JOBID": "77.server", "PBS_O_WORKDIR": "{cwd}", "PBS_NODEFILE": "{nodes}"},
    "flux": {},
}


def install(folder: Path) -> None:
    """Put the commands into a folder."""
    folder.mkdir(parents=True)
    for name in COMMANDS:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {name} "$@"\n')
        command.chmod(0o755)


def run(name: str, number: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that was submitted, as its scheduler would: the script itself, in its directory."""
    about = json.loads((place / f"{number}.json").read_bytes())
    nodes = place / "nodes"
    # A real launcher looks for it.
    nodes.write_text(f"{socket.gethostname()}\n" * 2)
    values = {key: text.format(nodes=nodes, cwd=about["cwd"]) for key, text in VARIABLES[name].items()}
    command = ["bash", str(place / f"{number}.sh")]
    where = "/" if name == "pbs" else about["cwd"]
    return subprocess.run(
        command, cwd=where, env={**os.environ, **values}, capture_output=True, text=True, timeout=100, check=False
    )


if __name__ == "__main__":
    with (PLACE / "calls").open("a") as calls:
        calls.write(shlex.join(sys.argv[1:]) + "\n")
    COMMANDS[sys.argv[1]](sys.argv[2:])
