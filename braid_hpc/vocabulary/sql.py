"""What names and types of columns are in DuckDB's SQL."""

from __future__ import annotations

__all__ = ["SQL_TYPES", "quoted"]

#: By the types of :mod:`braid_hpc.vocabulary.columns`.
SQL_TYPES = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "float32": "float",
    "float64": "double",
    "timestamp": "timestamp_ns",
    "text": "varchar",
    "bytes": "blob",
}


def quoted(name: str) -> str:
    """Return a name as an SQL identifier.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        In double quotes.
    """
    return '"' + name.replace('"', '""') + '"'
