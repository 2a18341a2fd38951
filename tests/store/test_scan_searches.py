"""Searches of scans: what documents say and what events hold, against plain Python over the same documents."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from ophyd.sim import det, det1, direct_img, motor, motor1, motor2

from braid_hpc.queries import Query, data, from_json, parse_query, start, stop, to_json
from braid_hpc.queries.fields import FUNCTIONS, Field
from braid_hpc.queries.operators import ALLOWED, Operator
from braid_hpc.queries.tree import Condition
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError
from tests.assets.files import DATA, images, uri_of, with_datums, with_stream, write_hdf5, write_npys
from tests.collectors.documents.instrument import deliver, descriptor, event, folded, key, page, stored
from tests.collectors.documents.instrument import start as a_start
from tests.collectors.documents.instrument import stop as a_stop
from tests.collectors.documents.test_bluesky import failing, nested, nothing, run_plans, two_streams
from tests.faults.campaign import many
from tests.jobs import Job, made
from tests.queries.made import queries
from tests.store.scan_oracle import Pair, found_by


def aborted() -> Iterator[Any]:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det, motor])
        yield from bps.close_run(exit_status="abort", reason="the user said so")

    yield from bps.open_run(md={"sample": {"name": "Copper"}})
    yield from plan()


def configured(gain: int) -> Any:
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det])
        yield from bps.configure(det, {"noise_multiplier": gain})
        yield from bps.trigger_and_read([det])

    return lambda: bpp.run_wrapper(plan(), md={"operator": ["ada", "eve"]})


def run_all(folder: Path) -> tuple[dict[str, list[Pair]], Store]:
    plans = [
        lambda: bp.scan([det], motor, 0, 5, 6, md={"sample": {"name": "Nickel", "layers": [{"nm": 3}, {"nm": 40}]}}),
        lambda: bp.scan([det, direct_img], motor, -1, 1, 3, md={"sample": {"name": "Copper"}}),
        lambda: bp.grid_scan([det1], motor1, 0, 1, 2, motor2, 0, 4, 2, snake_axes=False, md={"purpose": "align"}),
        lambda: bp.count([det, motor], 2, md={"wide": 2**60 + 1, "operator": ["ada"]}),
        *(nested, nothing, failing, aborted, two_streams, configured(20)),
    ]
    before = {"noise_multiplier": det.noise_multiplier.get()}
    seen, store = run_plans(folder, *plans, metadata={"beamline": "8-ID"})
    det.configure(before)
    uids = [document["uid"] for name, document in seen if name == "start"]
    return {uid: [(key[0], each) for key, each in folded(seen, uid).items()] for uid in uids}, store


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, list[Pair]], Store]]:
    """Eleven runs of a RunEngine."""
    scans, store = run_all(tmp_path_factory.mktemp("scans"))
    with store:
        yield scans, store


#: Each with the number of scans that it finds.
SEARCHES = {
    "start.plan_name = scan": 2,
    "start.sample.name = Nickel": 1,
    "start.sample.name similar Nikcel": 1,
    "start.sample.layers.nm > 20": 1,
    "start.operator = ada": 2,
    "start.wide = 1152921504606846977": 1,
    "start.wide = 1152921504606846976": 0,
    'start.scan_id = "3"': 0,
    "start.scan_id in (3, 4.0, 1)": 3,
    "start.purpose exists": 1,
    "stop.exit_status != success": 2,
    "stop.reason contains shutter": 1,
    "stop.num_events.primary >= 3 and stop.num_events.primary < 6": 2,
    "device = motor1": 2,
    "device = motor1 and stream = baseline": 1,
    "stream = dark": 1,
    "data_key ~ motor*": 6,
    "config.det.det_noise_multiplier = 20": 1,
    "config.det_noise_multiplier = 20": 1,
    "config.det.det_noise_multiplier exists and not config.det_noise_multiplier = 20": 7,
    "data.motor > 4.5": 1,
    "all(data.motor) >= 0 and all(data.motor) <= 5": 3,
    "all(data.motor) > 0": 2,
    "max(data.motor) = 5 and min(data.motor) = 0": 1,
    "sum(data.motor) = 15": 1,
    "mean(data.motor) = 2.5": 1,
    "count(data.det@primary) = 3": 1,
    "count(data.det) > 0": 8,
    "data.motor1@baseline exists": 1,
    "data.motor1@primary exists": 1,
    "sum(data.img) > 1": 1,
    "max(data.img) = 1 and count(data.img) = 300": 1,
    "all(data.img) = 1": 1,
    "data.img = 1 and not data.img > 1": 1,
    "start.beamline = 8-ID": 11,
    "all(data.motor) > 5": 0,
    "data.nothing exists or stream = nowhere": 0,
}


@pytest.mark.parametrize("search", SEARCHES)
def test_searches_of_real_runs_find_what_plain_python_does(ran: tuple[dict[str, Any], Store], search: str) -> None:
    """In all three forms; as scans, as their records and activities, and as the runs that recorded them."""
    scans, store = ran
    query = parse_query(search)
    expected = found_by(query, scans)
    assert sorted(store.find_scans(search)["uid"]) == expected
    assert sorted(store.find_scans(from_json(to_json(query)))["uid"]) == expected
    assert len(expected) == SEARCHES[search]
    assert sorted(store.find(query & parse_query("kind = scan"))["name"]) == expected
    names = store.find(query & parse_query("kind = activity and name ~ scan:*"))["name"]
    assert sorted(name.removeprefix("scan:") for name in names) == expected
    # All of them were recorded by one run.
    if "not" not in search and "!=" not in search and " and " not in search and "all(" not in search:
        assert len(store.find_runs(query)) == bool(expected)


def test_not_success_or_never_stopped(tmp_path: Path) -> None:
    """Exactly the aborted, the failed, and those whose stop never came."""
    states = {"success": "success", "abort": "abort", "fail": "fail", "never": None}
    starts = {name: a_start(uid=f"{name}-0000") for name in states}
    documents = [*starts.values()]
    documents += [a_stop(starts[name], exit_status=status) for name, status in states.items() if status is not None]
    with stored(tmp_path, documents) as store:
        found = store.find_scans("stop.exit_status != success")
        assert found["uid"] == ["abort-0000", "fail-0000", "never-0000"]
        assert found["exit_status"] == ["abort", "fail", None]
        assert store.find_scans("not stop.exit_status exists")["uid"] == ["never-0000"]
        assert store.find_scans(stop("exit_status").one_of(["abort", "fail"]))["uid"] == ["abort-0000", "fail-0000"]


def test_a_listing_says_what_a_scan_is(tmp_path: Path) -> None:
    """By time; streams with the events that are there, each once; and scans without a start, which are listed too."""
    first, second = (
        a_start(time=1.5, scan_id=2**70, plan_name="scan", uid="one"),
        a_start(time=1.25, scan_id=7, uid="two"),
    )
    of = descriptor(first, {"det": key()}, "dark")
    orphan = descriptor(("start", {"uid": "three"}), {"det": key()})
    events = [event(of, n, {"det": n / 2}) for n in (1, 2)]
    with stored(tmp_path, [events[0], first, of, *events, second, orphan, a_stop(first)]) as store:
        found = store.find_scans()
        assert found["uid"] == ["two", "one", "three"]
        assert (found["scan_id"], found["plan"]) == ([7, None, None], [None, "scan", None])
        assert (found["streams"], found["rows"]) == ([[], ["dark"], ["primary"]], [[], [2], [0]])
        assert [str(time)[17:] for time in found["time"][:2]] == ["01.250000000", "01.500000000"]
        assert store.find_scans(limit=1)["uid"] == ["two"]
        assert store.find_scans("stream = primary")["uid"] == store.find_scans("name = three")["uid"] == ["three"]
        assert store.find_scans(at=1, as_of=store.sql("select epoch_ns(max(_time)) as t from stream.bluesky")["t"][0])
        with pytest.raises(InvalidInputError, match="no limit"):
            store.find_scans(limit=0)


def test_a_store_without_documents_has_no_scans(tmp_path: Path) -> None:
    with Job(tmp_path / "logs", 1) as job:
        job[0].data("x")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        assert len(store.find_scans()) == len(store.find_scans("start.a = 1 or max(data.det) > 0 or stream = x")) == 0
        assert len(store.find("start.a = 1")) == len(store.find_runs("start.a = 1")) == 0
        assert store.find("data.x not exists")["name"] == ["x"]


@pytest.mark.parametrize("function", ["sum", "mean", "min", "max"])
def test_a_sum_of_texts_is_refused_in_one_sentence(tmp_path: Path, function: str) -> None:
    first = a_start()
    of = descriptor(first, {"label": key("string"), "det": key()})
    documents = [first, of, *(event(of, n, {"label": "a", "det": float(n)}) for n in (1, 2))]
    with stored(tmp_path, documents) as store:
        with pytest.raises(InvalidInputError) as refused:
            store.find_scans(f"{function}(data.label) > 3")
        assert str(refused.value).startswith(f"data.label has no {function}: ")
        # Where nothing is called so, there is nothing to refuse.
        assert len(store.find_scans(f"{function}(data.other) > 3")) == 0
        assert len(store.find_scans("count(data.label) = 2 and all(data.label) ~ a")) == 1


VALUES: list[Any] = [
    0,
    1,
    -2,
    2.5,
    1.0,
    math.nan,
    math.inf,
    2**53 + 1,
    2**63,
    -(2**70),
    "Nickel",
    "",
    True,
    None,
    1e300,
]
LISTS: list[Any] = [[1, 2, 3], [[0.5, 2.5], [1.0]], [], [math.nan, 1.0], ["a", 1], [2**65, -1], list(range(300))]
NAMES = ["motor", "Det", "a.b", "time", "x__2", "img"]


def random_scan(dice: random.Random) -> list[Pair]:
    """Give a scan whose values are of any type, with descriptors that know of the keys or do not."""
    first = a_start(
        sample={
            "name": dice.choice(["Nickel", "Copper"]),
            "parts": dice.sample(VALUES, 2),
            "a": {"b": dice.choice(VALUES)},
        },
        **{"a.b": dice.choice(VALUES), "plan_name": dice.choice(["scan", "count"])},
    )
    documents: list[Pair] = [first]
    counts: dict[str, int] = {}
    for name in dice.sample(["primary", "dark", "base.line"], dice.randint(0, 2)):
        names = dice.sample(NAMES, dice.randint(1, 3))
        kinds = {each: dice.choice(["numbers", "whole", "mixed", "lists", "texts"]) for each in names}
        settings = {"cfg": {"data": {"gain": dice.choice(VALUES), "roi": dice.choice(LISTS)}, "timestamps": {}}}
        declared = {each: key(dice.choice(["number", "integer", "string", "array"])) for each in names}
        of = descriptor(first, declared, name, configuration=settings, object_keys={f"dev-{dice.randint(0, 2)}": names})
        counts[name] = dice.randint(0, 4)
        events = [
            event(of, n + 1, {each: random_value(dice, kinds[each]) for each in names}) for n in range(counts[name])
        ]
        documents += [of, *([page(events)] if events and dice.random() < 0.3 else events)]
        if events and dice.random() < 0.3:
            documents += [dice.choice(events)]
    if dice.random() < 0.7:
        documents.append(a_stop(first, counts, exit_status=dice.choice(["success", "fail", "abort"])))
    return documents


def random_value(dice: random.Random, kind: str) -> Any:
    if kind == "numbers":
        return dice.choice([0.5, -1.0, 2.5, 1e300])
    if kind == "whole":
        return dice.choice([0, 1, 5, 2.5])
    if kind == "texts":
        return dice.choice(["Nickel", "a"])
    return dice.choice(LISTS if kind == "lists" else VALUES)


class Asked(NamedTuple):
    """An open store, and the documents of its scans."""

    scans: dict[str, list[Pair]]
    store: Store

    def __repr__(self) -> str:
        """Be short: hypothesis shows it with each example."""
        return "Asked(...)"


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Random scans, dealt to three ranks in any order, some documents to two of them, in two compactions."""
    folder = tmp_path_factory.mktemp("scattered")
    dice = random.Random(4)
    scans = [random_scan(dice) for _ in range(60)]
    for turn in range(2):
        documents = [pair for scan in scans[turn::2] for pair in scan]
        dice.shuffle(documents)
        with Job(folder / "logs", 3) as job:
            for rank in range(3):
                mine = [pair for at, pair in enumerate(documents) if at % 3 == rank or dice.random() < 0.2]
                deliver(job, rank, mine)
        made(folder / "logs", folder / "prov.duckdb").close()
    every = [pair for scan in scans for pair in scan]
    uids = [scan[0][1]["uid"] for scan in scans]
    with made(folder / "logs", folder / "prov.duckdb") as store:
        yield Asked({uid: [(name[0], each) for name, each in folded(every, uid).items()] for uid in uids}, store)


