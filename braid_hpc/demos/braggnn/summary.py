"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["report"]

LATEST = "(select run from runs where job = 'braggnn' order by begin_time desc limit 1)"
"""The run to report: a store may hold several of this demo."""

EVENTS = f"select sum(events) as events, count(*) as ranks from ranks where run = {LATEST}"

HAS_STREAM = "select 1 from information_schema.tables where table_schema = 'stream' and table_name = '{name}'"

ERRORS = """
    select count(*) as peaks, count(distinct _rank) as ranks, avg(error) as mean, quantile_cont(error, 0.95) as most
    from stream."{name}" where _run = {latest} and not isnan(error)
"""


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
        which ranks are incomplete, if any.

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
    counted = store.sql(EVENTS).to_pylist()[0]
    lineage = store.lineage("model:braggnn")
    return "\n".join(
        [
            f"{counted['events'] or 0:,} events from {_ranks(counted['ranks'])}",
            "",
            *_comparison(_errors(store, "peak-positions"), _errors(store, "peak-positions-com")),
            "",
            "what went into the final model:",
            lineage.tree(),
        ]
    )


def _errors(store: Any, name: str) -> Mapping[str, Any] | None:
    """Give number, mean and 95th percentile of the errors in a stream, None where it has none."""
    if not store.sql(HAS_STREAM.format(name=name)).to_pylist():
        return None
    found: Mapping[str, Any] = store.sql(ERRORS.format(name=name, latest=LATEST)).to_pylist()[0]
    return found if found["peaks"] else None


def _comparison(model: Mapping[str, Any] | None, plain: Mapping[str, Any] | None) -> list[str]:
    """Set the two errors against each other, and say plainly which is better."""
    if model is None or plain is None:
        return ["no peak was placed: the job did not get that far"]
    lines = [f"{model['peaks']:,} held-out peaks from {_ranks(model['ranks'])}, mean error (95 % are under):"]
    for name, found in (("model", model), ("centre of mass", plain)):
        lines.append(f"  {name:<15} {found['mean']:.3f} px ({found['most']:.3f} px)")
    if model["mean"] < plain["mean"]:
        return [*lines, f"the model is {plain['mean'] / model['mean']:.1f} times closer than the plain centre of mass"]
    return [*lines, "the model does NOT beat the plain centre of mass it starts from"]


def _ranks(number: int) -> str:
    """Give a number of ranks in words."""
    return f"{number} rank" if number == 1 else f"{number} ranks"
