"""The two scripts of a job: what a scientist would write by hand, and may copy and edit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from braid_hpc.batch.durations import shown_time
from braid_hpc.batch.launchers import launch_words
from braid_hpc.batch.scheduler import Asked, Scheduler
from braid_hpc.batch.sites import SITES
from braid_hpc.batch.specification import Specification

__all__ = ["PARTS", "asked_of", "fill", "prepare", "render"]

#: The two scripts.
PARTS = ("job", "compact")

#: The variable that names the job's directory to a compaction that is submitted by hand.
DIRECTORY = "JOB_DIRECTORY"


def asked_of(spec: Specification, part: str = "job", *, output: str | None = None, launcher: str = "mpirun") -> Asked:
    """Return what one of the scripts asks its scheduler for.

    Parameters
    ----------
    spec : Specification
        Of the job.
    part : str
        ``job`` or ``compact``.
    output : str, optional
        Where the output goes.
    launcher : str
        What starts the ranks.

    Returns
    -------
    Asked
        The compaction asks for one node.
    """
    whole = spec.site is not None and SITES[spec.site].whole_nodes
    if part == "compact":
        return Asked(
            name=f"{spec.name}-compact" if output is not None else "compact",
            ranks_per_node=spec.compact_ranks,
            time=spec.compact_time,
            queue=spec.compact_queue or spec.queue,
            account=spec.account,
            constraint=spec.constraint,
            directives=spec.directives,
            output=output,
            whole_nodes=whole,
            launcher=launcher,
        )
    return Asked(
        name=spec.name,
        nodes=spec.nodes,
        ranks_per_node=spec.ranks_per_node,
        cpus_per_rank=spec.cpus_per_rank,
        gpus_per_node=spec.gpus_per_node,
        time=spec.time,
        queue=spec.queue,
        account=spec.account,
        constraint=spec.constraint,
        array=spec.array,
        directives=spec.directives,
        output=output,
        requeue=spec.requeue,
        warning=spec.warning,
        whole_nodes=whole,
        launcher=launcher,
    )


def render(
    spec: Specification,
    scheduler: Scheduler,
    part: str = "job",
    *,
    directory: Path | None = None,
    path: str | None = None,
) -> str:
    """Write one of the scripts.

    Parameters
    ----------
    spec : Specification
        Of the job.
    scheduler : Scheduler
        Whose script it is.
    part : str
        ``job`` or ``compact``.
    directory : Path, optional
        The job's directory; without it the script is one to submit by hand, and makes a directory of its own where
        it is submitted.
    path : str, optional
        A directory of commands to put before the others.

    Returns
    -------
    str
        A script for bash.

    Examples
    --------
    >>> from braid_hpc.batch.slurm import SCHEDULER
    >>> spec = Specification(name="fit", command="python fit.py", time=600, nodes=2)
    >>> print(render(spec, SCHEDULER).splitlines()[1])
    #SBATCH --job-name=fit
    """
    shell = scheduler.shell
    launcher = spec.launcher or shell.launcher
    output = None if directory is None else str(directory / f"{part}.out")
    values = {
        "DIRECTIVES": "\n".join(scheduler.directives(asked_of(spec, part, output=output, launcher=launcher))),
        "NAME": spec.name if directory is not None else "a job",
        # A shell of a batch system has not always read the profile that defines the command module.
        "LOGIN": " -l" if spec.modules else "",
        "HOW": _how(spec, scheduler, part, directory),
        "HEAD": "\n".join(["", *shell.head, ""]) if shell.head else "",
        "JOB": _job(spec, scheduler, part, directory),
        "ENVIRONMENT": "\n".join(prepare(spec, path)),
        "LAUNCH": _compact_launch(spec, scheduler) if part == "compact" else _launch(spec, scheduler),
        "STORE": _store(spec, directory),
    }
    if part == "job":
        values |= {
            "TITLE": _title(spec),
            "PART": _part(spec, scheduler),
            "OWN": shell.job,
            "NODE_LOCAL": _double_quoted(spec.node_local),
            "EACH_NODE": _folded(shell.each_node_of.get(launcher, shell.each_node)),
            "EVERY": str(spec.ship_every),
            "SIGNAL": shell.warned or "USR1",
            "SCHEDULER": scheduler.name,
            "STOP": "\n".join(f"        {line}" for line in shell.stop),
            **_clock(spec, scheduler),
        }
    return fill(part, values)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill in a template.

    Parameters
    ----------
    template : str
        Its name.
    values : mapping
        What stands in the place of each ``@NAME@``.

    Returns
    -------
    str
        A script.
    """
    text = (files("braid_hpc.batch") / "templates" / f"{template}.sh").read_text()
    text = re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)
    # What was left empty leaves no gap.
    return re.sub(r"\n{3,}", "\n\n", text)


def _title(spec: Specification) -> str:
    ranks = f"{spec.ranks} rank{'s' if spec.ranks > 1 else ''}"
    return f"{spec.name}: {ranks} on {spec.nodes} node{'s' if spec.nodes > 1 else ''}, and their logs brought home."


def _how(spec: Specification, scheduler: Scheduler, part: str, directory: Path | None) -> str:
    if directory is not None:
        return "# Written by braid submit."
    if part == "compact":
        return "# By hand: the head of the job's own script says how it is submitted."
    place = f"$PWD/{spec.name}"
    values = {
        "name": spec.name,
        "job": f"{spec.name}.sh",
        "compact": "compact.sh",
        "variable": f'{DIRECTORY}="{place}-$id"',
        "number": f'{DIRECTORY}="{place}-$number"',
        "decimal": f'{DIRECTORY}="{place}-$(flux job id --to=dec "$id")"',
    }
    lines = ["# By hand, in a directory that all nodes share:", "#"]
    return "\n".join([*lines, *(f"#     {line.format(**values)}" for line in scheduler.shell.by_hand)])