@some.composite
def likely(draw: some.DrawFn) -> Condition:
    parts = ["sample.name", "sample.parts", "sample.a.b", "sample.a", "a.b", "plan_name", "no"]
    which = draw(
        some.one_of(
            some.builds(Field, some.just("start"), some.sampled_from(parts)),
            some.builds(Field, some.just("stop"), some.sampled_from(["exit_status", "num_events.primary", "reason"])),
            some.builds(Field, some.just("config"), some.sampled_from(["gain", "cfg.gain", "roi", "cfg"])),
            some.sampled_from([Field("stream"), Field("device"), Field("data_key")]),
            some.builds(
                Field,
                some.just("data"),
                some.sampled_from([*NAMES, "no"]),
                some.none() | some.sampled_from(FUNCTIONS),
                some.none() | some.sampled_from(["primary", "base.line"]),
            ),
        )
    )
    operators = [each for each in ALLOWED[which.holds] if each is not Operator.MATCHES]
    operator = draw(some.sampled_from(operators))
    scalars = [value for value in VALUES if value is not None]
    if which.of in FUNCTIONS[1:]:
        scalars = [value for value in scalars if type(value) in (int, float)]
    elif which.key is None or operator in (Operator.LIKE, Operator.CONTAINS, Operator.SIMILAR):
        scalars = ["primary", "dark", "dev-1", "motor", "Nick*", "Nikcel", "success", ""]
    if operator in (Operator.LT, Operator.LE, Operator.GT, Operator.GE):
        scalars = [value for value in scalars if type(value) is not bool and value == value]
    if operator is Operator.EXISTS:
        return Condition(which, operator)
    value = draw(some.sampled_from(scalars))
    other = draw(some.sampled_from(scalars))
    return Condition(which, operator, (value, other) if operator is Operator.IN else value)


