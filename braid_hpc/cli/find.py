"""``braid find``: versions and activities of which something holds."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING, Any

import click

from braid_hpc.cli.annotate import own_option, with_own
from braid_hpc.cli.ask import open_chosen
from braid_hpc.cli.conditions import parse_condition
from braid_hpc.cli.output import Command, Stores, emit, format_option, messages, stores_option
from braid_hpc.vocabulary.errors import BraidWarning, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    # Other commands need not wait for it.
    from braid_hpc.queries.tree import Query
    from braid_hpc.store.store import Store

__all__ = ["find", "tagged"]


@click.command(
    cls=Command,
    examples=[
        "braid find energy_keV=71.7",
        "braid find 'kind = model and energy_keV > 70 and not (rank = 3 or name ~ scan-*)'",
        "braid find sample=Nickel moving=true --kind data --format json",
        "braid find --text energy_keV=71.7",
        "braid find --uri doi:10.17038/XSD/1344262",
        "braid find 'invalid and time >= 2026-11-21' --at 1",
    ],
)
@click.argument("searches", nargs=-1, metavar="[SEARCH|KEY=VALUE]...")
@click.option("--text", "as_text", is_flag=True, help="KEY=VALUE only: values are text, however they read.")
@click.option("--uri", "uris", multiple=True, help="A place or an identifier.")
@click.option("--kind", default=None, help="Only records of this kind; 'activity' for activities.")
@click.option("--at", type=int, default=None, metavar="SNAPSHOT", help="What the store knew at that snapshot.")
@click.option("--as-of", default=None, metavar="TIME", help="What had been declared, begun and said by then.")
@click.option("--limit", type=int, default=None, metavar="N", help="How many rows at most.")
@own_option
@stores_option
@format_option
def find(
    searches: tuple[str, ...],
    as_text: bool,
    uris: tuple[str, ...],
    kind: str | None,
    at: int | None,
    as_of: str | None,
    limit: int | None,
    own: str | None,
    store: Stores,
    form: str,
) -> None:
    """Find versions and activities of which all that is asked holds.

    The page 'filter' has the language. energy_keV=71.7 finds the number (an int or a float that is equal),
    moving=true the truth value, sample=Nickel the text. The text 71.7 is another question: 'energy_keV="71.7"', or
    --text. A key that holds an equals sign stands in double quotes: '"a=b"=3'.
    """
    if not searches and not uris and kind is None:
        raise InvalidInputError(
            "nothing is asked for: give a search such as 'kind = model', KEY=VALUE, --uri or --kind"
        )
    from braid_hpc.queries.tree import And
    from braid_hpc.store.searching import READ_AS_TAG, misspelt

    notes: list[str] = []
    asked = [_read(text, notes, as_text=as_text) for text in searches]
    query = None if not asked else asked[0] if len(asked) == 1 else And(tuple(asked))
    with open_chosen(store) as opened:
        with_own(opened, own)
        with warnings.catch_warnings():
            # They are said in the words of the command line.
            warnings.filterwarnings("ignore", f".*{READ_AS_TAG}", BraidWarning)
            table = opened.find(query, uri=uris, kind=kind, at=at, as_of=as_of, limit=limit)
        doubts = [] if query is None or not len(table) else misspelt(opened, query)
        if query is not None and not len(table):
            notes += _hints(opened, query)
    rows = [(row["ref"], f"id:{row['uid']}", row["time"], row["digest"]) for row in table]
    if not emit(("ref", "id", "time", "digest"), rows, form, nothing=""):
        whats = (*searches, *(f"the uri {uri}" for uri in uris), *([] if kind is None else [f"the kind {kind}"]))
        raise _nothing(whats, notes)
    for doubt in doubts:
        messages.print_as_is(doubt)


def _read(text: str, notes: list[str], *, as_text: bool) -> Query:
    """Read one word of the command line: a search, or what is none and yet a condition on a tag."""
    from braid_hpc.queries.fields import FAMILIES, FIELDS
    from braid_hpc.queries.parse import parse_query

    if as_text:
        return _tag(*parse_condition(text, as_text=True))
    try:
        return parse_query(text)
    except InvalidInputError as error:
        try:
            key, value = parse_condition(text)
        except InvalidInputError:
            raise error from None
        if key in FIELDS or key.partition(".")[0] in FAMILIES or key != key.strip():
            raise
        said = repr(value) if isinstance(value, str) else value
        notes.append(f"it was read as the tag {key!r} with the value {said}, because as a search it does not parse:")
        notes += [str(error), *getattr(error, "__notes__", ())]
        return _tag(key, value)


def _tag(key: str, value: Any) -> Query:
    from braid_hpc.queries.fields import Field
    from braid_hpc.queries.operators import Operator
    from braid_hpc.queries.tree import Condition

    return Condition(Field("tag", key), Operator.EQ, value)


def _hints(opened: Store, query: Query) -> list[str]:
    """Say of each key that no tag has which ones are near it, and of each field that a tag is called so too."""
    from braid_hpc.queries.fields import FIELDS, likely_fields
    from braid_hpc.store.searching import tag_keys

    known = tag_keys(opened)
    found = []
    for name, key in dict.fromkeys((each.field.name, each.field.key) for each in query.conditions()):
        if name == "tag" and key is not None and key not in known:
            near = difflib.get_close_matches(key[:100], {*known, *FIELDS}, n=3)
            near += [each for each in likely_fields(key[:100]) if each not in near]
            shown = [f"the field {each}" if each not in known else f"the tag {each}" for each in near]
            found.append(f"nothing has a tag {key!r}" + (f"; near it: {', '.join(shown)}" if near else ""))
        if key is None and name in known:
            found.append(f"{name} is a field; the tag of that name is tag.{name}")
    return found


def tagged(opened: Store, condition: str) -> list[str]:
    """Return the versions that carry a tag with exactly one value.

    Parameters
    ----------
    opened : Store
        Where to look.
    condition : str
        ``KEY=VALUE``, as for ``braid find``.

    Returns
    -------
    list of str
        References.

    Raises
    ------
    InvalidInputError
        If it is no condition.
    NotFoundError
        If nothing carries it.
    """
    key, value = parse_condition(condition)
    table = opened.find({key: value})
    if not len(table):
        raise _nothing((condition,), [])
    return [f"id:{uid}" for uid in table["uid"]]


def _nothing(whats: tuple[str, ...], notes: list[str]) -> NotFoundError:
    error = NotFoundError(f"nothing carries {' and '.join(whats)}")
    for note in notes:
        error.add_note(note)
    return error
