"""Pieces: whatever files do between rounds, and wherever rounds end, what is unpacked is what was there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from braid_hpc.log import pieces
from braid_hpc.log.batch_file import BatchFile
from braid_hpc.log.node_bundle import NodeBundles
from braid_hpc.log.pieces import WriterFiles
from braid_hpc.reading.bundles import find_bundles, index_bundles, unpack_writer

WRITER = "0123456789abcdef" * 2
FILES = (
    "header.json",
    "ended.json",
    "tail-000001",
    "tail-000002-0123abcd",
    "events.arrows",
    "events.sums",
    "stream-0001-000002.arrows",
    "stream-0001-000002.sums",
    "arrays-1.h5",
)

names = st.sampled_from(FILES)
#: Longer than a piece, with zeros in it and at its end; never with eight zeros in front, as a tail that was not begun.
content = st.builds(
    lambda first, zeros, rest, last: b"\1" + first + bytes(zeros) + rest + bytes(last),
    st.binary(max_size=40),
    st.integers(0, 70_000),
    st.binary(max_size=40),
    st.integers(0, 70_000),
)
steps = st.one_of(
    st.tuples(st.just("write"), names, content),
    st.tuples(st.just("grow"), names, content),
    st.tuples(st.just("change"), names, st.floats(0, 1), st.binary(min_size=1, max_size=20)),
    st.tuples(st.just("cut"), names, st.floats(0, 1)),
    st.tuples(st.just("round")),
    # So many pieces, then the process is killed, and so many bytes of what it wrote last are not there.
    st.tuples(st.just("killed"), st.integers(0, 8), st.booleans(), st.integers(0, 3_000)),
    st.tuples(st.just("another")),
)


class Node:
    """A writer's directory, the process that ships it, and the directory that it is shipped to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / WRITER
        self.target = root / "shared"
        self.source.mkdir()
        self.begin()

    def begin(self) -> None:
        self.bundles, self.files = NodeBundles(self.target, "n1"), WriterFiles(self.source)

    def round(self, most: int | None = None, *, flush: bool = True) -> None:
        """Ship, or end after so many pieces."""
        if not self.bundles.look():
            self.files.forget()
        number = 0
        for part in (self.files.events, self.files.streams, self.files.arrays):
            for piece in part(self.bundles.held(WRITER)):
                if most is not None and number >= most:
                    if flush:
                        self.bundles.flush()
                    return
                self.bundles.add(WRITER, piece, self.bundles.moment())
                number += 1
            self.bundles.flush()
        if most is None:
            self.bundles.mark()
            self.files.arrived()

    def killed(self, most: int, flush: bool, torn: int) -> None:
        self.round(most, flush=flush)
        for path in self.target.glob("*"):
            # The directory's last file is the one that was written, if any was.
            if self.bundles._path == path and torn:
                os.truncate(path, max(self.bundles._marked, path.stat().st_size - torn))
        self.begin()

    def apply(self, step: tuple[object, ...]) -> None:
        what, *given = step
        if what == "round":
            self.round()
        elif what == "killed":
            self.killed(*given)  # type: ignore[arg-type]
        elif what == "another":
            self.begin()
        else:
            self.touch(str(what), *given)  # type: ignore[arg-type]

    def touch(self, what: str, name: str, *given: object) -> None:
        path = self.source / name
        before = path.read_bytes() if path.exists() else b""
        match what, *given:
            case "write", bytes(data):
                path.write_bytes(data)
            case "grow", bytes(data):
                path.write_bytes((before or b"\1") + data)
            case "change", float(where), bytes(data) if before:
                at = 1 + int(where * (len(before) - 1))
                path.write_bytes(before[:at] + data + before[at + len(data) :])
            case "cut", float(where) if before:
                path.write_bytes(before[: 1 + int(where * (len(before) - 1))])

    def unpacked(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory(dir=self.root) as into:
            found = [each for each in index_bundles(find_bundles(self.target)) if each.writers]
            return contents(unpack_writer(found[0], WRITER, Path(into))) if found else {}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@settings(max_examples=30, deadline=None)
@given(done=st.lists(steps, max_size=14))
@example(
    done=[
        ("write", "tail-000001", b"\1\1"),
        ("round",),
        ("write", "tail-000001", b"\1"),
        ("round",),
        ("write", "tail-000001", b"\1\0"),
    ]
)
def test_after_a_whole_round_what_is_unpacked_is_the_source(done: list[tuple[object, ...]]) -> None:
    """Files grow, change in place and are cut off in any order, rounds end anywhere, processes follow each other."""
    with tempfile.TemporaryDirectory() as root:
        node = Node(Path(root))
        node.touch("write", "header.json", b"{}")
        for step in done:
            node.apply(step)
            if step[0] == "round":
                assert node.unpacked() == contents(node.source)
        node.round()
        assert node.unpacked() == contents(node.source)
        before = node.bundles.written
        node.round()
        assert node.bundles.written == before


@settings(max_examples=15, deadline=None)
@given(
    batches=st.lists(st.binary(min_size=1, max_size=3_000), max_size=8),
    rounds=st.sets(st.integers(0, 8)),
    restarts=st.sets(st.integers(0, 8)),
)
def test_a_batch_with_its_sum_is_brought_once(batches: list[bytes], rounds: set[int], restarts: set[int]) -> None:
    """Whenever rounds are, and whoever goes on: a file of batches costs what it has, and headers."""
    with tempfile.TemporaryDirectory() as root:
        node = Node(Path(root))
        file = BatchFile(node.source / "events.arrows")
        schema = (b"\xff" * 4 + (8).to_bytes(4, "little")).ljust(16, b"s")
        for number, batch in enumerate(batches):
            file.append(schema, batch, number + 1, number + 2, 1, sync=False)
            if number in restarts:
                node.begin()
            if number in rounds:
                node.round()
        node.round()
        assert node.unpacked() == contents(node.source)
        for index in index_bundles(find_bundles(node.target)) if batches else []:
            arrows = index.writers[WRITER]["events.arrows"]
            assert sum(length for _, length in arrows.places) == (node.source / "events.arrows").stat().st_size
            assert {len(places) for places in arrows.places.values()} == {1}


def test_the_harness_sees_a_piece_that_is_left_out(tmp_path: Path) -> None:
    """Where a file that looks the same is believed to be the same too soon, the trial above is red."""
    node = Node(tmp_path)
    racy, pieces._RACY_NS = pieces._RACY_NS, -(1 << 62)
    try:
        path = node.source / "arrays-1.h5"
        path.write_bytes(b"before")
        node.round()
        when = path.stat().st_mtime_ns
        with path.open("r+b") as file:
            file.write(b"after ")
        os.utime(path, ns=(when, when))
        node.round()
        assert node.unpacked() != contents(node.source)
    finally:
        pieces._RACY_NS = racy
    node.begin()
    node.round()
    assert node.unpacked() == contents(node.source)
