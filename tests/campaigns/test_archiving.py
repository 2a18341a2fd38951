"""Disk and tape: what is to be archived, read back, made again, and what differs; and a stand-in for the archive."""

from __future__ import annotations

import itertools
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.campaigns import Campaign
from braid_hpc.campaigns.archiving import copies, decide
from braid_hpc.campaigns.checking import check_files
from braid_hpc.campaigns.moving import move
from braid_hpc.compaction.compact import compact
from braid_hpc.run.streams import NO_ROWS, Stream
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError, StorageError
from tests.campaigns.archive import NAMES, SRC, Archive
from tests.campaigns.world import Configuration
from tests.jobs import made, one

OLD, LATE = 10**18, 2 * 10**18

#: The table of the page on campaigns: on disk, on tape, equal, newer, and what is to be done.
TABLE: list[tuple[bool, bool, bool | None, str | None, str]] = [
    (False, False, None, None, "recreate"),
    (True, False, None, None, "archive"),
    (False, True, None, None, "restore"),
    (True, True, True, None, "nothing"),
    (True, True, None, None, "nothing"),
    (True, True, False, "disk", "archive"),
    (True, True, False, "tape", "restore"),
    (True, True, False, None, "conflict"),
]


@pytest.mark.parametrize(("disk", "tape", "equal", "newer", "decision"), TABLE)
def test_each_row_of_the_table_gives_its_decision(
    tmp_path: Path, disk: bool, tape: bool, equal: bool | None, newer: str | None, decision: str
) -> None:
    """Of the function, and of a file that ranks have said so of."""
    assert decide(disk=disk, tape=tape, equal=equal, newer=newer) == decision
    times = {None: (None, None), "disk": (LATE, OLD), "tape": (OLD, LATE)}[newer]
    sizes = {None: (None, None), True: (10, 10), False: (10, 11)}[equal]
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": [0], "name": NAMES[:1]})
        for there, place, size, modified in zip((disk, tape), ("disk", "tape"), sizes, times, strict=True):
            if there:
                job[0].mark(SRC, "exists", names=NAMES[:1], place=place, size=size, modified=modified)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        (row,) = copies(Campaign(store), SRC)
    assert row["decision"] == decision
    assert (row["equal"], row["newer"]) == (equal, newer)
    assert (row["disk"], row["tape"]) == ("exists" if disk else None, "exists" if tape else None)
    assert (row["disk_size"], row["tape_modified"]) == (sizes[0] if disk else None, times[1] if tape else None)


def test_digests_say_more_than_sizes(tmp_path: Path) -> None:
    """Equal sizes of other bytes differ; digests of two kinds say nothing of each other; other sizes always differ."""
    cases: list[tuple[Any, Any, bool | None]] = [
        (("blake3:a", 10), ("blake3:a", 10), True),
        (("blake3:a", 10), ("blake3:b", 10), False),
        (("blake3:a", 10), ("md5:b", 10), True),
        (("blake3:a", None), ("blake3:a", None), True),
        (("blake3:a", None), (None, 10), None),
        (("blake3:a", 10), ("blake3:a", 11), False),
    ]
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(6)), "name": NAMES[:6]})
        for name, (disk, tape, _) in zip(NAMES, cases, strict=False):
            for place, (digest, size) in (("disk", disk), ("tape", tape)):
                job[0].mark(SRC, "exists", names=[name], place=place, size=size, digest=digest)
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert copies(Campaign(store), "src")["equal"] == [equal for _, _, equal in cases]


def test_what_lies_beside_the_table(tmp_path: Path) -> None:
    """Written, consumed, corrupt, gone from tape, invalid, on another archive; only some of them; and earlier."""
    with one(tmp_path / "logs") as job:
        run = job[0]
        run.declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(8)), "name": NAMES})
        run.mark(SRC, "growing", names=NAMES[:1])
        run.mark(SRC, "consumed", names=NAMES[1:3])
        run.mark(SRC, "archived", names=NAMES[2:3], place="tape")
        run.mark(SRC, "exists", names=NAMES[3:8])
        run.mark(SRC, "corrupt", names=NAMES[3:4])
        run.mark(SRC, "exists", names=NAMES[4:5], place="tape")
        run.mark(SRC, "missing", names=NAMES[4:5], place="tape")
        run.mark(SRC, "invalid", names=NAMES[5:6], cause="wrong")
        run.mark(SRC, "exists", names=NAMES[6:7], place="archive")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        campaign = Campaign(store)
        found = {row["name"]: row["decision"] for row in copies(campaign, SRC)}
        expected = ("nothing", "nothing", "restore", "recreate", "archive", "recreate", "archive", "archive")
        assert found == dict(zip(NAMES, expected, strict=True))
        assert copies(campaign, SRC, tape="archive", s=6)["decision"] == ["nothing"]
        assert len(copies(campaign, SRC, s__lt=2)) == 2
        with one(tmp_path / "logs") as job:
            job[0].mark(SRC, "exists", names=NAMES[7:], place="tape")
        compact(tmp_path / "logs", tmp_path / "prov.duckdb")
        store.refresh()
        assert copies(Campaign(store), SRC)["decision"][7] == "nothing"
        assert copies(Campaign(store, at=1), SRC)["decision"][7] == "archive"
        for wrong, error in ((Configuration, InvalidInputError), ("nothing", NotFoundError)):
            with pytest.raises(error):
                copies(campaign, wrong)


