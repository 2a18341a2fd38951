"""The documents of a run, dealt to several writers in any order, some of which are killed: the fold is the oracle's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.collectors.documents.instrument import (
    Pair,
    check,
    deliver,
    descriptor,
    event,
    folded,
    key,
    page,
    scan,
    start,
    stop,
)
from tests.faults.campaign import many, seeds, trial
from tests.jobs import Job, made

WRITER = """
import json, os, signal, sys
import braid_hpc as braid
from braid_hpc.collectors.documents import DocumentCollector
documents, until = json.load(open(sys.argv[1])), int(sys.argv[2])
run = braid.start("beamline")
collect = DocumentCollector(run)
for number, (name, document) in enumerate(documents):
    if number == until:
        os.kill(os.getpid(), signal.SIGKILL)
    collect(name, document)
"""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(exclude_categories=[]), max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(), st.none()), inner, max_size=2),
    ),
    max_leaves=8,
)
#: As they are written by devices, by people, and by nobody.
KEYS = st.one_of(
    st.sampled_from(["motor", "Motor", "time", "seq_num", "uid", "rest", "_row", "a__2", "data", "Ångström", "x y"]),
    st.text(min_size=1, max_size=4),
    st.sampled_from(["a.b", "", "\0", "k" * 300]),
)


@st.composite
def events_of(draw: st.DrawFn, of: Pair) -> list[Pair]:
    """Events that mostly are of one kind, and some of which are not."""
    keys = draw(st.lists(KEYS, min_size=0, max_size=4, unique=True))
    usual = draw(st.sampled_from([st.floats(), st.integers(-3, 2**64), st.booleans(), st.text(max_size=3), VALUES]))
    made_of: list[Pair] = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        data = {each: draw(st.one_of(usual, usual, VALUES)) for each in keys}
        found = event(of, number, data)[1]
        for odd in draw(st.lists(st.sampled_from(["filled", "timestamps", "time", "extra", "no filled"]), max_size=1)):
            if odd == "no filled":
                del found["filled"]
            elif odd == "timestamps":
                found["timestamps"] = {each: draw(st.one_of(st.integers(), st.floats(), SCALARS)) for each in keys}
            else:
                found[odd] = draw(VALUES) if odd != "time" else draw(st.one_of(st.integers(0, 9), st.floats()))
        made_of.append(("event", found))
    return made_of


@st.composite
def runs(draw: st.DrawFn) -> list[Pair]:
    """One to three runs, their documents mixed; some have no start, no stop or no descriptor."""
    documents: list[Pair] = []
    for _ in range(draw(st.integers(1, 3))):
        first = start(metadata=draw(VALUES))
        counts: dict[str, int] = {}
        inner: list[Pair] = []
        for name in draw(st.lists(st.sampled_from(["primary", "Primary", "dark", "ü/1"]), max_size=3)):
            keys = {"motor": key(draw(st.sampled_from(["number", "integer", "string", "boolean", "array", "?"])))}
            of = descriptor(first, keys, name)
            found = draw(events_of(of))
            counts[name] = max(counts.get(name, 0), len(found))
            if draw(st.integers(0, 9)):
                inner.append(of)
            inner += found
        last = [stop(first, counts)] if draw(st.booleans()) else []
        documents += [*([first] if draw(st.integers(0, 9)) else []), *inner, *last]
    return documents


@pytest.mark.timeout(40_000)
@settings(max_examples=many(400, 2))
@given(runs(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_the_order_the_number_of_times_and_the_ranks_do_not_matter(
    documents: list[Pair], chance: random.Random, ranks: int
) -> None:
    """Word for word what the oracle finds, in one canonical order, however they were dealt."""
    orders: list[list[tuple[str, list[tuple[str, Any]]]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(2):
            dealt = [*documents, *chance.sample(documents, len(documents) // 2)] if turn else list(documents)
            chance.shuffle(dealt)
            logs = Path(folder, f"logs{turn}")
            with Job(logs, ranks) as job:
                parts = [dealt[rank::ranks] for rank in range(ranks)]
                for rank, part in enumerate(parts):
                    assert deliver(job, rank, part).taken == len(part)
            with made(logs, Path(folder, f"{turn}.duckdb")) as store:
                orders.append([])
                uids = {d.get("run_start") or d["uid"] for n, d in documents if n in ("start", "stop", "descriptor")}
                for scan_uid in sorted(map(str, uids)):
                    found = store.documents(scan_uid)
                    check(found, folded(documents, scan_uid))
                    orders[-1].append((scan_uid, [(name, document.get("uid")) for name, document in found]))
    assert sorted(orders[0]) == sorted(orders[1])


def dealt(documents: list[Pair], chance: random.Random, writers: int) -> list[list[Pair]]:
    """Deal documents to writers at random, each in an order of its own; some come twice."""
    parts: list[list[Pair]] = [[] for _ in range(writers)]
    for pair in [*documents, *chance.sample(documents, len(documents) // 5)]:
        parts[chance.randrange(writers)].append(pair)
    for part in parts:
        chance.shuffle(part)
    return parts


@pytest.mark.timeout(40_000)
def test_eight_writers_of_one_run_of_which_two_are_killed(tmp_path: Path) -> None:
    """What is there is what the plain fold makes of all that was held, and what is missing is said."""
    for seed in seeds(40, 1):
        with trial(seed) as chance:
            folder = tmp_path / str(seed)
            folder.mkdir()
            run_of_one(folder, chance)


def run_of_one(folder: Path, chance: random.Random) -> None:
    whole = scan(60, streams=("primary", "dark"))
    plain = [pair for pair in whole if pair[0] == "event"]
    packed = [page(plain[at : at + 5]) for at in (0, 10, 60)]
    parts = dealt([*whole, *packed], chance, 8)
    killed = chance.sample(range(8), 2)
    held: list[Pair] = []
    environment = {**os.environ, "BRAID_RUN_ID": uuid.uuid4().hex, "BRAID_LOG_DIR": str(folder / "logs")}
    processes = []
    for rank, part in enumerate(parts):
        until = chance.randrange(len(part)) if rank in killed else -1
        held += part[:until] if rank in killed else part
        (folder / f"{rank}.json").write_text(json.dumps(part))
        command = [sys.executable, "-c", WRITER, str(folder / f"{rank}.json"), str(until)]
        processes.append(subprocess.Popen(command, env={**environment, "PMI_RANK": str(rank), "PMI_SIZE": "8"}))
    ended = [process.wait(60) for process in processes]
    assert ended == [-signal.SIGKILL if rank in killed else 0 for rank in range(8)]
    scan_uid = whole[0][1]["uid"]
    with made(folder / "logs", folder / "prov.duckdb") as store:
        found = store.documents(scan_uid)
        check(found, folded(held, scan_uid))
        assert sorted(writer["rank"] for writer in found.writers) == sorted(killed)
        assert {writer["state"] for writer in found.writers} == {"open"}
