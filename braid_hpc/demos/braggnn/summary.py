"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid_hpc.demos.answers import answered, has_stream, heading, latest, rows, spoken

__all__ = ["report", "who_placed"]

ERRORS = """
    select count(*) as peaks, count(distinct _rank) as ranks, avg(error) as mean, quantile_cont(error, 0.95) as most
    from stream."{name}" where _run = ? and not isnan(error)
"""


WORST = """
    select frame, x, y, error, _rank as rank, _row as row from stream."peak-positions"
    where _run = ? and not isnan(error) order by error desc, _rank, _row limit 1
"""


def who_placed(store: Any, run: str) -> dict[str, Any]:
    """Say what trained the model that placed the peaks of a run.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    run : str
        Id of the run.

    Returns
    -------
    dict
        ``model`` (the version that the stream of positions is derived from), ``data`` (the peaks that it and the
        versions before it were trained on), ``config``, and ``missing`` (logs without which this may not be all).

    Raises
    ------
    LookupError
        No peak was placed in this run.
    """
    query = "select 'id:' || uid as ref from versions where kind = 'stream' and name = 'peak-positions' and run = ?"
    found = rows(store, query, run)
    if not found:
        raise LookupError("no peak was placed in this run")
    (model,) = [node.ref for node in store.lineage(found[0]["ref"], depth=1).nodes if node.kind == "model"]
    answer = store.lineage(model)
    return {
        "model": model,
        "data": sorted(node.ref for node in answer.nodes if node.name.startswith("peaks/")),
        "config": sorted(node.ref for node in answer.nodes if node.kind == "fact"),
        "missing": answer.missing,
    }


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: the events and the ranks they are from; the mean error of the model on held-out peaks, in px,
        against that of the plain centre of mass, whichever is smaller; the lineage of the final model as a tree, and
        which ranks are incomplete, if any; and what trained the model that placed one of the peaks.

    Raises
    ------
    LookupError
        The store holds no run of this demo that got as far as a model.

    Examples
    --------
    >>> import braid_hpc as braid
    >>> with braid.open("demo/prov.duckdb") as store:  # doctest: +SKIP
    ...     print(report(store))
    """
    run = latest(store, "braggnn")
    lineage = store.lineage("model:braggnn")
    worst = rows(store, WORST, run) if has_stream(store, "peak-positions") else []
    return "\n".join(
        [
            heading(store, run),
            "",
            *_comparison(*(_errors(store, run, name) for name in ("peak-positions", "peak-positions-com"))),
            "",
            "what went into the final model:",
            lineage.tree(),
            *(_placed(store, run, worst[0]) if worst else []),
        ]
    )


def _placed(store: Any, run: str, row: Mapping[str, Any]) -> list[str]:
    """Answer for the peak that was placed worst."""
    answer = who_placed(store, run)
    return answered(
        f"what trained the model that placed the peak at ({row['x']:.1f}, {row['y']:.1f}) of frame {row['frame']}, "
        f"{row['error']:.2f} px off?",
        [
            f"stream:peak-positions, row {row['row']} of rank {row['rank'] or 0}: placed by {answer['model']}",
            f"trained on {', '.join(answer['data'])}",
            f"which follow from {', '.join(answer['config'])}",
        ],
        missing=answer["missing"],
    )


def _errors(store: Any, run: str, name: str) -> Mapping[str, Any] | None:
    """Give number, mean and 95th percentile of the errors in a stream, None where it has none."""
    if not has_stream(store, name):
        return None
    found = rows(store, ERRORS.format(name=name), run)[0]
    return found if found["peaks"] else None


def _comparison(model: Mapping[str, Any] | None, plain: Mapping[str, Any] | None) -> list[str]:
    """Set the two errors against each other, and say plainly which is better."""
    if model is None or plain is None:
        return ["no peak was placed: the job did not get that far"]
    lines = [f"{model['peaks']:,} held-out peaks from {spoken(model['ranks'], 'rank')}, mean error (95 % are under):"]
    for name, found in (("model", model), ("centre of mass", plain)):
        lines.append(f"  {name:<15} {found['mean']:.3f} px ({found['most']:.3f} px)")
    if model["mean"] < plain["mean"]:
        return [*lines, f"the model is {plain['mean'] / model['mean']:.1f} times closer than the plain centre of mass"]
    return [*lines, "the model does NOT beat the plain centre of mass it starts from"]
