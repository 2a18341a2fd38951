"""When two spellings of an identifier name the same thing: where a standard says so, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identifiers import canonical, check_identifier, identifier_digest

SAME = [
    ("doi:10.17038/XSD/1344262", "DOI:10.17038/xsd/1344262"),
    ("https://doi.org/10.5281/ZENODO.1", "HTTPS://DOI.org/10.5281/zenodo.1"),
    ("http://dx.doi.org/10.1107/S2052", "http://DX.DOI.ORG/10.1107/s2052"),
    ("globus://DDB59AEF-6D04-11E5-BA46-22000B92C6EC/p", "globus://ddb59aef-6d04-11e5-ba46-22000b92c6ec/p"),
    ("https://host/a%c3%bc", "https://HOST/a%C3%BC"),
    ("URN:UUID:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("urn:NBN:de:101", "urn:nbn:de:101"),
]
OTHERS = [
    ("https://host/Path", "https://host/path"),
    ("https://host/?Q", "https://host/?q"),
    ("ftp://User@host/x", "ftp://user@host/x"),
    ("globus://host/Data", "globus://host/data"),
    ("urn:nbn:DE:101", "urn:nbn:de:101"),
    ("tomo_00058", "TOMO_00058"),
    ("mdf:Foundry_v1.1", "mdf:foundry_v1.1"),
    ("doi:10.5/x", "https://doi.org/10.5/x"),
    ("doi:10.5/Ä", "doi:10.5/ä"),
    ("https://doi.org/About", "https://doi.org/about"),
    ("doi:10.5/x", "doi:10.5/x "),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_another_case_of_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert identifier_digest(one) == identifier_digest(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_another_thing(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)
    assert identifier_digest(one) != identifier_digest(other)


@given(some.one_of(some.text(), some.from_regex(r"[a-zA-Z]{1,5}:(//)?[a-zA-Z0-9@%/:.?#Ä-]{0,30}", fullmatch=True)))
def test_only_the_case_of_ascii_letters_is_another(text: str) -> None:
    """So a search may narrow down by lower-case letters; and the canonical spelling is canonical."""
    found = canonical(text)
    assert len(found) == len(text)
    pairs = [(a, b) for a, b in zip(text, found, strict=True) if a != b]
    assert all(a.isascii() and a.swapcase() == b for a, b in pairs)
    assert canonical(found) == found


@pytest.mark.parametrize("wrong", [None, 5, "", "  ", "a\nb", "a\x00", b"doi:10.5/x"])
def test_what_is_no_identifier(wrong: object) -> None:
    with pytest.raises(InvalidInputError, match="is not an identifier"):
        check_identifier(wrong)
