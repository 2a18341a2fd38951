"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from typing import Any

from braid_hpc.demos.answers import answered, has_stream, heading, latest, rows, spoken

__all__ = ["report", "who_dropped"]

SHIFTS = (1, 2)

COUNTS = """
    select count(*) as shots, count(*) filter (kept) as kept, count(*) filter (beam) as beam,
        count(*) filter (beam and kept) as both
    from stream."decisions/shift-{shift}" where _run = ?
"""

ERRORS = """
    select count(*) as placed, median(abs(error)) as typical from stream."streaking/shift-{shift}"
    where _run = ? and not isnan(error)
"""

DECISION = """
    select event, score, usercode, beam, kept, _rank as rank, _row as row, {shift} as shift
    from stream."decisions/shift-{shift}" where _run = ? and
"""


def who_dropped(store: Any, event: int) -> dict[str, Any]:
    """Say which firmware, which thresholds and which training data decided on an event of the latest run.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    event : int
        Its number.

    Returns
    -------
    dict
        ``row`` (the decision itself, with event, shift, rank, score and usercode), ``firmware`` (its reference),
        ``threshold`` and ``cut`` (its registers), ``model`` (what it was built from), ``data`` (all that this model
        and those before it were trained on), ``config``, and ``missing`` (logs without which this may not be all).

    Raises
    ------
    LookupError
        The latest run decided on no such event.
    """
    run = latest(store, "slac")
    found = _decisions(store, run, "event = ?", event)
    if not found:
        raise LookupError(f"no shift of this run has an event {event}")
    return _explained(store, run, found[0])


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: events and ranks; what the firmware of each shift kept and lost, and how well the field was
        inferred from it; and, of a shot with beam that was dropped, who decided that.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    run = latest(store, "slac")
    lines = [heading(store, run), ""]
    for shift in SHIFTS:
        lines += _shift(store, run, shift)
    lost = _decisions(store, run, "beam and not kept")
    if not lost:
        return "\n".join([*lines, "no shot with beam was dropped"])
    answer = _explained(store, run, lost[0])
    row = answer["row"]
    lines += answered(
        f"which firmware, thresholds and training data decided to drop event {row['event']}?",
        [
            f"stream:decisions/shift-{row['shift']}, row {row['row']} of rank {row['rank']}: "
            f"score {row['score']}, the cut was {answer['cut']}",
            f"{answer['firmware']}, user code 0x{row['usercode']:08x}, threshold {answer['threshold']} counts",
            f"built from {answer['model']}",
            f"trained on {', '.join(answer['data'])}",
            f"which follow from {', '.join(answer['config'])}",
        ],
        missing=answer["missing"],
    )
    return "\n".join(lines)


def _shift(store: Any, run: str, shift: int) -> list[str]:
    if not has_stream(store, f"decisions/shift-{shift}"):
        return [f"shift {shift}: no shot was decided on, the job did not get that far"]
    (found,) = rows(store, COUNTS.format(shift=shift), run)
    if not found["shots"]:
        return [f"shift {shift}: no shot was decided on, the job did not get that far"]
    line = (
        f"shift {shift}: kept {found['kept']:,} of {spoken(found['shots'], 'shot')}, "
        f"{found['both'] / max(found['beam'], 1):.1%} of those with beam and "
        f"{(found['kept'] - found['both']) / max(found['shots'] - found['beam'], 1):.1%} of those without"
    )
    if not has_stream(store, f"streaking/shift-{shift}"):
        return [line]
    (placed,) = rows(store, ERRORS.format(shift=shift), run)
    return [f"{line}; typical error of the field's direction {placed['typical'] or 0:.2f} rad"]


def _decisions(store: Any, run: str, condition: str, *values: object) -> list[Any]:
    """Give the decisions that fulfil a condition, over the shifts there are, by event."""
    found: list[Any] = []
    for shift in SHIFTS:
        if has_stream(store, f"decisions/shift-{shift}"):
            found += rows(store, f"{DECISION.format(shift=shift)} {condition} order by event", run, *values)
    return found


def _explained(store: Any, run: str, row: Any) -> dict[str, Any]:
    """Go from a row of decisions to its stream, from that to the firmware, and on to what that was trained on."""
    (stream,) = rows(
        store,
        "select 'id:' || uid as ref from versions where kind = 'stream' and name = ? and run = ?",
        f"decisions/shift-{row['shift']}",
        run,
    )
    (firmware,) = [node for node in store.lineage(stream["ref"], depth=1).nodes if node.kind == "firmware"]
    answer = store.lineage(firmware.ref)
    registers = rows(
        store,
        "select key, integer from tags join versions using (id) where kind = 'firmware' and name = ? and version = ?",
        firmware.name,
        firmware.version,
    )
    named = {tag["key"]: tag["integer"] for tag in registers}
    models = [node for node in answer.nodes if node.kind == "model"]
    return {
        "row": row,
        "firmware": firmware.ref,
        "threshold": named["threshold"],
        "cut": named["cut"],
        "usercode": named["usercode"],
        "model": min(models, key=lambda node: node.distance).ref,
        "data": sorted(node.ref for node in answer.nodes if node.kind == "data"),
        "config": sorted(node.ref for node in answer.nodes if node.kind == "fact"),
        "missing": answer.missing,
    }
