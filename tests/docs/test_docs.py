"""The documentation says what is so: its programs run, its commands exist, its tables are those of the code."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import msgspec
import pytest

import braid_hpc
from braid_hpc.cli.app import braid
from braid_hpc.cli.program import USAGE
from braid_hpc.log import bundle
from braid_hpc.log.places import SITE_VARIABLES
from braid_hpc.reading.directories import find_writers
from braid_hpc.reading.newer import HEADER_MEMBERS
from braid_hpc.run import launcher
from braid_hpc.snapshots.schema import PUBLIC_VIEWS
from braid_hpc.vocabulary import errors, payloads, task_payloads
from braid_hpc.vocabulary.codes import Code, Outcome, Relation, WriterState
from braid_hpc.vocabulary.columns import FIXED, VARIABLE
from tests.docs.commands import extras, fault
from tests.docs.pages import DOCS, ROOT, blocks, pages, run_page
from tests.ranks import RunRanks

#: The programs of one more page run in test_worked_queries.py, with what the page asks of their store.
PROGRAMS = [
    page
    for page in pages()
    if page.name != "worked-queries.md" and any(block.kind != "console" for block in blocks(page))
]
EVERYWHERE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages()]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, heading: str) -> str:
    """Give what stands below a heading, up to the next one of its rank or a higher one."""
    level = heading.partition(" ")[0]
    assert f"\n{heading}\n" in text, f"there is no heading {heading!r}"
    rest = text.partition(f"\n{heading}\n")[2]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Give the rows of the tables in a text, without their heads; code without its marks."""
    found = []
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        for line in table.splitlines()[2:]:
            found.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return found


# ---------------------------------------------------------------------- programs and commands


