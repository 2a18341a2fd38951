"""``braid ingest``: what was recorded by other programs."""

from __future__ import annotations

from pathlib import Path

import click

from braid_hpc.cli.output import Command, Group, messages, stepper, store_option

__all__ = ["ingest"]


@click.group(cls=Group, examples=["braid ingest bluesky scans/*.jsonl"])
def ingest() -> None:
    """Take into a store what other programs have recorded."""


@ingest.command(
    "bluesky",
    cls=Command,
    examples=["braid ingest bluesky scans/*.jsonl", "braid ingest bluesky scans --store beamline.duckdb"],
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@store_option
def bluesky(paths: tuple[Path, ...], store: str | None) -> None:
    """Take the documents of Bluesky runs out of files, as suitcase-jsonl and suitcase-msgpack write them.

    A file holds JSON lines or MessagePack, compressed by gzip or not; a directory stands for the files in it and below
    that end in .jsonl, .ndjson or .msgpack, or these and .gz. A file whose content the store has is passed over.
    Documents may be in any order, in several files, and in several of them at once: each is given back once. The store
    is made if it does not exist.
    """
    from braid_hpc.cli.ingesting import ingest_documents
    from braid_hpc.snapshots.files import StoreFiles

    files = StoreFiles(store if store is not None else "prov.duckdb")
    done = ingest_documents(list(paths), files, progress=stepper())
    if done.known:
        known, every = ", ".join(map(str, done.known[:5])), len(done.known) + len(done.taken)
        messages.print(f"{len(done.known)} of {every} files are known: {known}", soft_wrap=True)
    if done.taken:
        messages.print(
            f"{files.path}: snapshot {done.snapshot}, {done.documents:,} documents of {len(done.taken)} files",
            soft_wrap=True,
        )
    if done.losses:
        counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.losses.items()))
        messages.print(f"not taken, or not whole: {counted}; see the stream collector_losses", soft_wrap=True)
