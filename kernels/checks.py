"""Cyclic redundancy checks: of any width up to 32 bits, sixteen bytes at a time, beside a slow twin.

The register is kept as its bytes stand in the input: that of a check whose bits go highest first is turned round, and
so are its tables. Then both kinds of checks take the same steps, and the loops know only one.
"""

from __future__ import annotations

import functools
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from braid_hpc.kernels import compiled

__all__ = ["CRC32", "Check", "check_of", "first_register", "holds", "tables_of"]

_U = np.uint64
#: Bytes that one step takes.
_AT_ONCE = 16


class Check(NamedTuple):
    """A cyclic redundancy check, in the usual parameters.

    Attributes
    ----------
    width : int
        Bits: 8, 16 or 32.
    polynomial : int
        Without its highest term, not reflected: 0x04C11DB7 is CRC-32's.
    start, xor : int
        What the register begins with, and what its end is combined with.
    reflected : bool
        Whether bits go lowest first, in and out.
    """

    width: int
    polynomial: int
    start: int
    xor: int
    reflected: bool


#: The one that Ethernet, zlib and PNG use.
CRC32 = Check(32, 0x04C11DB7, 0xFFFFFFFF, 0xFFFFFFFF, True)


def check_of(data: bytes | memoryview, check: Check) -> int:
    """Compute a check sum, byte by byte in plain Python; by zlib where it is CRC-32.

    Parameters
    ----------
    data : bytes-like
        What it covers.
    check : Check
        How.

    Returns
    -------
    int
        Of `check.width` bits.

    See Also
    --------
    holds : the compiled one.

    Examples
    --------
    >>> hex(check_of(b"123456789", Check(16, 0x1021, 0xFFFF, 0, False)))
    '0x29b1'
    """
    if check == CRC32:
        return zlib.crc32(data)
    table = tables_of(check)[0].tolist()
    register = first_register(check)
    for byte in bytes(data):
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    if not check.reflected:
        register = _turned(register) >> (32 - check.width)
    return register ^ check.xor


def first_register(check: Check) -> int:
    """Return what the register is before the first byte.

    Parameters
    ----------
    check : Check
        The check.

    Returns
    -------
    int
        32 bits, turned as the tables are.
    """
    return _kept(check.start, check)


def tables_of(check: Check) -> NDArray[np.uint32]:
    """Return what one byte does to the register when 0 to 15 zero bytes follow it.

    Parameters
    ----------
    check : Check
        The check.

    Returns
    -------
    ndarray of uint32, shape (16, 256)
        Read-only; made once for each polynomial.
    """
    return _tables(check.width, check.polynomial, check.reflected)


@functools.cache
def _tables(width: int, polynomial: int, reflected: bool) -> NDArray[np.uint32]:
    made = np.empty((_AT_ONCE, 256), np.uint32)
    feedback = _kept(polynomial, Check(width, polynomial, 0, 0, reflected))
    if not reflected:
        feedback = _turned(feedback)
    for byte in range(256):
        register = byte if reflected else byte << 24
        for _ in range(8):
            if reflected:
                register = register >> 1 ^ (feedback if register & 1 else 0)
            else:
                register = register << 1 & 0xFFFFFFFF ^ (feedback if register >> 31 else 0)
        made[0, byte] = register if reflected else _turned(register)
    for after in range(1, _AT_ONCE):
        before = made[after - 1]
        made[after] = made[0][before & np.uint32(0xFF)] ^ before >> np.uint32(8)
    made.flags.writeable = False
    return made


def _kept(value: int, check: Check) -> int:
    """Give a value as the register holds it, in 32 bits."""
    if check.reflected:
        return int(f"{value:0{check.width}b}"[::-1], 2)
    return _turned(value << (32 - check.width))


def _turned(value: int) -> int:
    """Give 32 bits with their bytes in the other order."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


# Unsigned throughout: a signed index is tested for its sign, which costs half of the speed. Loads of eight bytes that
# stand side by side become one.


@compiled
def _eight(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Load eight bytes, the first one lowest."""
    return (
        _U(data[at])
        | _U(data[at + _U(1)]) << _U(8)
        | _U(data[at + _U(2)]) << _U(16)
        | _U(data[at + _U(3)]) << _U(24)
        | _U(data[at + _U(4)]) << _U(32)
        | _U(data[at + _U(5)]) << _U(40)
        | _U(data[at + _U(6)]) << _U(48)
        | _U(data[at + _U(7)]) << _U(56)
    )


@compiled
def _register_behind(
    data: NDArray[np.uint8], at: np.uint64, end: np.uint64, tables: NDArray[np.uint32], register: np.uint64
) -> np.uint64:
    """Take bytes into the register."""
    low = _U(0xFF)
    while at + _U(16) <= end:
        one, other = _eight(data, at) ^ register, _eight(data, at + _U(8))
        # What does not wait for the register comes first, and in sums that do not wait for each other.
        late = (
            _U(tables[_U(7), other & low])
            ^ _U(tables[_U(6), (other >> _U(8)) & low])
            ^ _U(tables[_U(5), (other >> _U(16)) & low])
            ^ _U(tables[_U(4), (other >> _U(24)) & low])
            ^ _U(tables[_U(3), (other >> _U(32)) & low])
            ^ _U(tables[_U(2), (other >> _U(40)) & low])
            ^ _U(tables[_U(1), (other >> _U(48)) & low])
            ^ _U(tables[_U(0), other >> _U(56)])
        )
        middle = (
            _U(tables[_U(11), (one >> _U(32)) & low])
            ^ _U(tables[_U(10), (one >> _U(40)) & low])
            ^ _U(tables[_U(9), (one >> _U(48)) & low])
            ^ _U(tables[_U(8), one >> _U(56)])
        )
        early = (
            _U(tables[_U(15), one & low])
            ^ _U(tables[_U(14), (one >> _U(8)) & low])
            ^ _U(tables[_U(13), (one >> _U(16)) & low])
            ^ _U(tables[_U(12), (one >> _U(24)) & low])
        )
        register = late ^ middle ^ early
        at += _U(16)
    while at < end:
        register = _U(tables[_U(0), (register ^ _U(data[at])) & low]) ^ register >> _U(8)
        at += _U(1)
    return register


@compiled
def holds(
    data: NDArray[np.uint8],
    begin: int,
    end: int,
    tables: NDArray[np.uint32],
    check: NDArray[np.uint64],
    big: bool,
) -> bool:
    """Say whether the check sum of some bytes stands behind them.

    Parameters
    ----------
    data : ndarray of uint8, shape (bytes,)
        What it is in.
    begin, end : int
        Which bytes it covers; it begins at `end`.
    tables : ndarray of uint32, shape (16, 256)
        From :func:`tables_of`.
    check : ndarray of uint64, shape (4,)
        Width in bits, :func:`first_register`, what is combined with its end, and whether bits go lowest first.
    big : bool
        Whether its highest byte comes first.

    Returns
    -------
    bool
        Whether it does.

    See Also
    --------
    check_of : the slow one.
    """
    register = _register_behind(data, _U(begin), _U(end), tables, check[1])
    bytes_of = check[0] // _U(8)
    behind = _U(end)
    for k in range(bytes_of):
        # Of a register that is turned round the highest byte is the lowest one.
        at = k if check[3] else bytes_of - _U(1) - k
        byte = (register >> (_U(8) * at) ^ check[2] >> (_U(8) * k)) & _U(0xFF)
        place = bytes_of - _U(1) - k if big else k
        if _U(data[behind + place]) != byte:
            return False
    return True
