"""Which relations a question follows."""

from __future__ import annotations

from collections.abc import Iterable

from braid_hpc.lineage.walk import FOLLOWED
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import InvalidInputError

__all__ = ["check_relations"]


def check_relations(relations: str | Iterable[str] | None) -> tuple[Relation, ...]:
    """Return the relations to follow.

    Parameters
    ----------
    relations : str, iterable of str or None
        What the caller gave: names as in the table of edges.

    Returns
    -------
    tuple of Relation
        Each once, in the order of :class:`~braid_hpc.vocabulary.codes.Relation`; those that carry provenance for None.

    Raises
    ------
    InvalidInputError
        If one of them is not known, or there are none.

    Examples
    --------
    >>> [str(relation) for relation in check_relations(["used", "wasDerivedFrom"])]
    ['wasDerivedFrom', 'used']
    """
    if relations is None:
        return FOLLOWED
    if not isinstance(relations, Iterable):
        raise InvalidInputError(f"{relations!r} is no relation to follow: {_known()}")
    given = [relations] if isinstance(relations, str) else list(relations)
    known = {str(relation): relation for relation in Relation}
    wrong = [each for each in given if not isinstance(each, str) or str(each) not in known]
    if wrong or not given:
        said = ", ".join(sorted(f"{each!r:.80}" for each in wrong)) or "an empty list"
        raise InvalidInputError(f"{said} cannot be followed: {_known()}")
    chosen = {known[str(each)] for each in given}
    return tuple(relation for relation in Relation if relation in chosen)


def _known() -> str:
    unless = [str(relation) for relation in Relation if relation not in FOLLOWED]
    followed = ", ".join(str(relation) for relation in FOLLOWED)
    return f"relations are {followed}" + (f", and {', '.join(unless)}, followed only when named" if unless else "")
