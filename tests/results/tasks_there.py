"""What tasks with results do, wherever these lie: beside what ``ResultContract`` says, which knows no tasks."""

from __future__ import annotations

from pathlib import Path

import braid_hpc as braid
from braid_hpc.results import Json
from braid_hpc.results.testing import ResultContract


class TasksThere(ResultContract):
    """The tests of results, and one with tasks."""

    def test_tasks_make_what_is_missing_there(self, tmp_path: Path) -> None:
        """A second start makes nothing, a third one what was cut meanwhile, and all read the same."""
        ran: list[int] = []

        @braid.task(version="1", name="contract.text", result=self.result(tmp_path, "tasks", Json()), target="{n}.json")
        def text(n: int) -> list[int]:
            ran.append(n)
            return list(range(n))

        def start() -> list[int]:
            ran.clear()
            with braid.job("contract", log_dir=tmp_path / "logs", store=tmp_path / "prov.duckdb"):
                assert [list(text(n)) for n in range(4)] == [list(range(n)) for n in range(4)]
            braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
            return list(ran)

        assert start() == [0, 1, 2, 3]
        assert start() == []
        self.spoil(self.result(tmp_path, "tasks", Json()).at("2.json", {}), lambda data: data[:-1])
        assert start() == [2]
        assert start() == []