#: What everybody reads first. The other pages take minutes in all, and the tutorials run the demonstrations, which have
#: tests of their own.
FIRST = ("concepts", "identity", "invalidation", "log-format", "quickstart", "store-format", "tasks")
RUN = [pytest.param(page, marks=[pytest.mark.slow] * (page.stem not in FIRST)) for page in PROGRAMS]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_programs_of_a_page_run(page: Path, run_ranks: RunRanks, tmp_path: Path) -> None:
    """All of a page's blocks in order: Python in one interpreter, files written, console lines given to a shell."""
    assert run_page(page, run_ranks, tmp_path / "page").returncode == 0


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_commands_of_a_page_exist(page: Path) -> None:
    """Commands, options, make targets, modules and programs that console lines name are there."""
    if page.name == "CONTRIBUTING.md":
        commands = [c for block in blocks(page) for c in block.commands if c.startswith(("make ", "braid "))]
    else:
        commands = [command for block in blocks(page) for command in block.commands]
    files = {block.name for block in blocks(page)} | set(re.findall(r"`([a-z]+\.py)`", page.read_text()))
    files |= {words[-1] for command in commands if (words := command.split())[0] == "echo"}
    faults = {command: found for command in commands if (found := fault(command, files))}
    assert faults == {}


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_extras_of_a_page_exist(page: Path) -> None:
    named = {extra for found in re.findall(r"braid_hpc\[([a-z,]+)\]", page.read_text()) for extra in found.split(",")}
    assert named <= extras()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Those between pages are checked when the documentation is built."""
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []


def test_trials_of_the_page_on_reliability_exist() -> None:
    """Every promise names the tests that hold it."""
    page = read("reliability.md")
    for row in rows(section(page, "## What is promised of a rank's log")):
        assert re.search(r"tests/|all of them", row[2]), row[0]
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="Sphinx is installed by `make docs` only")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "index.html").exists()


# ---------------------------------------------------------------------- command line


def commands_of(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{prefix}{name} ")


def test_every_command_has_help_and_a_section() -> None:
    page = read("command-line.md")
    commands = dict(commands_of(braid))
    assert [name for name, command in commands.items() if not command.help] == []
    given = {name: USAGE.splitlines() if name == "run" else command.examples for name, command in commands.items()}  # type: ignore[attr-defined]
    examples = {name: [line.strip() for line in lines if f"braid {name}" in line] for name, lines in given.items()}
    assert [name for name, lines in examples.items() if not lines] == []
    lines = [line for name, lines in examples.items() for line in lines if name != "run"]
    assert {line: found for line in lines if (found := fault(line, set()))} == {}
    sections = re.findall(r"^##+ ([a-z -]+)$", page, re.MULTILINE)
    assert sorted(sections) == sorted(commands)
    shown = re.findall(r"^```\{command-help\} ([a-z -]+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(commands)


def test_exit_codes_are_those_of_the_errors() -> None:
    for name, builtin, _, code in rows(section(read("api.md"), "## Errors")):
        kind = getattr(errors, name)
        assert kind.exit_code == int(code), name
        assert [base.__name__ for base in kind.__bases__] == ["BraidError", builtin]
    named = {row[0] for row in rows(section(read("api.md"), "## Errors"))}
    assert named == {name for name in errors.__all__ if name.endswith("Error")} - {"BraidError"}


# ---------------------------------------------------------------------- Python interface, environment


def test_every_root_name_has_a_place() -> None:
    page = read("api.md")
    names = [name for name in braid_hpc.__all__ if not name.startswith("__")]
    listed = re.findall(r"^\.\. auto\w+:: (?:braid_hpc\.)?(\w+)(?:\(\))?$", page, re.MULTILINE)
    assert [name for name in names if name not in listed] == []


def test_variables_are_those_that_are_read() -> None:
    page = read("environment.md")
    used = set()
    for path in (ROOT / "braid_hpc").rglob("*.py"):
        used |= set(re.findall(r"\bBRAID_[A-Z_]+\b", path.read_text()))
    assert {row[0] for row in rows(section(page, "## Read by braid_hpc"))} == used
    ranks = rows(section(page, "## Rank and size"))
    assert [(rank, size) for _, rank, size in ranks] == [(rank, size) for _, rank, size in launcher._RANKS]
    jobs = [row[1:] for row in rows(section(page, "## Batch systems"))]
    assert jobs == [list(names) for _, *names in launcher._JOBS]
    assert [name for name in SITE_VARIABLES if f"`{name}`" not in page] == []


# ---------------------------------------------------------------------- vocabulary


def test_states_and_relations_are_all_explained() -> None:
    page = read("concepts.md")
    states = [row[0] for row in rows(section(page, "## What *complete* means"))]
    assert sorted(states) == sorted(WriterState)
    relations = [row[0] for row in rows(section(page, "## Activities and edges"))]
    assert sorted(relations) == sorted(Relation)


# ---------------------------------------------------------------------- log format


@pytest.fixture
def example(tmp_path: Path, run_ranks: RunRanks) -> Path:
    """A directory with the log of one rank, and a store made of it."""
    script = """
        import braid_hpc as braid

        with braid.job("example", log_dir="logs") as run:
            run.stream("hits", {"frame": "int32"}).append(1)
        braid.compact("logs", "prov.duckdb")
        """
    run_ranks(1, script, cwd=tmp_path)
    return tmp_path


def test_codes_are_those_of_the_log() -> None:
    listed = [(int(row[0]), row[1]) for row in rows(section(read("log-format.md"), "## Codes")) if row[0].isdigit()]
    assert listed == [(code.value, code.name) for code in Code]


def test_outcomes_are_those_of_the_log() -> None:
    said = re.search(r"An outcome is (.*), in the low byte", read("log-format.md"))
    assert said is not None
    assert said[1] == ", ".join(f"{outcome.value} {outcome.name.lower()}" for outcome in Outcome)


def test_structures_are_those_of_the_log() -> None:
    listed: dict[str, list[str]] = {}
    name = ""
    for first, fields, *_ in rows(section(read("log-format.md"), "### Structures")):
        name = first.strip("*") or name
        listed.setdefault(name, []).extend(fields.split(", "))
    known = {}
    for kind in (*vars(payloads).values(), *(each for name, each in vars(task_payloads).items() if name != "Done")):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct:
            known[kind.__name__] = sorted(kind.__struct_fields__)
    assert {name: sorted(fields) for name, fields in listed.items()} == known


def test_types_are_those_of_streams() -> None:
    for page, heading in (
        ("log-format.md", "## Rows and batches of streams"),
        ("store-format.md", "## Stream tables"),
    ):
        text = section(read(page), heading)
        listed = {name for row in rows(text) for name in row[0].split(", ") if not name.startswith("_")}
        assert listed == {*FIXED, *VARIABLE}, page


def test_header_is_the_one_that_is_written(example: Path) -> None:
    (directory,) = find_writers(example / "logs")
    header = json.loads((directory / "header.json").read_bytes())
    listed = {name for row in rows(section(read("log-format.md"), "## header.json")) for name in row[0].split(", ")}
    assert set(header) <= listed
    assert listed - set(header) <= {"script", "script_digest", "git"}
    assert listed - {"check"} == HEADER_MEMBERS


def test_records_of_bundles_are_those_that_are_written() -> None:
    page = read("bundle-format.md")
    with tarfile.open(fileobj=io.BytesIO(bundle.pack_member(bundle.ROUND, b"", time=1))) as tar:
        (member,) = tar
    tables = rows(section(page, "## Members"))
    assert [row[0] for row in tables if row[0].startswith("BRAID.")] == list(member.pax_headers)
    assert f"# Node bundle format {bundle.BUNDLE_MAJOR}.{bundle.BUNDLE_MINOR}\n" in page
    assert {bundle.DESCRIPTION, bundle.ROUND, "<writer>/<file>"} <= {row[0] for row in tables}
    assert f"at most {bundle.LARGEST_PIECE >> 20} MiB" in page
    assert f"more than {bundle.ZEROS_LEFT_OUT >> 20} MiB beyond" in page


# ---------------------------------------------------------------------- store format


def test_tables_are_those_of_a_store(example: Path) -> None:
    """Every table and view with its columns, their types and their order; none is missing, none is made up."""
    with duckdb.connect(str(example / "prov.duckdb"), read_only=True) as connection:
        found: dict[str, list[list[str]]] = {}
        for table, column, kind in connection.execute(
            "select table_name, column_name, data_type from information_schema.columns where table_schema = 'main' "
            "order by table_name, ordinal_position"
        ).fetchall():
            found.setdefault(table, []).append([column, kind])
        system = connection.execute(
            "select column_name, data_type from information_schema.columns where table_schema = 'stream' "
            "order by ordinal_position"
        ).fetchall()
    page = read("store-format.md")
    names = re.findall(r"^### `(\w+)`$", page, re.MULTILINE)
    listed = {name: [row[:2] for row in rows(section(page, f"### `{name}`"))] for name in names}
    assert listed == found
    said = [tuple(row[:2]) for row in rows(section(page, "## Stream tables")) if row[0].startswith("_")]
    assert said == system[:-1]


def test_views_of_the_other_schema_are_those_of_a_store(example: Path) -> None:
    with duckdb.connect(str(example / "prov.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns where table_schema = 'astra' "
            "and table_name in ('task', 'parameter', 'task_parameter', 'output_interface') "
            "order by table_name, ordinal_position"
        ).fetchall()
    text = section(read("store-format.md"), "## The schema `astra`")
    listed = [
        (name, *row[:2])
        for name, about in re.findall(r"^`astra\.(\w+)`(.*?)(?=^`astra\.|\Z)", text, re.MULTILINE | re.DOTALL)
        for row in rows(about)
    ]
    assert sorted(listed) == sorted(found)


def test_promised_names_are_those_of_the_schema() -> None:
    promised = section(read("store-format.md"), "## What is promised").partition(" keep their names")[0]
    assert set(re.findall(r"`(\w+)`", promised)) == set(PUBLIC_VIEWS)
