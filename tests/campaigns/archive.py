"""A small production whose files are on disk, and a directory that stands in for tapes."""

from __future__ import annotations

import sys
from pathlib import Path

from braid_hpc.compaction.compact import compact
from tests.campaigns.world import STAGES, Configuration
from tests.jobs import one

SRC = STAGES["src"]
NAMES = [f"src/{number}.h5" for number in range(8)]


class Archive:
    """A directory that stands in for tapes, with a program that copies, fails for some files, and spoils others."""

    def __init__(self, folder: Path) -> None:
        self.disk, self.tape, self.path = folder / "disk", folder / "tape", folder / "prov.duckdb"
        self.program = folder / "archive.py"
        self.program.write_text(
            "import pathlib, shutil, sys\n"
            "word, one, other = sys.argv[1:]\n"
            "if '4.h5' in one:\n    sys.exit('the drive is busy')\n"
            "pathlib.Path(other).parent.mkdir(parents=True, exist_ok=True)\n"
            "shutil.copy2(one, other)\n"
            "if word == 'get' and '5.h5' in one:\n    open(other, 'a').write('x')\n"
        )
        (self.disk / "src").mkdir(parents=True)
        for number, name in enumerate(NAMES):
            (self.disk / name).write_bytes(bytes(number + 1))
        with one(folder / "logs") as job:
            job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(8)), "name": NAMES})
            job[0].mark(SRC, "exists", names=NAMES)
        compact(folder / "logs", self.path)

    @property
    def put(self) -> list[str]:
        return [sys.executable, str(self.program), "put", "{path}", f"{self.tape}/{{name}}"]

    @property
    def get(self) -> str:
        return f"{sys.executable} {self.program} get {self.tape}/{{name}} {{path}}"
