"""The language of searches: conditions as objects and as text (``docs/filter.md``).

Examples
--------
>>> from braid_hpc.queries import kind, name, parse_query, tag
>>> query = (kind == "model") & (tag("energy_keV") > 70) & ~name.like("scan-*")
>>> print(query)
kind = model and energy_keV > 70 and not name ~ "scan-*"
>>> parse_query(str(query)) == query
True
"""

from __future__ import annotations

from braid_hpc.queries.build import (
    Noun,
    Series,
    begin_time,
    config,
    data,
    data_key,
    device,
    digest,
    end_time,
    field,
    host,
    kind,
    name,
    nexus,
    param,
    rank,
    run,
    start,
    status,
    stop,
    stream,
    tag,
    time,
    uri,
    valid,
    value,
)
from braid_hpc.queries.operators import Operator
from braid_hpc.queries.parse import parse_query
from braid_hpc.queries.plain import from_json, to_json
from braid_hpc.queries.tree import And, Condition, Not, Or, Query

__all__ = [
    "And",
    "Condition",
    "Not",
    "Noun",
    "Operator",
    "Or",
    "Query",
    "Series",
    "begin_time",
    "config",
    "data",
    "data_key",
    "device",
    "digest",
    "end_time",
    "field",
    "from_json",
    "host",
    "kind",
    "name",
    "nexus",
    "param",
    "parse_query",
    "rank",
    "run",
    "start",
    "status",
    "stop",
    "stream",
    "tag",
    "time",
    "to_json",
    "uri",
    "valid",
    "value",
]
