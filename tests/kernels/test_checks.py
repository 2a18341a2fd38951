"""Check sums: those that are published, and the compiled ones are those of the twin."""

from __future__ import annotations

import binascii
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid_hpc.kernels.checks import CRC32, Check, check_of, first_register, holds, tables_of

#: Checks with their published sums of b"123456789".
CHECKS = {
    "crc32": (CRC32, 0xCBF43926),
    "crc32c": (Check(32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, True), 0xE3069283),
    "crc32-bzip2": (Check(32, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, False), 0xFC891918),
    "crc16-ccitt-false": (Check(16, 0x1021, 0xFFFF, 0, False), 0x29B1),
    "crc16-kermit": (Check(16, 0x1021, 0, 0, True), 0x2189),
    "crc16-mcrf4xx": (Check(16, 0x1021, 0xFFFF, 0, True), 0x6F91),
    "crc8-smbus": (Check(8, 0x07, 0, 0, False), 0xF4),
    "crc8-maxim": (Check(8, 0x31, 0, 0, True), 0xA1),
    "crc8-rohc": (Check(8, 0x07, 0xFF, 0, True), 0xD0),
}


def stands_behind(data: bytes, said: int, check: Check, *, big: bool) -> bool:
    """Ask the kernel whether this sum stands behind these bytes."""
    given = data + said.to_bytes(check.width // 8, "big" if big else "little")
    about = np.array([check.width, first_register(check), check.xor, check.reflected], np.uint64)
    raw = np.frombuffer(b"!" + given, np.uint8)
    return bool(holds(raw, 1, 1 + len(data), tables_of(check), about, big))


@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_those_that_are_published(name: str) -> None:
    check, expected = CHECKS[name]
    assert check_of(b"123456789", check) == expected
    for big in (False, True):
        assert stands_behind(b"123456789", expected, check, big=big)
        assert not stands_behind(b"123456789", expected ^ 1, check, big=big)
        assert not stands_behind(b"123456789", expected ^ 1 << (check.width - 1), check, big=big)


def test_the_usual_check_is_zlibs() -> None:
    assert check_of(b"some words", CRC32) == zlib.crc32(b"some words")
    assert check_of(b"some words", CHECKS["crc16-kermit"][0]._replace(reflected=False)) == binascii.crc_hqx(
        b"some words", 0
    )


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=100), st.sampled_from(sorted(CHECKS)), st.booleans())
def test_twin_and_kernel_agree(data: bytes, name: str, big: bool) -> None:
    """Whatever is left over when sixteen bytes are taken at a time."""
    check = CHECKS[name][0]
    said = check_of(data, check)
    assert stands_behind(data, said, check, big=big)
    assert not stands_behind(data, said ^ 1, check, big=big)