def test_many_files_are_decided_as_one_by_one(tmp_path: Path) -> None:
    """Of every combination of what may be said at the two places, in any order."""
    states = [None, "exists", "missing", "corrupt"]
    facts = list(itertools.product(states, states, (None, 1, 2), (None, 1, 2), (None, OLD, LATE), (None, OLD, LATE)))
    random.Random(1).shuffle(facts)
    names = [f"{number}.h5" for number in range(len(facts))]
    with one(tmp_path / "logs") as job:
        job[0].declare(SRC, {"configuration": Configuration("a", 0), "s": list(range(len(names))), "name": names})
        for at, place in enumerate(("disk", "tape")):
            for state in states[1:]:
                mine = [number for number, fact in enumerate(facts) if fact[at] == state]
                sizes = [-1 if facts[number][2 + at] is None else facts[number][2 + at] for number in mine]
                job[0].mark(
                    SRC,
                    str(state),
                    names=[names[number] for number in mine],
                    place=place,
                    size=sizes,
                    modified=[facts[number][4 + at] or 0 for number in mine],
                )
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        found = copies(Campaign(store), SRC)["decision"]
    for fact, decision in zip(facts, found, strict=True):
        disk, tape = fact[0] == "exists", fact[1] == "exists"
        equal = None if None in fact[2:4] else fact[2] == fact[3]
        newer = {(OLD, LATE): "tape", (LATE, OLD): "disk"}.get((fact[4] or 0, fact[5] or 0))
        assert decision == decide(disk=disk, tape=tape, equal=equal, newer=newer), fact


# ---------------------------------------------------------------------- moving


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


def test_files_go_to_tape_and_come_back(archive: Archive) -> None:
    """What failed is named and stays to be archived; what came back as another one is corrupt."""
    told: list[str] = []
    with Store(archive.path) as store:
        moved = move(store, SRC, "archive", command=archive.put, root=archive.disk, told=told.append)
        assert moved.done == [name for name in NAMES if name != "src/4.h5"]
        assert moved.failed == {"src/4.h5": f"{sys.executable} ended with 1: the drive is busy"}
        assert told == [f"src/4.h5: {moved.failed['src/4.h5']}"]
        found = {row["name"]: row for row in copies(Campaign(store), SRC)}
        assert [found[name]["decision"] for name in NAMES] == ["nothing"] * 4 + ["archive"] + ["nothing"] * 3
        for number, name in enumerate(NAMES):
            if number != 4:
                stat = (archive.disk / name).stat()
                assert (found[name]["tape_size"], found[name]["tape_modified"]) == (number + 1, stat.st_mtime_ns)
                assert found[name]["tape_digest"].startswith("blake3:")
        assert move(store, SRC, "archive", command=archive.put, root=archive.disk).done == []
        for name in NAMES[5:]:
            (archive.disk / name).unlink()
        # Nobody had said their sizes.
        assert check_files(store, SRC, root=archive.disk, young=0) == {"exists": 5, "missing": 3}
        assert Campaign(store).list("archived", SRC)["name"] == NAMES[5:]
        moved = move(store, "src", "restore", command=archive.get, root=archive.disk, most=2)
        assert (moved.done, list(moved.failed)) == (["src/6.h5"], ["src/5.h5"])
        assert (archive.disk / "src/6.h5").read_bytes() == bytes(7)
        assert move(store, SRC, "restore", command=archive.get, root=archive.disk, s=7).done == ["src/7.h5"]
        # Where the disk has another one, the tape's is still there.
        (bad,) = copies(Campaign(store), SRC, s=5)
        assert (bad["disk"], bad["decision"]) == ("corrupt", "restore")
        assert os.listdir(archive.tape / "src")


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"command": "cp a b"}, InvalidInputError, "names no file: write {name} or {path}"),
        ({"command": "cp '{path}"}, InvalidInputError, "is no command"),
        ({"command": 5}, InvalidInputError, "is no command"),
        ({"command": "no-such-command-here {path}"}, NotFoundError, "there is no command 'no-such-command-here'"),
        ({"decision": "recreate"}, InvalidInputError, "not to 'recreate'"),
        ({"root": "/no/such/directory"}, InvalidInputError, "is no directory"),
        ({"most": 0}, InvalidInputError, "most= is a number of files"),
        ({"most": True}, InvalidInputError, "most= is a number of files"),
        ({"nothing": 3}, InvalidInputError, "has no column 'nothing'"),
        ({"table": "nothing"}, NotFoundError, "no table 'nothing'"),
    ],
)
def test_what_cannot_be_moved_is_said(
    archive: Archive, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    """In one sentence, and nothing is said of any file."""
    about: dict[str, Any] = {"table": SRC, "decision": "archive", "command": archive.put, "root": archive.disk} | given
    with Store(archive.path) as store:
        snapshot = store.snapshot
        with pytest.raises(error, match=said):
            move(store, about.pop("table"), about.pop("decision"), **about)
        assert store.snapshot == snapshot


def test_what_is_ended_half_way_has_said_what_was_moved(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one goes on from there."""
    seen: list[str] = []

    def end(text: str) -> None:
        seen.append(text)
        raise KeyboardInterrupt

    with Store(archive.path) as store:
        with pytest.raises(KeyboardInterrupt):
            move(store, SRC, "archive", command=archive.put, root=archive.disk, told=end)
        assert [row["name"] for row in copies(Campaign(store), SRC) if row["tape"] is not None] == NAMES[:4]
        with monkeypatch.context() as refused:
            refused.delenv("BRAID_STRICT")
            refused.setattr(Stream, "extend", lambda *_: NO_ROWS)
            with pytest.raises(StorageError, match="could not be written"):
                move(store, SRC, "archive", command=archive.put, root=archive.disk)
        (archive.disk / NAMES[7]).unlink()
        moved = move(store, SRC, "archive", command=archive.put, root=archive.disk)
        assert moved.done == NAMES[5:7]
        assert "cannot be read: No such file" in moved.failed[NAMES[7]]
