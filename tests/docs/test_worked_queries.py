"""The page of twenty questions: its programs make the store, and each question has the answer that is printed."""

from __future__ import annotations

import re
from pathlib import Path

import braid_hpc as braid
from tests.docs.pages import DOCS, run_page
from tests.ranks import RunRanks

PAGE = DOCS / "worked-queries.md"
ASKED = re.compile(r"^## (\d+)\. [^\n]+\n\n```sql\n(.*?)```\n\n```text\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def test_each_question_has_the_answer_of_the_page(run_ranks: RunRanks, tmp_path: Path) -> None:
    """All twenty, by `store.sql`, over the store that real ranks have made."""
    assert run_page(PAGE, run_ranks, tmp_path / "page").returncode == 0
    text = PAGE.read_text()
    questions = ASKED.findall(text)
    assert [int(number) for number, _, _ in questions] == list(range(1, 21))
    assert text.count("```sql") == text.count("```text") == len(questions)
    wrong = {}
    with braid.open(tmp_path / "page" / "prov.duckdb") as store:
        for number, query, answer in questions:
            if (found := repr(store.sql(query))) != answer:
                wrong[number] = (found, answer)
    assert wrong == {}
