"""The options that every question has: which store, at which snapshot, as of which time."""

from __future__ import annotations

import click

__all__ = ["as_of_option", "at_option", "relation_option", "text_format_option"]

at_option = click.option(
    "--at", type=int, default=None, metavar="SNAPSHOT", help="What the store knew at that snapshot."
)

as_of_option = click.option(
    "--as-of",
    "as_of",
    default=None,
    metavar="TIME",
    help="What held then: 2026-11-21T10:30:00, UTC without a zone, or nanoseconds since 1970.",
)

relation_option = click.option(
    "--relation",
    "relations",
    multiple=True,
    metavar="RELATION",
    help="Follow only these; without it those that carry provenance.",
)

text_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How the answer is printed.",
)
