"""Where the files of a resource lie."""

from __future__ import annotations

from typing import Any

import pytest

from braid_hpc.collectors.documents.scans import uri_of

PLACES: list[tuple[dict[str, Any], str | None]] = [
    ({"root": "/data", "resource_path": "a/b.h5"}, "file:///data/a/b.h5"),
    ({"root": "/data", "resource_path": "/a b.h5"}, "file:///data/a%20b.h5"),
    ({"root": "", "resource_path": "/a.h5"}, "file:///a.h5"),
    ({"resource_path": "/a.h5"}, "file:///a.h5"),
    ({"root": "data", "resource_path": "a.h5"}, "data/a.h5"),
    ({"root": "C:\\data", "resource_path": "a.h5", "path_semantics": "windows"}, "C:\\data/a.h5"),
    ({"uri": "file://localhost/data/a.h5", "mimetype": "x"}, "file://localhost/data/a.h5"),
    ({"uri": "s3://bucket/a"}, "s3://bucket/a"),
    ({"uri": ""}, None),
    ({"uri": "a\0b"}, None),
    ({"root": "/data", "resource_path": "a\0"}, None),
    ({"root": 5, "resource_path": "a"}, None),
    ({"root": "/data", "resource_path": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("document", "uri"), PLACES)
def test_where_a_file_lies(document: dict[str, Any], uri: str | None) -> None:
    """By uri, and by root and path as older ones say it; nothing where nothing is said."""
    assert uri_of(document) == uri
