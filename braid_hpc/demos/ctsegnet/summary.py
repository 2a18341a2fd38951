"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from typing import Any

from braid_hpc.demos.answers import answered, has_stream, heading, latest, rows, spoken

__all__ = ["masks_of", "report", "trained_on"]

OVERLAPS = """
    select round, masks, any_value(dice) as dice from stream.overlaps where _run = ?
    group by round, masks order by round, masks
"""

PARTS = ("scan", "image", "labels", "vote", "mask")


def trained_on(store: Any, model: str) -> dict[str, Any]:
    """Say what data was used to train a version of a model, through all the versions and models before it.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    model : str
        Reference of the version.

    Returns
    -------
    dict
        ``data`` (references by what they are: scan, image, labels, vote, mask), ``models`` (the versions whose masks
        were voted on, or that it was trained from), and ``missing`` (logs without which this may not be all).

    Raises
    ------
    LookupError
        The store has no such version.
    """
    answer = store.lineage(model)
    data = [node for node in answer.nodes if node.kind == "data"]
    return {
        "data": {
            part: sorted(node.ref for node in data if node.name.partition("/")[0] == part)
            for part in PARTS
            if any(node.name.partition("/")[0] == part for node in data)
        },
        "models": sorted(node.ref for node in answer.nodes if node.kind == "model" and node.distance),
        "missing": answer.missing,
    }


def masks_of(store: Any, model: str) -> list[str]:
    """Say which masks a version of a model made.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    model : str
        Reference of the version.

    Returns
    -------
    list of str
        References of the masks.

    Raises
    ------
    LookupError
        The store has no such version.
    """
    nodes = store.impact(model, depth=1).nodes
    return sorted(node.ref for node in nodes if node.kind == "data" and node.name.startswith("mask/"))


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: events and ranks, the overlap of masks and vote with the truth in each round, what data a
        version of a model was trained on, and which masks one made.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    run = latest(store, "ctsegnet")
    lines = [heading(store, run), ""]
    if not has_stream(store, "overlaps"):
        return "\n".join([*lines, "no round was finished: the job did not get that far"])
    found = rows(store, OVERLAPS, run)
    for number in sorted({row["round"] for row in found}):
        of_round = {row["masks"]: row["dice"] for row in found if row["round"] == number}
        voted = of_round.pop("vote", float("nan"))
        each = ", ".join(f"{name} {value:.3f}" for name, value in of_round.items())
        lines.append(f"round {number}: Dice overlap of the vote with the truth {voted:.3f} ({each})")
    versions = rows(
        store,
        "select name || '@' || version as ref from versions where kind = 'model' and name = 'segnet-2' and run = ? "
        "order by step",
        run,
    )
    for row in versions[1:2]:
        ref = f"model:{row['ref']}"
        answer = trained_on(store, ref)
        said = [f"{part}: {_few(refs)}" for part, refs in answer["data"].items()]
        lines += answered(
            f"what data was used to train {ref}?",
            [*said, f"models whose masks were in it: {_few(answer['models'])}"],
            missing=answer["missing"],
        )
        masks = masks_of(store, ref)
        lines += answered(f"which masks did {ref} make?", [", ".join(masks) or "none: the job ended before"])
    return "\n".join(lines)


def _few(refs: list[str]) -> str:
    """Give references, the first ones by name where there are many."""
    if len(refs) <= 4:
        return ", ".join(refs)
    return f"{', '.join(refs[:3])} and {spoken(len(refs) - 3, 'more').removesuffix('s')}"
