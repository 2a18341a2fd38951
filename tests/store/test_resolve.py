"""From references to nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import BraidError, ConflictError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.references import format_reference
from tests.jobs import Job, count, made, one, rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("asked")
    logs = folder / "logs"
    with Job(logs, 2) as job:
        run = job[0]
        first = run.model("net", digest="w:0", derived_from=run.data("d", digest="x:0"))
        second = run.model("net", digest="w:1", derived_from=first)
        run.model("net", digest="w:2", derived_from=first)
        run.data("both", digest="x:1")
        run.model("both", digest="x:2")
        run.data('odd "name" @ 3 #4 🧵\nx', digest="x:3")
        with run.activity("train", used=second):
            pass
        with job[1].activity("train"):
            pass
        run.stream("s", {"x": "int32"})
    with made(logs, folder / "prov.duckdb") as opened:
        yield opened


@pytest.mark.parametrize(
    ("reference", "ref"),
    [
        ("model:net@1", "model:net@1"),
        ("net@2", "model:net@2"),
        ("model:net", "model:net@3"),
        ("net@latest", "model:net@3"),
        ("activity:train", "activity:train@2"),
        ("train@1", "activity:train@1"),
        ("data:both", "data:both@1"),
        ("stream:s", "stream:s@1"),
        ('data:"odd \\"name\\" @ 3 #4 🧵\nx"', 'data:"odd \\"name\\" @ 3 #4 🧵\nx"@1'),
        ("  model:net@1  ", "model:net@1"),
    ],
)
def test_what_references_name(store: Store, reference: str, ref: str) -> None:
    assert store.get(reference).ref == ref


def test_the_newest_is_what_nothing_revises(store: Store) -> None:
    """Of several the last that was made; the others are told."""
    answer = store.lineage("model:net")
    assert answer.root == "model:net@3"
    assert answer.others == ["model:net@2"]


def test_a_name_of_activities_means_the_newest(tmp_path: Path) -> None:
    """And the answer says that there are others, with their numbers."""
    with one(tmp_path / "logs") as job:
        for _ in range(3):
            with job[0].activity("reduce") as act:
                act.data("mask", digest="x:1")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        for reference in ("reduce", "activity:reduce", "activity:reduce@latest"):
            answer = opened.lineage(reference)
            assert (answer.root, answer.others) == ("activity:reduce@3", ["activity:reduce@2", "activity:reduce@1"])
            assert [node.ref for node in answer.nodes if node.distance == 0] == ["activity:reduce@3"]
        told = "the newest of 3 activities of that name; the others: activity:reduce@1 to activity:reduce@2"
        assert answer.tree().splitlines()[-1] == told
        assert answer.to_dict()["others"] == answer.others
        assert opened.lineage("activity:reduce@2").others == []


def test_the_newest_as_of_a_snapshot(tmp_path: Path) -> None:
    """Versions that came later do not count, and neither do edges."""
    logs = tmp_path / "logs"
    with one(logs) as job:
        first = job[0].model("net", digest="w:0")
        made(logs, tmp_path / "prov.duckdb").close()
        job[0].model("net", digest="w:1", derived_from=first)
    with made(logs, tmp_path / "prov.duckdb") as opened:
        assert opened.get("model:net").ref == "model:net@2"
        assert opened.get("model:net", at=1).ref == "model:net@1"
        with pytest.raises(InvalidInputError, match="there is no snapshot 3: this store has 1 to 2"):
            opened.get("model:net", at=3)
        for wrong in (0, -1, True, "1", 1.0):
            with pytest.raises(InvalidInputError, match=r"is no snapshot|there is no snapshot"):
                opened.get("model:net", at=wrong)  # type: ignore[arg-type]


def test_ids(store: Store) -> None:
    """Whole, or the beginning of one."""
    for uid, kind, name, version in rows(store, "select uid, kind, name, version from nodes"):
        for length in (12, 32):
            assert store.get(f"id:{uid[:length]}").ref == format_reference(kind, name, version)
        assert store.get(f"id:{uid.upper()}").uid == uid


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("model:\udcff", NotFoundError, "is not in this store"),
        ("model:nte", NotFoundError, "model:nte is not in this store; near it is model:net$"),
        ("nothing", NotFoundError, "nothing is not in this store$"),
        ("model:net@9", NotFoundError, "model:net has no version 9: it has 1 to 3"),
        ("data:net", NotFoundError, "data:net is not in this store; near it is model:net$"),
        ("model:NET", NotFoundError, "model:NET is not in this store; near it is model:net$"),
        ("a", NotFoundError, "a is not in this store$"),
        ("something else", NotFoundError, "something else is not in this store$"),
        ("id:ffffffffff", NotFoundError, "id:ffffffffff is not in this store"),
        ("both", ConflictError, "both fits several records: say which of data:both, model:both"),
        ("model:net@x", InvalidInputError, "'x' in 'model:net@x' is not a version"),
        ("", InvalidInputError, "an empty reference names nothing"),
        ("id:xyz", InvalidInputError, "is not an id"),
        ("stream:s#3", InvalidInputError, "names a row of a stream"),
        ('"open', InvalidInputError, "quotes"),
    ],
)
def test_what_is_wrong_is_said(store: Store, reference: str, error: type[Exception], words: str) -> None:
    """One sentence, which names what was given and what there is."""
    with pytest.raises(error, match=words) as caught:
        store.get(reference)
    assert "\n" not in str(caught.value)


def test_the_beginning_of_several_ids(tmp_path: Path) -> None:
    """The candidates are told."""
    with one(tmp_path / "logs") as job:
        # With 700 ids, two of the 65,536 beginnings of four digits are all but certain to meet.
        for n in range(700):
            job[0].data("d", digest=f"x:{n}")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as opened:
        query = "select left(uid, 4) from nodes group by 1 having count(*) > 1 limit 1"
        ((prefix,),) = rows(opened, query)
        with pytest.raises(ConflictError, match=f"id:{prefix} is the beginning of several ids: id:{prefix}"):
            opened.get(f"id:{prefix}")


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=20, unique=True))
def test_any_name_can_be_asked_for(tmp_path: Path, names: list[str]) -> None:
    """Whatever a record is called, the reference that an answer prints leads back to it."""
    import os

    folder = tmp_path / os.urandom(8).hex()
    with one(folder / "logs") as job:
        for name in names:
            job[0].data(name, digest="x:0")
    with made(folder / "logs", folder / "prov.duckdb") as opened:
        assert count(opened, "versions") == len(names)
        for name in names:
            node = opened.get(format_reference("data", name))
            assert node.name == name
            assert opened.get(node.ref) == node


def test_a_sentence_about_any_name_is_short_and_of_one_line(tmp_path: Path) -> None:
    """Line breaks are marked, 64 KiB are cut and counted, in what was asked for and in what is near it."""
    with one(tmp_path / "logs") as job:
        for kind in ("data", "model"):
            job[0].record(kind, "two\nlines", digest="x:1")
            job[0].record(kind, "y" * 65_536, digest="x:1")
    with made(tmp_path / "logs", tmp_path / "prov.duckdb") as store:
        for text, said in (
            ('"no\nlines"', "no⏎lines"),
            ("x" * 65_536, r"x\.\.\. \(65,536 letters\) is not in this store"),
            ('"two\nlines"', "fits several records: say which of data:"),
            ("y" * 65_536, "fits several records"),
            ('data:"two\nlines"@7', "has no version 7: it has 1 to 1"),
            ("data:" + "y" * 65_536 + "@7", "has no version 7"),
        ):
            with pytest.raises(BraidError, match=said) as raised:
                store.get(text)
            assert "\n" not in str(raised.value)
            assert len(str(raised.value)) < 1500
