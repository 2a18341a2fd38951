"""Which relations a question follows."""

from __future__ import annotations

import pytest

from braid_hpc.lineage.relations import check_relations
from braid_hpc.lineage.walk import FOLLOWED
from braid_hpc.vocabulary.codes import Relation
from braid_hpc.vocabulary.errors import InvalidInputError


def test_those_that_carry_provenance_unless_others_are_named() -> None:
    assert check_relations(None) == FOLLOWED
    assert Relation.CALLED not in FOLLOWED
    assert check_relations("wasStartedBy") == (Relation.CALLED,)
    assert check_relations(["used", "wasDerivedFrom", "used"]) == (Relation.DERIVED, Relation.USED)


@pytest.mark.parametrize("wrong", ["usd", ["used", "x"], [], "", 3, [None]])
def test_what_is_not_known_is_refused_with_what_is(wrong: object) -> None:
    with pytest.raises(InvalidInputError, match="relations are wasDerivedFrom, used") as refused:
        check_relations(wrong)  # type: ignore[arg-type]
    assert "wasStartedBy, wasInformedBy, followed only when named" in str(refused.value)
    assert "\n" not in str(refused.value)
