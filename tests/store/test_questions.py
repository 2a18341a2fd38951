"""What all questions have in common: a moment that they are asked at, and answers that other libraries take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import networkx as nx
import pyarrow as pa
import pytest

import braid_hpc as braid
from braid_hpc.cli.app import braid as program
from braid_hpc.store.store import Store
from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError
from tests.jobs import made, one

#: Methods of a store that take no at= and no as_of=, and why not.
OF_NO_MOMENT = {
    "sql": "the statement says itself which rows it reads",
    "snapshots": "lists the moments themselves, with what each brought",
    "diff_snapshots": "its two arguments are the moments",
    "digests": "compares whole stores",
    "actions": "what is due is due now",
    "run_actions": "so it is run now",
    **dict.fromkeys(
        ("invalidate", "revalidate", "retract", "on_invalid", "deny", "allow", "tag", "untag", "note"),
        "makes a statement, which is of now",
    ),
    **dict.fromkeys(("refresh", "close"), "is no question"),
    "restricted": "opens another handle, which has moments of its own",
}

#: Methods that take a snapshot and no time: what they say of is known by the snapshot that brought it alone.
OF_SNAPSHOTS = {"members", "sets", "sets_with", "redo", "why_run"}

#: Commands likewise.
COMMANDS_OF_SNAPSHOTS = {"tasks cost", "why-run"}

#: Commands that open a store and take no --at and no --as-of.
COMMANDS_OF_NO_MOMENT = {
    "sql": "as Store.sql",
    "log": "as Store.snapshots",
    **dict.fromkeys(("actions list", "actions run"), "as Store.actions"),
    **dict.fromkeys(
        ("invalidate", "revalidate", "retract", "deny", "allow", "tag", "note"), "states something, which is of now"
    ),
    **dict.fromkeys(
        ("compact", "rebuild", "restrict", "create", "demo", "ingest bluesky"),
        "makes a store, or takes something into it",
    ),
    "campaign verify": "looks at files as they are now",
    **dict.fromkeys(("campaign archive", "campaign restore"), "moves files as they are now"),
    "todo": "leases what is to be done now",
    "tasks rerun": "runs it now",
    "dataset export": "copies files as they are now",
    **dict.fromkeys(("files get", "files list", "files remove"), "of files whose bytes are there, and never change"),
}


@pytest.fixture
def store(tmp_path: Path) -> braid.Store:
    """A model that was tested, and whose rows and tests came in two merges."""
    for number in (1, 2):
        with one(tmp_path / "logs") as job:
            scan = job[0].data("scan", digest="d:1", tags={"n": number}, uri=f"s3://scan/{number}")
            with job[0].activity("fit", used=scan) as fit:
                net = fit.model("net", digest=f"m:{number}", derived_from=[scan, "model:net"] if number > 1 else scan)
            job[0].statement("rmse", about=net, passed=True)
            job[0].stream("hits", {"n": "int64"}).extend({"n": [number, number]})
        made(tmp_path / "logs", tmp_path / "prov.duckdb").close()
    return braid.open(tmp_path / "prov.duckdb")


def test_every_question_takes_a_snapshot_and_a_time() -> None:
    """A method that takes neither is listed here with its reason, and takes neither."""
    for name, method in inspect.getmembers(Store, inspect.isfunction):
        if not name.startswith("_"):
            takes = {"at", "as_of"} & set(inspect.signature(method).parameters)
            moments = {"at"} if name in OF_SNAPSHOTS else {"at", "as_of"}
            assert takes == (set() if name in OF_NO_MOMENT else moments), name


def test_every_command_that_asks_takes_a_snapshot_and_a_time() -> None:
    def named(group: click.Group, before: str) -> list[tuple[str, click.Command]]:
        context = click.Context(group)
        found = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                found += named(command, f"{before}{name} ")
            if not isinstance(command, click.Group) or command.invoke_without_command:
                found.append((f"{before}{name}", command))
        return found

    for name, command in named(program, ""):
        names = {parameter.name for parameter in command.params}
        # One without --store asks none.
        if "store" not in names:
            continue
        takes = {"at", "as_of"} & names
        moments = {"at"} if name in COMMANDS_OF_SNAPSHOTS else {"at", "as_of"}
        assert takes == (set() if name in COMMANDS_OF_NO_MOMENT else moments), name


ANSWERS: dict[str, Callable[[Store], Any]] = {
    "lineage": lambda store: store.lineage("net"),
    "impact": lambda store: store.impact("scan"),
    "graph": lambda store: store.graph("net"),
    "why": lambda store: store.why("net", "scan"),
    "how": lambda store: store.how("net"),
    "where": lambda store: store.where("scan"),
    "stale": lambda store: store.stale("net@1"),
    "complete": lambda store: store.complete("net"),
    "history": lambda store: store.history("net"),
    "diff": lambda store: store.diff("net@1", "net@2"),
    "diff of activities": lambda store: store.diff("fit@1", "fit@2"),
    "diff_snapshots": lambda store: store.diff_snapshots(1, 2),
    "find": lambda store: store.find(kind="model"),
    "find_runs": lambda store: store.find_runs(),
    "annotations": lambda store: store.annotations("net"),
    "find_scans": lambda store: store.find_scans(),
    "same_content": lambda store: store.same_content("scan"),
    "table": lambda store: store.table("hits"),
    "tests": lambda store: store.tests("net"),
    "compare_tests": lambda store: store.compare_tests("net@2", against="net@1"),
    "newly_failing": lambda store: store.newly_failing("net@2", against="net@1"),
    "check_policy": lambda store: store.check_policy(),
    "actions": lambda store: store.actions(),
    "snapshots": lambda store: store.snapshots(),
    "sql": lambda store: store.sql("select 1"),
}
GRAPHS = ("lineage", "impact", "graph", "why", "how", "stale", "history")


def test_every_answer_of_more_than_one_thing_is_an_arrow_table(store: braid.Store) -> None:
    """Those with nodes and edges are graphs too."""
    with store:
        for name, ask in ANSWERS.items():
            answer = ask(store)
            assert pa.table(answer).column_names, name
            assert "<table" in answer._repr_html_(), name
            assert hasattr(answer, "to_networkx") == hasattr(answer, "to_prov") == (name in GRAPHS), name
            if name in GRAPHS:
                assert isinstance(answer.to_networkx(), nx.MultiDiGraph)
                assert len(answer.to_prov().get_records()) >= len(answer.nodes)


def test_rows_of_a_stream_are_those_of_the_moment(store: braid.Store) -> None:
    with store:
        assert sorted(store.table("hits")["n"]) == [1, 1, 2, 2]
        assert store.table("hits", at=1)["n"] == [1, 1]
        times = store.sql("select distinct epoch_ns(_time) as t from stream.hits order by t")["t"]
        assert store.table("hits", as_of=times[0])["n"] == [1, 1]
        assert store.table("hits", as_of=times[1], at=1)["n"] == [1, 1]
        assert len(store.table("hits", as_of=times[1])) == 4
        first = store.sql("select epoch_ns(min(time)) as t from versions where name = 'scan'")["t"][0]
        with pytest.raises(NotFoundError, match=r"there is no stream 'hits' in prov\.duckdb at that moment"):
            store.table("hits", as_of=first)
        with pytest.raises(InvalidInputError, match="there is no snapshot 3"):
            store.table("hits", at=3)
