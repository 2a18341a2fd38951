"""Which executions were made by other source, of many keys at once: as decoding each of them says it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import braid_hpc as braid
from braid_hpc.compaction.done_index import write_entries
from braid_hpc.tasks.deciding import other_code
from braid_hpc.tasks.done_code import of_other_code
from braid_hpc.tasks.done_index import DoneIndex
from braid_hpc.tasks.states import State
from braid_hpc.vocabulary.task_payloads import Done


@braid.task(version="1")
def step(number: int) -> int:
    return number


def _digest(text: str) -> str:
    kind, _, digest = str(step.identity.code).rpartition(":")
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[: len(digest)]}"


#: Source as it is, other source, source of another kind, and what nobody knows.
CODES = st.sampled_from([step.identity.code, _digest("old"), _digest("older"), "other:00", "a", None])


@given(
    codes=st.lists(
        st.tuples(CODES, st.booleans(), st.text(max_size=3), st.sampled_from(["1", None, "longer" * 40])), max_size=40
    ),
    more=st.integers(0, 3),
)
def test_many_at_once_are_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, codes: list[tuple[str | None, bool, str, str | None]], more: int
) -> None:
    """With and without a result, of other versions and with causes; asked in any order, some of them twice."""
    path = tmp_path_factory.mktemp("index") / "1.done"
    entries = []
    for at, (code, record, cause, version) in enumerate(codes):
        done = Done(step.name, version, bytes(24), bytes(24 * record), code, at, cause, None, None)
        entries.append((at.to_bytes(16, "big"), State.DONE.value, msgspec.msgpack.encode(done)))
    write_entries(path, 1, len(entries), [entries])
    index = DoneIndex(path)
    keys = np.frombuffer(b"".join(key for key, _, _ in entries), np.uint8).reshape(-1, 16)
    order = np.random.default_rng(more).integers(0, max(len(keys), 1), len(keys) * more)
    places = index.places(keys[order])
    assert places.tolist() == order.tolist()
    found = of_other_code(index, places, step.identity)
    assert found.tolist() == [other_code(codes[at][0], step.identity.code) for at in order]
    index.let_go()
    assert of_other_code(index, places, step.identity).tolist() == found.tolist(), "memory that was let go comes back"


def test_a_damaged_entry_is_to_be_made_again(tmp_path: Path) -> None:
    """The call would find it damaged, and run."""
    path = tmp_path / "1.done"
    done = Done(step.name, "1", bytes(24), b"", step.identity.code, 0, "", None, None)
    entries = [(bytes([at]) * 16, State.DONE.value, msgspec.msgpack.encode(done)) for at in range(2)]
    write_entries(path, 1, 2, [entries])
    data = bytearray(path.read_bytes())
    data[data.index(b"\x99")] ^= 1
    path.write_bytes(data)
    index = DoneIndex(path)
    assert of_other_code(index, np.arange(2), step.identity).tolist() == [True, False]
