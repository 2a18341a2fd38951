"""What every reader must do, as tests: derive from these classes in a test module of yours.

Needs pytest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid_hpc.assets.filler import Filler
from braid_hpc.assets.protocol import Handler, RowReader
from braid_hpc.vocabulary.errors import BraidError, InvalidInputError, NotFoundError

__all__ = ["HandlerContract", "RowReaderContract"]


class RowReaderContract:
    """The behaviour that :class:`braid_hpc.assets.RowReader` describes.

    A test class derives from it and says what its reader is, in the methods that raise here.
    """

    def make(self, path: Path) -> RowReader:
        """Make the reader of what :meth:`write` wrote."""
        raise NotImplementedError

    def write(self, folder: Path, values: Any) -> Path:
        """Write an array whose first axis is that of the rows; give what the reader is made with."""
        raise NotImplementedError

    def values(self) -> Any:
        """Give such an array, of at least three rows, no two of them equal."""
        return (np.arange(5 * 3 * 4) * 3).reshape(5, 3, 4).astype("uint16")

    def test_it_is_a_reader(self, tmp_path: Path) -> None:
        """It knows shape and type of its rows."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        assert isinstance(reader, RowReader)
        assert (reader.dtype, tuple(reader.row_shape)) == (values.dtype, values.shape[1:])
        assert reader.chunk_rows >= 1
        reader.close()

    def test_rows_come_back(self, tmp_path: Path) -> None:
        """Any that follow each other, as NumPy has them."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        for first in range(len(values)):
            for stop in range(first + 1, len(values) + 1):
                found = reader.read(first, stop)
                assert found.dtype == values.dtype
                np.testing.assert_array_equal(found, values[first:stop])

    def test_parts_of_rows_come_back(self, tmp_path: Path) -> None:
        """With a slice for some of their first axes."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        for axes in range(values.ndim):
            inner = tuple(slice(length // 3, max(length - 1, length // 3)) for length in values.shape[1 : axes + 1])
            np.testing.assert_array_equal(reader.read(1, 3, inner), values[(slice(1, 3), *inner)])

    def test_what_is_read_is_of_the_caller(self, tmp_path: Path) -> None:
        """Changing it changes nothing that is read later."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        reader.read(0, 2)[...] = 0
        np.testing.assert_array_equal(reader.read(0, 2), values[:2])

    def test_rows_beyond_the_last_are_an_error(self, tmp_path: Path) -> None:
        """In one sentence, and never fewer rows."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        for first, stop in ((0, len(values) + 1), (len(values), len(values) + 1), (len(values) + 9, len(values) + 10)):
            with pytest.raises((InvalidInputError, NotFoundError)) as caught:
                reader.read(first, stop)
            assert "\n" not in str(caught.value)

    def test_it_names_its_files(self, tmp_path: Path) -> None:
        """They are there, and whoever copies them has all that is read."""
        values = self.values()
        reader = self.make(self.write(tmp_path, values))
        files = reader.files(0, len(values))
        assert files
        assert all(Path(file).is_file() for file in files)
        assert set(reader.files(1, 2)) <= set(files)

    def test_what_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        """A reader may say so at once, or when it is asked."""
        path = self.write(tmp_path, self.values())
        for file in self.make(path).files(0, len(self.values())):
            Path(file).unlink()
        with pytest.raises(BraidError):
            self.make(path).read(0, 1)

    def test_something_else_is_an_error(self, tmp_path: Path) -> None:
        """Not an array."""
        path = self.write(tmp_path, self.values())
        for file in self.make(path).files(0, len(self.values())):
            Path(file).write_bytes(b"\x89something else\xff")
        with pytest.raises(BraidError) as caught:
            self.make(path).read(0, 1)
        assert "\n" not in str(caught.value)


class HandlerContract:
    """The behaviour that :class:`braid_hpc.assets.Handler` describes, through :class:`braid_hpc.assets.Filler`."""

    def handler(self) -> Any:
        """Give what is called with a path and the resource's kwargs."""
        raise NotImplementedError

    def write(self, folder: Path, values: Any) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
        """Write an array with a row for each datum; give the path, the resource's kwargs, and those of the datums."""
        raise NotImplementedError

    def values(self) -> Any:
        """Give such an array, of at least two rows, no two of them equal."""
        return (np.arange(3 * 3 * 4) * 3).reshape(3, 3, 4).astype("uint16")

    def test_it_is_a_handler(self, tmp_path: Path) -> None:
        """It is made with a path and called without further ones."""
        path, kwargs, datums = self.write(tmp_path, self.values())
        handler = self.handler()(str(path), **kwargs)
        assert isinstance(handler, Handler)
        assert len(datums) == len(self.values())

    def test_datums_come_back(self, tmp_path: Path) -> None:
        """In any order, and each as often as it is asked for."""
        values = self.values()
        path, kwargs, datums = self.write(tmp_path, values)
        handler = self.handler()(str(path), **kwargs)
        for row in (*range(len(values)), *reversed(range(len(values)))):
            np.testing.assert_array_equal(np.asarray(handler(**datums[row])).reshape(values[row].shape), values[row])

    def test_it_fills_events(self, tmp_path: Path) -> None:
        """As part of documents."""
        values = self.values()
        path, kwargs, datums = self.write(tmp_path, values)
        about = {"source": "test", "dtype": "array", "shape": list(values.shape[1:]), "external": "FILESTORE:"}
        resource = {"uid": "r", "spec": "S", "root": str(path.parent), "resource_path": path.name}
        documents: list[tuple[str, dict[str, Any]]] = [
            ("descriptor", {"uid": "d", "name": "primary", "data_keys": {"img": about}}),
            ("resource", {**resource, "resource_kwargs": kwargs}),
            *(
                ("datum", {"datum_id": f"r/{n}", "resource": "r", "datum_kwargs": each})
                for n, each in enumerate(datums)
            ),
            *(
                (
                    "event",
                    {"uid": f"e{n}", "descriptor": "d", "seq_num": n + 1, "data": {"img": f"r/{n}"}, "filled": {}},
                )
                for n in range(len(values))
            ),
        ]
        with Filler(documents, readers={"S": self.handler()}) as filler:
            array = np.asarray(filler.array("primary", "img"))
        np.testing.assert_array_equal(array.reshape(values.shape), values)

    def test_what_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        """It is one of these two, whenever it comes."""
        path, kwargs, datums = self.write(tmp_path, self.values())
        with pytest.raises((BraidError, OSError)):
            self.handler()(str(tmp_path / "not" / path.name), **kwargs)(**datums[0])

    def test_it_names_its_files(self, tmp_path: Path) -> None:
        """If it names any, they are there."""
        path, kwargs, datums = self.write(tmp_path, self.values())
        handler = self.handler()(str(path), **kwargs)
        named = getattr(handler, "get_file_list", None)
        if named is not None:
            assert all(Path(file).is_file() for file in named(datums))
