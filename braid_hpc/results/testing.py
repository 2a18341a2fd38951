"""What every serializer and every place must do, as tests: derive from these classes in a test module of yours.

Needs pytest; it is the one module here that is not for ranks.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from braid_hpc.results.digesting import DigestingFile
from braid_hpc.results.result_contract import ResultContract
from braid_hpc.results.serializer import Serializer
from braid_hpc.results.storage import Storage
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError
from braid_hpc.vocabulary.identity import content_of_bytes

__all__ = ["ResultContract", "SerializerContract", "StorageContract"]


class SerializerContract:
    """The behaviour that :class:`braid_hpc.results.serializer.Serializer` describes.

    A test class derives from it and says what its serializer is, in the methods that raise here.

    Attributes
    ----------
    same_bytes : bool
        Whether equal values give equal bytes, so that two ranks that write one agree. Say False if they cannot.
    """

    same_bytes = True

    def make(self) -> Serializer:
        """Make the serializer."""
        raise NotImplementedError

    def values(self) -> list[Any]:
        """Give values that it takes, no two of them equal."""
        raise NotImplementedError

    def refused(self) -> list[Any]:
        """Give values that it does not take."""
        raise NotImplementedError

    def equal(self, read: Any, given: Any) -> bool:
        """Say whether what was read is what was given."""
        return bool(type(read) is type(given) and read == given)

    def written(self, value: Any) -> bytes:
        """Give the bytes of a value."""
        under = io.BytesIO()
        file = DigestingFile(under)
        self.make().write(value, cast(BinaryIO, file))
        digest, size = file.finish()
        data = under.getvalue()
        assert (digest, size) == (content_of_bytes(data).digest, len(data))
        return data

    def test_it_is_a_serializer(self) -> None:
        """Its files have an ending and a media type."""
        serializer = self.make()
        assert isinstance(serializer, Serializer)
        assert serializer.suffix.startswith(".")
        assert "/" not in serializer.suffix
        assert serializer.media_type.count("/") == 1

    def test_values_come_back(self) -> None:
        """As they were, from a file that is closed afterwards."""
        for value in self.values():
            with io.BytesIO(self.written(value)) as file:
                read = self.make().read(file)
            assert self.equal(read, value), value

    def test_values_come_back_from_a_place(self, tmp_path: Path) -> None:
        """From a real file, held against its digest."""
        from braid_hpc.results.result import LocalResult

        for number, value in enumerate(self.values()):
            target = LocalResult(tmp_path, serializer=self.make()).at("{number}", {"number": number})
            written = target.write(value)
            assert self.equal(target.read(digest=written.digest), value), value

    def test_equal_values_have_one_content(self) -> None:
        """What was read has the digest of what was written, and other values have others."""
        serializer = self.make()
        contents = [serializer.content(value) for value in self.values()]
        if None in contents:
            assert set(contents) == {None}, "a serializer has digests for all of its values, or for none"
            return
        assert len(set(contents)) == len(contents)
        for value, content in zip(self.values(), contents, strict=True):
            assert content is not None
            assert content.startswith("blake3:")
            assert serializer.content(serializer.read(io.BytesIO(self.written(value)))) == content

    def test_equal_values_give_equal_bytes(self) -> None:
        """Two ranks that write one value write one file."""
        if self.same_bytes:
            for value, again in zip(self.values(), self.values(), strict=True):
                assert self.written(value) == self.written(again), value

    def test_other_values_are_refused(self) -> None:
        """In one sentence, whether they are written or digested."""
        for value in self.refused():
            for call in (self.written, self.make().content):
                with pytest.raises(InvalidInputError) as caught:
                    call(value)
                assert "\n" not in str(caught.value)

    def test_bytes_of_something_else_are_an_error(self) -> None:
        """Not a value."""
        with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever its library says
            self.make().read(io.BytesIO(b"\x89something else\xff"))

    def test_it_goes_to_other_processes(self) -> None:
        """And works there."""
        serializer = pickle.loads(pickle.dumps(self.make()))
        (value, *_) = self.values()
        assert serializer.content(value) == self.make().content(value)


class StorageContract:
    """The behaviour that :class:`braid_hpc.results.storage.Storage` describes.

    Attributes
    ----------
    keeps_times : bool
        Whether it knows when a file was changed last.
    """

    keeps_times = True

    def make(self, folder: Path) -> Storage:
        """Make an empty place; the folder is for those that need one."""
        raise NotImplementedError

    def names(self, folder: Path) -> set[str]:
        """Give the paths of all files that are in the place."""
        raise NotImplementedError

    def test_it_is_a_place(self, tmp_path: Path) -> None:
        """Nothing is there before something is stored."""
        storage = self.make(tmp_path)
        assert isinstance(storage, Storage)
        storage.ready()
        assert storage.look("a/b.bin") is None
        assert "://" in storage.uri("a/b.bin")
        assert storage.uri("a/b.bin").endswith("a/b.bin")
        with pytest.raises(NotFoundError, match=r"a/b\.bin"):
            storage.open("a/b.bin")
        assert self.names(tmp_path) == set()

    def test_what_is_stored_is_read(self, tmp_path: Path) -> None:
        """Any number of bytes, with their digest, at once and from another process's handle."""
        storage = self.make(tmp_path)
        for number, data in enumerate((b"", b"one", bytes(range(256)) * 5000)):
            stored = storage.put(f"deep/down/{number}.bin", _filler(data))
            assert stored.digest == content_of_bytes(data).digest
            assert stored.size == len(data)
            assert (stored.mtime_ns is not None) == self.keeps_times
            other = pickle.loads(pickle.dumps(storage))
            seen = other.look(f"deep/down/{number}.bin")
            assert (seen.size, seen.mtime_ns) == (len(data), stored.mtime_ns)
            with other.open(f"deep/down/{number}.bin") as file:
                assert file.read() == data
                file.seek(0)
                assert file.read(3) == data[:3]
        assert self.names(tmp_path) == {f"deep/down/{number}.bin" for number in range(3)}

    def test_a_file_is_replaced_whole(self, tmp_path: Path) -> None:
        """By a shorter one too, and who reads the old one reads it to its end."""
        storage = self.make(tmp_path)
        storage.put("x.bin", _filler(b"a" * 100))
        with storage.open("x.bin") as file:
            storage.put("x.bin", _filler(b"b"))
            assert file.read() == b"a" * 100
        with storage.open("x.bin") as file:
            assert file.read() == b"b"

    def test_what_is_written_out_of_order_is_digested(self, tmp_path: Path) -> None:
        """As formats with a table of contents at their beginning do."""

        def fill(file: BinaryIO) -> None:
            file.write(b"....body")
            file.seek(0)
            file.write(b"head")
            file.seek(0)
            assert file.read() == b"headbody"

        assert self.make(tmp_path).put("x.bin", fill).digest == content_of_bytes(b"headbody").digest

    def test_a_file_is_as_long_as_it_was_said_to_be(self, tmp_path: Path) -> None:
        """Cut or extended, in memory as on a disk: formats with a size of their own do that."""

        def fill(file: BinaryIO) -> None:
            file.write(b"much too long")
            assert file.truncate(4) == 4
            assert file.truncate(6) == 6
            file.seek(9)
            file.write(b"end")
            assert file.truncate(14) == 14

        stored = self.make(tmp_path).put("x.bin", fill)
        data = b"much" + bytes(5) + b"end" + bytes(2)
        assert (stored.size, stored.digest) == (14, content_of_bytes(data).digest)
        with self.make(tmp_path).open("x.bin") as file:
            assert file.read() == data

    @pytest.mark.parametrize("error", [FileNotFoundError(2, "no such table"), OSError("own"), ValueError("no")])
    def test_what_a_writer_raises_is_raised_as_it_is(self, tmp_path: Path, error: Exception) -> None:
        """Also where it looks like what a file system answers: it was another file."""

        def fill(file: BinaryIO) -> None:
            file.write(b"half of it")
            raise error

        with pytest.raises(type(error)) as caught:
            self.make(tmp_path).put("x.bin", fill)
        assert caught.value is error
        assert self.names(tmp_path) == set()

    @pytest.mark.parametrize("before", [b"", b"what was there"])
    def test_a_writer_that_fails_leaves_nothing(self, tmp_path: Path, before: bytes) -> None:
        """Neither a part of the file nor another one, and what was there before stays."""
        storage = self.make(tmp_path)
        if before:
            storage.put("deep/x.bin", _filler(before))

        def fill(file: BinaryIO) -> None:
            file.write(b"half of it")
            raise ArithmeticError("no other half")

        with pytest.raises(ArithmeticError, match="no other half") as caught:
            storage.put("deep/x.bin", fill)
        assert storage.uri("deep/x.bin") in caught.value.__notes__[0]
        assert self.names(tmp_path) == ({"deep/x.bin"} if before else set())
        if before:
            with storage.open("deep/x.bin") as file:
                assert file.read() == before

    def test_an_interrupted_writer_leaves_nothing(self, tmp_path: Path) -> None:
        """Ctrl-C is no Exception."""

        def fill(file: BinaryIO) -> None:
            file.write(b"half of it")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.make(tmp_path).put("x.bin", fill)
        assert self.names(tmp_path) == set()

    def test_a_directory_is_no_file(self, tmp_path: Path) -> None:
        """It is not seen as one, and not replaced by one."""
        storage = self.make(tmp_path)
        storage.put("x/y.bin", _filler(b"y"))
        assert storage.look("x") is None
        with pytest.raises(BraidError):
            storage.open("x").close()


def _filler(data: bytes) -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(data)

    return fill
