"""What the demo prints, all of it asked from the store: nothing is carried over from the job."""

from __future__ import annotations

from typing import Any

from braid_hpc.demos.answers import answered, heading, latest, rows, spoken

__all__ = ["contents", "fallen", "report"]

STRUCTURES = """
    select v.name, v.version, max(t.integer) filter (t.key = 'reflections') as reflections,
        max(t.real) filter (t.key = 'multiplicity') as multiplicity,
        max(t.real) filter (t.key = 'cc_half') as cc_half, max(t.real) filter (t.key = 'r_split') as r_split
    from versions v join tags t using (id) where v.kind = 'structure' and v.run = ? group by all order by v.name
"""

DOUBTED = "integrated/experiment-1/03"
"""The integration whose structures the report asks for."""


def contents(store: Any, structure: str) -> dict[str, Any]:
    """Say which experiments and which settings are in a structure.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    structure : str
        Its reference, such as ``structure:all@1``.

    Returns
    -------
    dict
        ``experiments`` (the integrated files of each, as references), ``settings`` (the references of the facts),
        ``prime`` (that of the list that was merged), and ``missing`` (logs without which this may not be all).

    Raises
    ------
    LookupError
        The store has no such structure.
    """
    answer = store.lineage(structure)
    experiments: dict[str, list[str]] = {}
    for node in answer.nodes:
        kind, _, rest = node.name.partition("/")
        if node.kind == "data" and kind == "integrated":
            experiments.setdefault(rest.partition("/")[0], []).append(node.ref)
    return {
        "experiments": {name: sorted(files) for name, files in sorted(experiments.items())},
        "settings": sorted(node.ref for node in answer.nodes if node.kind == "fact"),
        "prime": sorted(node.ref for node in answer.nodes if node.name.startswith("prime.phil/")),
        "missing": answer.missing,
    }


def fallen(store: Any, integrated: str) -> list[str]:
    """Say which structures fall if an integration was wrong.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.
    integrated : str
        Reference of the integrated file.

    Returns
    -------
    list of str
        References of the structures that were merged from it.

    Raises
    ------
    LookupError
        The store has no such file.
    """
    return sorted(node.ref for node in store.impact(integrated).nodes if node.kind == "structure")


def report(store: Any) -> str:
    """Say what the latest run of the demo did, from its store.

    Parameters
    ----------
    store : Store
        As ``braid.open`` gives it.

    Returns
    -------
    str
        Several lines: events and ranks, each structure with its figures of merit, what is in the largest one, and
        which of them fall with one integration.

    Raises
    ------
    LookupError
        The store holds no run of this demo.
    """
    run = latest(store, "ssx")
    lines = [heading(store, run), ""]
    structures = rows(store, STRUCTURES, run)
    for found in structures:
        lines.append(
            f"{found['name']}: {spoken(found['reflections'], 'structure factor')}, each from "
            f"{found['multiplicity']:.1f} observations, CC1/2 {found['cc_half']:.3f}, R_split {found['r_split']:.3f}"
        )
    if not structures:
        return "\n".join([*lines, "there is no structure: the job did not get that far"])
    largest = max(structures, key=lambda found: found["multiplicity"])
    ref = f"structure:{largest['name']}@{largest['version']}"
    answer = contents(store, ref)
    said = [f"{name}: {spoken(len(files), 'integrated file')}" for name, files in answer["experiments"].items()]
    lines += answered(
        f"which experiments and which settings are in {ref}?",
        [*said, f"settings: {', '.join([*answer['settings'], *answer['prime']])}"],
        missing=answer["missing"],
    )
    query = "select name, version from versions where kind = 'data' and name = ? and run = ?"
    for doubted in rows(store, query, DOUBTED, run):
        integrated = f"data:{doubted['name']}@{doubted['version']}"
        lines += answered(f"if {integrated} was wrong, which structures fall?", [", ".join(fallen(store, integrated))])
    return "\n".join(lines)