@pytest.mark.timeout(40_000)
@settings(max_examples=many(2_000, 25), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(query=queries(likely()))
def test_random_searches_of_random_documents(scattered: Asked, query: Query) -> None:
    """Of values in typed columns, in the rest of rows, in columns of other types, before descriptors, and twice."""
    scans, store = scattered
    expected = found_by(query, scans)
    assert sorted(store.find_scans(query)["uid"]) == expected
    assert sorted(store.find_scans(parse_query(str(query)))["uid"]) == expected


def test_searches_written_in_python(ran: tuple[dict[str, Any], Store]) -> None:
    scans, store = ran
    for query in (
        data("motor").all_between(0, 5),
        (data("det", stream="primary").max() > 10) | start("sample.name").similar("Nikcel", at=0.85),
        (data("motor").sum() >= 15)
        & (data("motor").mean() < 3)
        & (data("motor").min() == 0)
        & (data("det").count() > 1),
    ):
        assert sorted(store.find_scans(query)["uid"]) == found_by(query, scans) != []


def test_sums_over_images_in_files(tmp_path: Path) -> None:
    """Of datums and of stream datums; in bounded memory; and what cannot be read is said."""
    write_npys(tmp_path / "npy", images(3))
    write_hdf5(tmp_path / "data.h5", images(5) + 1)
    datums = with_datums("NPY_SEQ", tmp_path / "npy", {}, [{"index": n} for n in range(3)], (3, 4))
    streamed = with_stream("application/x-hdf5", uri_of(tmp_path / "data.h5"), {"dataset": DATA}, (1, 3, 4), [(0, 5)])
    one, two = datums[0][1]["uid"], streamed[0][1]["uid"]
    first, second = int(images(3).sum()), int((images(5) + 1).sum())
    with stored(tmp_path, [*datums, *streamed]) as store:
        for search, expected in {
            f"sum(data.img) = {first}": [one],
            f"sum(data.img) > {first}": [two],
            f"sum(data.img) < {second}": [one],
            "count(data.img@primary) = 60": [two],
            "min(data.img) = 0 and data.img = 7 and not data.img = 8": [one],
            "all(data.img) >= 1": [two],
            "data.img exists": [one, two],
        }.items():
            assert sorted(store.find_scans(search)["uid"]) == sorted(expected), search
        (tmp_path / "data.h5").unlink()
        with pytest.warns(BraidWarning, match=f"data.img of scan {two} is not searched as a whole: .*data.h5"):
            assert store.find_scans("sum(data.img) > 0")["uid"] == [one]


PEAK = """
import resource, sys
import braid_hpc as braid

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with braid.open(sys.argv[1]) as store:
    store.find_scans("data.n > 0")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert store.find_scans("sum(data.img) > 0")["uid"]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_a_sum_over_large_images_takes_little_memory(tmp_path: Path) -> None:
    """Of half a GiB."""
    with h5py.File(tmp_path / "data.h5", "w") as file:
        made_of = file.create_dataset(DATA, (64, 2048, 2048), "uint16", chunks=(1, 2048, 2048), compression=1)
        for number in range(0, 64, 16):
            made_of[number : number + 16] = number + 1
    documents = with_stream(
        "application/x-hdf5", uri_of(tmp_path / "data.h5"), {"dataset": DATA}, (1, 2048, 2048), [(0, 64)]
    )
    stored(tmp_path, documents).close()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "prov.duckdb")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300
