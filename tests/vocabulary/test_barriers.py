"""What holds in spite of a statement: by its id, or the beginning of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from braid_hpc.vocabulary.barriers import Barriers

UIDS = st.text("ab", min_size=1, max_size=4)


@given(rows=st.lists(st.tuples(st.integers(1, 5), UIDS)), uid=UIDS)
def test_each_beginning_of_an_id_counts(rows: list[tuple[int, str]], uid: str) -> None:
    assert Barriers(rows).of(uid) == {node for node, despite in rows if uid.startswith(despite)}
