"""What a record consists of."""

from __future__ import annotations

import array
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.run import contents
from braid_hpc.run.contents import describe, local_path
from braid_hpc.vocabulary.errors import InvalidInputError
from braid_hpc.vocabulary.identity import content_of_bytes


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a file in the working directory, with a name that a uri must quote."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scan 7%.toml"
    path.write_bytes(b"energy = 71.7\n")
    return path


def test_a_file_is_read_and_its_uri_made_absolute(file: Path) -> None:
    """However it is named: as a path, as a relative or absolute uri, as a plain text."""
    content = content_of_bytes(file.read_bytes())
    for about in (
        {"path": file},
        {"path": "scan 7%.toml"},
        {"uri": "file:scan%207%25.toml"},
        {"uri": file.as_uri()},
        {"uri": f"file://localhost{file.as_uri()[7:]}"},
        {"uri": "scan 7%.toml"},
        {"uri": [file]},
    ):
        found = describe(**about)
        assert (found.uris, found.content) == ([file.as_uri()], content), about


def test_what_is_not_here_stands_with_its_uri() -> None:
    """Other schemes and hosts as they are, a local file that is missing with its absolute uri, and no content."""
    for uri in ("s3://bucket/key", "https://host/x?y=1", "file://otherhost/a/b", "globus:abc", "no/such/file"):
        found = describe(uri=uri)
        assert (found.uris, found.content) == ([uri], None)
    found = describe(uri="file:no/such/file")
    assert (found.uris, found.content) == ([Path("no/such/file").absolute().as_uri()], None)


def test_all_uris_are_kept_in_order(file: Path) -> None:
    """The content is that of the first file that can be read."""
    found = describe(uri=["s3://b/k", "missing.h5", file.as_uri()], path=file)
    assert found.uris == [file.as_uri(), "s3://b/k", "missing.h5", file.as_uri()]
    assert found.content == content_of_bytes(file.read_bytes())


def test_a_large_file_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, time and inode stand in, and are marked as that."""
    monkeypatch.setattr(contents, "HASH_LIMIT", 5)
    found = describe(path=file)
    assert found.content is not None
    assert found.content.weak
    assert found.content.digest.startswith("stat:14-")
    assert found.content.size == 14


@pytest.mark.parametrize("name", ["folder", "pipe", "secret"])
def test_what_cannot_be_read_has_no_content(tmp_path: Path, name: str) -> None:
    """A folder, a pipe (which is not waited for) and, but for root, a file without permission."""
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read any file")
    found = describe(path=path)
    assert (found.uris, found.content) == ([path.as_uri()], None)


ARRAYS = [
    np.arange(6, dtype="<i4").reshape(2, 3),
    np.zeros(3, complex),
    np.zeros(3, ">f4"),
    np.zeros(3, "f2"),
    np.zeros(3, [("a", "i4"), ("b", "f8")]),
    np.zeros((2, 3), "M8[ns]"),
    np.array(3.5),
    np.zeros((0, 4)),
    np.zeros(3, "U5"),
    np.zeros(4, bool),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype.str}{values.shape}")
def test_an_array_is_described(values: Any) -> None:
    """Digest, size, dtype and shape, of every dtype with bytes of its own."""
    found = describe(array=values)
    dtype = values.dtype.str if values.dtype.names is None else str(values.dtype.descr)
    assert (found.dtype, found.shape) == (dtype, list(values.shape))
    assert found.content is not None
    assert found.content.size == values.nbytes
    assert found.uris == []
    assert describe(array=values.copy()) == found
    values = np.frombuffer(values.tobytes(), values.dtype).reshape(values.shape)
    assert describe(array=values) == found


def test_equal_arrays_have_one_content_whatever_their_strides() -> None:
    """Row-major counts; other values, dtypes and shapes are other contents."""
    values = np.arange(24, dtype="i4").reshape(4, 6)
    digest = describe(array=values).content
    assert describe(array=np.asfortranarray(values)).content == digest
    assert describe(array=np.repeat(values, 2, axis=1)[:, ::2]).content == digest
    others = [values + 1, values.reshape(6, 4), values.view("u4"), values.astype("i8"), values.T]
    assert len({describe(array=other).content for other in [values, *others]}) == 6


def test_other_buffers_are_arrays_too() -> None:
    """Without NumPy."""
    found = describe(array=array.array("d", [1, 2]))
    assert (found.dtype, found.shape) == ("d", [2])
    assert describe(array=b"abc").shape == [3]
    assert describe(array=bytearray(64)).content == describe(array=memoryview(bytes(64))).content


def test_a_given_digest_counts_first(file: Path) -> None:
    """Before that of an array, and that before a file's; bytes become digits."""
    values = np.zeros(3)
    found = describe(digest="sha256:ab", size=7, array=values, path=file)
    assert found.content is not None
    assert (found.content.digest, found.content.size, found.shape) == ("sha256:ab", 7, [3])
    assert describe(array=values, path=file).content == describe(array=values).content
    given = describe(digest=b"\x01\xff").content
    assert given is not None
    assert given.digest == "01ff"


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"uri": 5}, "uri= is a text"),
        ({"uri": ["a", 5]}, "uri= is a text"),
        ({"path": 5}, "path= is a file's path"),
        ({"array": "text"}, "array="),
        ({"array": object()}, "array="),
        ({"array": [1, 2]}, "array="),
        ({"array": np.array([object()])}, "Python objects"),
        ({"digest": 5}, "digest="),
        ({"digest": " "}, "digest="),
        ({"digest": "ab", "size": "x"}, "size="),
        ({"digest": "ab", "size": True}, "size="),
    ],
)
def test_wrong_input_is_refused(about: dict[str, Any], reason: str) -> None:
    """With the keyword that is wrong."""
    with pytest.raises(InvalidInputError, match=reason):
        describe(**about)


def test_local_paths() -> None:
    """What names a file on this machine, and what does not."""
    assert local_path("file:/a/b") == local_path("file:///a/b") == Path("/a/b")
    assert local_path("file:b%20c") == Path("b c").absolute()
    assert local_path("a/b:c") == Path("a/b:c").absolute()
    assert local_path("file://host/a") is None
    assert local_path("s3://a/b") is None
