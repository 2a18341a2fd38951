"""``braid dataset``: datasets in folders, at urls and in Quilt registries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.output import Command, Group, Stores, emit, format_option, messages, stores_option
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["dataset"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _place(function: _Function) -> _Function:
    """Add what says where a dataset lies."""
    for each in (
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help="For the storage of a url, such as endpoint_url=http://127.0.0.1:9000; may be given several times.",
        ),
        click.option("--package", metavar="NAME", default=None, help="PLACE is a Quilt registry: this package of it."),
        click.argument("place"),
    ):
        function = each(function)
    return function


@click.group(cls=Group, examples=["braid dataset show datasets/cells", "braid dataset verify package"])
def dataset() -> None:
    """Show datasets that lie in folders or at urls, verify and export them."""


@dataset.command(
    cls=Command,
    examples=["braid dataset show datasets/cells", "braid dataset show registry --package lab/cells --format csv"],
)
@_place
@format_option
def show(place: str, package: str | None, options: tuple[str, ...], form: str) -> None:
    """List the rows of the dataset in PLACE: where each file is, its digests, and what is known of it."""
    table = _opened(place, package, _options(options)).table()
    emit(table.column_names, (list(row.values()) for row in table.to_pylist()), form)


@dataset.command(
    cls=Command, examples=["braid dataset verify package", "braid dataset verify s3://bucket/package --quick"]
)
@_place
@click.option("--quick", is_flag=True, help="Look at sizes only, and read nothing.")
@click.pass_context
def verify(context: click.Context, place: str, package: str | None, options: tuple[str, ...], quick: bool) -> None:
    """Say whether all files of the dataset in PLACE are those of its manifest: 1 if some are not."""
    known = _options(options)
    found = _opened(place, package, known)
    problems = found.problems(verify="size" if quick else "digest", options=known)
    for line in problems:
        click.echo(line)
    files, looked = sum(1 for _ in found.files()), "sizes" if quick else "digests"
    good = files - len(problems)
    messages.print_as_is(f"{good} of {files} files of {found.name} have their {looked}; version {found.version}")
    context.exit(1 if problems else 0)


@dataset.command(
    cls=Command,
    examples=[
        "braid dataset export datasets/cells package --store prov.duckdb --require-clean",
        "braid dataset export datasets/cells s3://bucket/package --option endpoint_url=http://127.0.0.1:9000",
        "braid dataset export datasets/cells registry --quilt lab/cells",
    ],
)
@_place
@click.argument("to")
@click.option("--how", is_flag=True, help="Say in it which code, commands and inputs made it, as the store knows.")
@click.option("--require-clean", is_flag=True, help="Refuse sources with uncommitted changes; the store knows that.")
@click.option("--license", "licence", metavar="URL", default=None, help="Under which it may be used.")
@click.option("--quilt", metavar="NAME", default=None, help="TO is a Quilt registry: make this package in it.")
@stores_option
def export(
    place: str,
    to: str,
    package: str | None,
    options: tuple[str, ...],
    how: bool,
    require_clean: bool,
    licence: str | None,
    quilt: str | None,
    store: Stores,
) -> None:
    """Copy the dataset in PLACE to TO, a folder or url that is not there yet, with each digest checked on the way."""
    from braid_hpc.results import export_package

    known = _options(options)
    found = _opened(place, package, known)
    about: dict[str, Any] = {"options": known, **({} if licence is None else {"license": licence})}

    def copy(**more: Any) -> Any:
        if quilt is not None:
            return export_package(found, to, quilt, **about, **more)
        return found.export(to, **about, **more)

    if how or require_clean:
        with open_chosen(store) as opened:
            made = copy(store=opened, require_clean=require_clean)
    else:
        made = copy()
    messages.print_as_is(f"{made.name}, {len(made)} members, version {made.version}: {_named(to, quilt)}")


def _named(to: str, quilt: str | None) -> str:
    there = to if "://" in to else str(Path(to).absolute())
    return there if quilt is None else f"package {quilt} in {there}"


def _opened(place: str, package: str | None, options: dict[str, str]) -> Any:
    from braid_hpc.results import open_dataset, open_package

    if package is not None:
        return open_package(place, package, options=options)
    return open_dataset(place, options=options)


def _options(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for key, equals, _ in pairs:
        if not equals or not key.isidentifier():
            raise InvalidInputError(f"--option is KEY=VALUE, such as endpoint_url=http://127.0.0.1:9000, not {key!r}")
    return {key: value for key, _, value in pairs}
