"""Write the scripts in ``jobscripts/`` from the specifications there: ``python -m tests.batch.make_jobscripts``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from braid_hpc.batch.rendering import render
from braid_hpc.batch.scheduler import scheduler
from braid_hpc.batch.specification import read_specification

FOLDER = Path(__file__).parents[2] / "jobscripts"

#: Those that have a folder of scripts; a script for one machine without a scheduler is no use to anybody else.
WRITTEN = ("slurm", "pbs", "lsf", "flux")


def scripts() -> Iterator[tuple[Path, str]]:
    """Give every script by its path: for each workflow and scheduler, and for each site."""
    for file in sorted(FOLDER.glob("*.toml")):
        spec = read_specification(file)
        for name in WRITTEN:
            yield FOLDER / name / f"{spec.name}.sh", render(spec, scheduler(name))
            # It is the same for all of them: nothing in it is of one workflow.
            yield FOLDER / name / "compact.sh", render(spec, scheduler(name), "compact")
    for file in sorted((FOLDER / "sites").glob("*/*.toml")):
        spec = read_specification(file)
        named = scheduler(str(spec.scheduler))
        yield file.with_suffix(".sh"), render(spec, named)
        yield file.with_name("compact.sh"), render(spec, named, "compact")


def main() -> None:
    """Write them all."""
    for path, text in scripts():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


if __name__ == "__main__":
    main()
