"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from typing import Any

from braid_hpc.demos.answers import answered, heading, latest, rows

__all__ = ["report", "supporting"]

TAGS = """
    select t.key, t.real, v.version from versions v join tags t using (id)
    where v.kind = 'data' and v.name = ? and v.run = ? order by v.version
"""

CONSTANTS = ("j1", "j2", "gap")

STEPS = 3
"""From the fit to the reduced space, to the features in it, to the simulations that these are of."""


def supporting(store: Any, fit: str) -> dict[str, Any]:
    """Say which simulations support a fit.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    fit : str
        Reference of the fit.

    Returns
    -------
    dict
        ``support`` (references of the simulations in its reduced space), ``others`` (those that have only trained
        the auto-encoder), and ``missing`` (logs without which this may not be all).

    Raises
    ------
    LookupError
        The store has no such fit.
    """
    near, whole = store.lineage(fit, depth=STEPS), store.lineage(fit)
    support, every = (
        {node.ref for node in answer.nodes if node.kind == "data" and node.name.startswith("simulation/")}
        for answer in (near, whole)
    )
    return {"support": sorted(support), "others": sorted(every - support), "missing": whole.missing}


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: events and ranks, the fitted constants with their errors and the truth, and which simulations
        support the fit.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    run = latest(store, "scattering")
    lines = [heading(store, run), ""]
    fitted = rows(store, TAGS, "fit", run)
    if not fitted:
        return "\n".join([*lines, "there is no fit: the job did not get that far"])
    found = {row["key"]: row["real"] for row in fitted}
    true = {row["key"]: row["real"] for row in rows(store, TAGS, "measured", run)}
    for name in CONSTANTS:
        value, error, truth = found[name], found[f"{name}_error"], true[f"true_{name}"]
        lines.append(f"{name:>4} {value:6.3f} +- {error:.3f} meV, off the sample's by {value - truth:+.3f}")
    ref = f"data:fit@{fitted[-1]['version']}"
    answer = supporting(store, ref)
    count = len(answer["support"])
    said = [
        f"{count} of {count + len(answer['others'])}; the others have only trained the auto-encoder:",
        *_wrapped([name.removeprefix("data:simulation/") for name in answer["support"]], 16),
    ]
    return "\n".join([*lines, *answered(f"which simulations support {ref}?", said, missing=answer["missing"])])


def _wrapped(words: list[str], width: int) -> list[str]:
    """Give words, some on each line."""
    return [" ".join(words[i : i + width]) for i in range(0, len(words), width)]
