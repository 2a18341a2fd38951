"""The contract of collectors: a plain one passes, and one that breaks it does not."""

from __future__ import annotations

from typing import Any

import pytest

from braid_hpc.collectors.losses import Collecting
from braid_hpc.collectors.testing import CollectorContract, PublicOnly
from braid_hpc.run.guard import recording
from braid_hpc.vocabulary.errors import InvalidInputError


class Numbers(Collecting):
    """Takes lines of text, each with a number in it."""

    def __init__(self, run: Any) -> None:
        super().__init__(run, "numbers")
        self._rows = run.stream("numbers", {"value": "float64"})

    @recording
    def take(self, line: str) -> None:
        if not isinstance(line, str):
            raise InvalidInputError(f"a line is text, not {line!r}")
        try:
            value = float(line)
        except ValueError:
            self.losses.count("no number", note=line)
            self.losses.write()
            return
        self._rows.append(value)


class TestNumbers(CollectorContract):
    """Nothing more than this makes a collector."""

    module = "braid_hpc.collectors.losses"

    def make(self, run: Any) -> Any:
        return Numbers(run)

    def feed(self, collector: Any, items: int) -> None:
        for item in range(items):
            collector.take(f"{item}.5")

    def spoil(self, collector: Any) -> None:
        collector.take("a word")

    def misuse(self, collector: Any) -> None:
        collector.take(7)

    def recorded(self, store: Any) -> int:
        return len(store.sql("select * from stream.numbers"))


def test_what_is_not_public_is_refused() -> None:
    """Through the run that the contract gives, a collector cannot reach into it."""
    with pytest.raises(AssertionError, match="asked a run for _log, which is not public"):
        _ = PublicOnly(object())._log
    assert not PublicOnly([])
    assert PublicOnly("text").upper() == "TEXT"