def _job(spec: Specification, scheduler: Scheduler, part: str, directory: Path | None) -> str:
    if directory is not None:
        return shlex.quote(str(directory))
    if part == "compact":
        return f"${{{DIRECTORY}:?names the directory of the job}}"
    return f"{scheduler.shell.submitted}/{spec.name}-{scheduler.shell.job}"


def _store(spec: Specification, directory: Path | None) -> str:
    if directory is not None:
        return shlex.quote(str(spec.store_path))
    name = re.sub(r'(["`\\$])', r"\\\1", Path(spec.store).name)
    return f'"$(dirname "$job")/{name}"'


def _part(spec: Specification, scheduler: Scheduler) -> str:
    shell = scheduler.shell
    task = f"task-{shell.task}-" if spec.array else ""
    if shell.attempt:
        lines = ["# A job that was started again is another attempt of the same job.", f"attempt={shell.attempt}"]
    else:
        lines = [
            "# A job that was started again is another attempt of the same job; the scheduler does not count them.",
            "attempt=0",
            f"while [[ -d $job/logs/{task}attempt-$attempt ]]; do attempt=$((attempt + 1)); done",
        ]
    # Read by the ranks: their logs say which attempt they are of.
    return "\n".join([*lines, f"part={task}attempt-$attempt", "export BRAID_ATTEMPT=$attempt"])


def prepare(spec: Specification, path: str | None) -> list[str]:
    """Return the lines that load modules and set the environment.

    Parameters
    ----------
    spec : Specification
        Of the job.
    path : str or None
        A directory of commands to put before the others.

    Returns
    -------
    list of str
        Each ends the script with a sentence where it fails.
    """
    lines = []
    own = bool(spec.modules or spec.setup)
    if path is not None and not own:
        lines += ["# Where braid submit was called from.", f"export PATH={shlex.quote(path)}:$PATH"]
    for module in spec.modules:
        # Some versions of the command fail with a message and exit code 0.
        lines.append(f'module load {module} || give_up "module {module} could not be loaded on $(hostname)"')
    variables = {"OMP_NUM_THREADS": str(spec.threads or spec.cpus_per_rank), **dict(spec.environment)}
    lines += [f"export {name}={_double_quoted(value)}" for name, value in variables.items()]
    for line in spec.setup:
        if re.match(r"(?:source|\.)\s", line):
            lines.append("# shellcheck source=/dev/null")
        said = re.sub(r'(["`\\$])', r"\\\1", f"this line of the setup failed: {line}")
        # What follows a comment would be a part of it.
        lines.append(f'{{ {line}\n}} || give_up "{said}"' if "#" in line else f'{line} || give_up "{said}"')
    if path is not None and own:
        lines += [
            "# Where braid submit was called from, if nothing above has brought braid.",
            f"PATH=$PATH:{shlex.quote(path)}",
        ]
    return lines


def _double_quoted(value: str) -> str:
    """Quote a text in which variables are filled in."""
    if re.fullmatch(r"[\w./:,=+@%-]+|\$\w+[\w./:,=+@%-]*", value):
        return value
    return '"' + re.sub(r'(["`\\]|\$(?![\w{]))', r"\\\1", value) + '"'


def _folded(words: tuple[str, ...]) -> str:
    """Write the words of an array on lines that can be read."""
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 90:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n    ".join([*lines, line])


def _launch(spec: Specification, scheduler: Scheduler) -> str:
    words = launch_words(spec, spec.launcher or scheduler.shell.launcher)
    line = " ".join([*words, spec.argument])
    if not isinstance(spec.command, str):
        return line
    if "|" in line or (not words and re.search(r"[;&#]", line)):
        # A shell of its own for several commands, and for a comment that would take in more than its line. The exit
        # code is that of the ranks, not that of what their output goes through.
        return f"set -o pipefail\n{{ {line}\n}}"
    return line


def _compact_launch(spec: Specification, scheduler: Scheduler) -> str:
    if spec.compact_ranks == 1:
        return "braid"
    launcher = spec.launcher or scheduler.shell.launcher
    alone = spec.changed(nodes=1, ranks_per_node=spec.compact_ranks, cpus_per_rank=1)
    return " ".join([*launch_words(alone, "mpirun" if launcher == "none" else launcher), "braid"])


def _clock(spec: Specification, scheduler: Scheduler) -> dict[str, str]:
    """Write the clock of a script whose scheduler sends no signal before the limit, or does not end it there."""
    shell = scheduler.shell
    steps = []
    if spec.warning and not shell.warned:
        steps = [f"pause {spec.time - spec.warning}", "kill -USR1 $$"]
    if not shell.limits:
        steps += [f"pause {spec.warning if steps else spec.time}", "kill -TERM 0"]
    if not steps:
        return {"CLOCK": "", "END_CLOCK": ""}
    before = f", and a signal {spec.warning} seconds before it" if spec.warning and not shell.warned else ""
    return {
        "CLOCK": _CLOCK.format(shown_time(spec.time), before, " && ".join(steps)),
        "END_CLOCK": '\nkill "$clock" 2>/dev/null\n',
    }


_CLOCK = """
# The limit is {}{}.
pause() {{
    sleep "$1" &
    # shellcheck disable=SC2064 # the process that sleeps now
    trap "kill $!" TERM
    wait $!
}}
({}) </dev/null >/dev/null 2>&1 &
clock=$!
"""
