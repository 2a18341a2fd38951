"""``braid ship``: bring rank logs from a node to a shared directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from braid_hpc.cli.batch import fetch_job
from braid_hpc.cli.output import Command, emit, format_option, messages
from braid_hpc.cli.shipping import Round, Sent, Shipper, stay
from braid_hpc.log.node_bundle import node_name
from braid_hpc.log.ship import ship_writer
from braid_hpc.reading.bundles import opened_logs
from braid_hpc.reading.node_status import write_status
from braid_hpc.reading.process import tell_end
from braid_hpc.reading.progress import WriterProgress
from braid_hpc.vocabulary.errors import CorruptLogError, InvalidInputError, StorageError

__all__ = ["ship"]


@click.command(
    cls=Command,
    examples=[
        "braid ship /tmp/logs --to shared/logs",
        "braid ship /tmp/logs --to shared/logs --bundle --status --every 60",
        "braid ship /tmp/logs --to shared/logs --bundle --status --remove",
        "braid ship --job 4711",
    ],
)
@click.argument("logs", default=".", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), help="Directory to copy into.")
@click.option("--job", help="Fetch what a job, submitted into LOGS or the directory here, has left on its nodes.")
@click.option("--bundle", is_flag=True, help="Bring the logs of all ranks of this node as one file.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1, max=86_400),
    metavar="SECONDS",
    help="Stay, and ship every so many seconds until SIGTERM or SIGINT comes; SIGUSR1 ships at once.",
)
@click.option("--status", is_flag=True, help="Write a status file for braid watch in each round.")
@click.option("--remove", is_flag=True, help="Remove logs of ranks that have ended, once all of them has arrived.")
@click.option("--node", metavar="NAME", help="The node's name, where it is not that of Slurm or the host.")
@format_option
@click.pass_context
def ship(
    context: click.Context,
    logs: Path,
    target: Path | None,
    job: str | None,
    bundle: bool,
    every: float | None,
    status: bool,
    remove: bool,
    node: str | None,
    form: str,
) -> None:
    """Copy the rank logs in directory LOGS to another one, read them again there and compare.

    Logs that are still written may be shipped, and shipped again later: only what is new is copied. Nothing is
    removed at the source without --remove. Exit code 1 if a log could not be shipped; the others are.

    With --every the command stays beside the ranks. LOGS need not exist yet, the directory to copy into may be full
    or away for a while, and when SIGTERM or SIGINT comes all is shipped a last time.

    With --job a job is submitted to each node whose last status is not its final one, pinned there, which ships what
    is left, and after it another merge.
    """
    if job is not None:
        fetch_job(context, job, logs, form)
        return
    if target is None:
        raise InvalidInputError("say where to ship to (--to DIR), or whose logs to fetch (--job ID)")
    if not (bundle or every is not None or status or remove):
        _finish(context, _copy(context, logs, target), target, form)
        return
    if node is not None and node_name(node) != node:
        raise InvalidInputError(f"{node!r} is no name of a node: letters, digits, '.', '_' and '-'")
    shipper = Shipper(logs, target, node=node or node_name(), bundle=bundle, remove=remove)
    if every is not None:
        done, fault = stay(shipper, every, status=status, said=lambda text: messages.print_as_is(f"braid ship: {text}"))
        if fault:
            context.exit(1)
        del done
        return
    done = shipper.round()
    if status:
        target.mkdir(parents=True, exist_ok=True)
        write_status(target, shipper.status(done, every=None, final=True))
    if remove:
        # Where others have left something, it stays.
        with contextlib.suppress(OSError):
            os.rmdir(logs)
    _finish(context, done, target, form)


def _copy(context: click.Context, logs: Path, target: Path) -> Round:
    """Ship directory by directory, out of bundles too."""
    from braid_hpc.reading.newer import refuse_newer

    sent = []
    directories = context.with_resource(opened_logs(logs))
    for directory in directories:
        refuse_newer(directory)
    for directory in directories:
        try:
            told = WriterProgress(directory).look()
            if told is not None and not told.complete:
                tell_end(directory)
            done = ship_writer(directory, target)
            sent.append(Sent(done.writer, done.files, done.bytes))
        except (StorageError, CorruptLogError) as error:
            sent.append(Sent(directory.name, fault=str(error)))
    return Round(sent, [])


def _finish(context: click.Context, done: Round, target: Path, form: str) -> None:
    to = os.fspath(target)
    emit(
        ("writer", "files", "bytes", "to", "fault"),
        [(each.writer, each.files, each.bytes, to, each.fault) for each in done.sent],
        form,
    )
    if removed := sum(each.removed for each in done.sent):
        messages.print(f"{removed} of {len(done.sent)} logs were removed, all of them has arrived", soft_wrap=True)
    if failed := sum(each.fault is not None for each in done.sent):
        messages.print(f"{failed} of {len(done.sent)} logs could not be shipped", soft_wrap=True)
        context.exit(1)
