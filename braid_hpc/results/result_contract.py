"""What results at every kind of place must do, as tests: the same bodies, whatever the url."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from braid_hpc.results.dataset import MANIFEST, README, Dataset, DatasetResult
from braid_hpc.results.export import absolute, open_dataset, relative
from braid_hpc.results.lazy import loaded
from braid_hpc.results.result import Result, Target
from braid_hpc.results.storage import Storage
from braid_hpc.results.texts import Raw, Text
from braid_hpc.results.written import Found, Written
from braid_hpc.vocabulary.errors import ConflictError, InvalidInputError, NotFoundError

__all__ = ["ResultContract"]

#: Writes one target again and again, each time other bytes, of which the first says how many there are.
_WRITING = """
import pickle, sys
storage, number, times, size = pickle.load(sys.stdin.buffer)
print("begun", flush=True)
for turn in range(times):
    data = bytes([number]) * (size + number)
    storage.put("x.bin", lambda file: file.write(data))
"""


class ResultContract:
    """The behaviour of results, wherever they lie.

    A test class derives from it and says where.

    Attributes
    ----------
    shared : bool
        Whether other processes find there what this one has written.
    """

    shared = True

    def place(self, folder: Path) -> tuple[str, Mapping[str, Any]]:
        """Give the url of an empty place, and options for fsspec; the folder is for those that need one."""
        raise NotImplementedError

    def result(self, folder: Path, below: str, serializer: Any) -> Result:
        """Give results somewhere below the place."""
        url, options = self.place(folder)
        return Result(f"{url}/{below}", serializer=serializer, options=options)

    def numbered(self, folder: Path, number: int) -> Target:
        """Give one target of many."""
        return self.result(folder, "texts", Text()).at("{number:02d}.txt", {"number": number})

    def spoil(self, target: Target, change: Callable[[bytes], bytes]) -> None:
        """Change a file behind the back of those who wrote it."""
        data = Target(target.storage, target.path, Raw())
        data.write(change(data.read()))

    def test_a_result_is_known_again(self, tmp_path: Path) -> None:
        """By what was recorded of it, in this process and in another one's hands."""
        target = self.numbered(tmp_path, 3)
        assert not target.there()
        written = target.write("text of 3")
        assert written.uri == target.uri
        assert "://" in written.uri
        again = pickle.loads(pickle.dumps(target))
        for verify in ("size", "digest"):
            assert again.found(**_known(written), verify=verify) is Found.AS_RECORDED
        assert again.read(digest=written.digest) == "text of 3"
        assert loaded(pickle.loads(pickle.dumps(again.lazy(written)))) == "text of 3"
        assert target.write("text of 3").digest == written.digest

    def test_half_of_a_file_is_noticed(self, tmp_path: Path) -> None:
        """By its size alone, and when it is read."""
        target = self.numbered(tmp_path, 3)
        written = target.write("text of 3")
        self.spoil(target, lambda data: data[: len(data) // 2])
        assert target.found(**_known(written)) is Found.CHANGED
        with pytest.raises(ConflictError, match="is not the file that was recorded"):
            target.read(digest=written.digest)
        assert loaded(target.lazy(written, otherwise=lambda: "made again")) == "made again"

    def test_other_bytes_of_the_same_size_are_noticed(self, tmp_path: Path) -> None:
        """When they are read at the latest."""
        target = self.numbered(tmp_path, 3)
        written = target.write("text of 3")
        self.spoil(target, lambda data: data[:-1] + b"4")
        assert target.found(**_known(written), verify="digest") is Found.CHANGED
        with pytest.raises(ConflictError, match="is not the file that was recorded"):
            target.read(digest=written.digest)

    def test_two_processes_that_write_one_target_leave_one_whole_file(self, tmp_path: Path) -> None:
        """One of theirs; who reads meanwhile reads a whole one."""
        storage = self.seen_by_others(tmp_path)
        size = 300_000
        writers = [_start(storage, number, 15, size) for number in (1, 2)]
        reads = 0
        while any(writer.poll() is None for writer in writers):
            if storage.look("x.bin") is not None:
                reads += self.whole(storage, size)
        assert [writer.wait() for writer in writers] == [0, 0]
        assert self.whole(storage, size)
        assert reads

    def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file_or_none(self, tmp_path: Path) -> None:
        """Whenever that is; and the next one writes it."""
        storage = self.seen_by_others(tmp_path)
        size, chosen = 20 << 20, random.Random(5)
        for trial in range(6):
            writer = _start(storage, trial, 1000, size)
            time.sleep(chosen.uniform(0.0, 0.6))
            writer.kill()
            assert writer.wait() != 0
            if storage.look("x.bin") is not None:
                assert self.whole(storage, size)
        assert _start(storage, 7, 1, size).wait() == 0
        assert self.whole(storage, size)

    def seen_by_others(self, folder: Path) -> Storage:
        """Give a place that other processes find too."""
        if not self.shared:
            pytest.skip("other processes do not see what is stored there")
        return self.result(folder, "shared", Raw()).storage

    def whole(self, storage: Storage, size: int) -> bool:
        """Say that a file is the one that its first byte says."""
        with storage.open("x.bin") as file:
            data = file.read()
        assert len(data) == size + data[0], "a part of one"
        assert data.count(data[0]) == len(data), "a mixture"
        return True

    def test_a_dataset_lies_there(self, tmp_path: Path) -> None:
        """Its files too; and what happens to them behind its back is found."""
        url, options = self.place(tmp_path)
        dataset = self.dataset(tmp_path)
        assert [file.uri for file in dataset["text"]] == [self.numbered(tmp_path, number).uri for number in range(3)]
        assert dataset.problems(verify="digest", options=options) == []
        assert open_dataset(f"{url}/datasets/texts", options=options) == dataset
        assert dataset["text"][1].load(options=options) == "text of 1"
        self.spoil(self.numbered(tmp_path, 2), lambda data: data[:-1] + b"4")
        self.spoil(self.numbered(tmp_path, 1), lambda data: data[:-1])
        assert [said.partition(": ")[0] for said in dataset.problems(verify="digest", options=options)] == [
            "row 1, column text",
            "row 2, column text",
        ]

    def test_a_dataset_of_files_that_are_not_as_they_were_is_refused(self, tmp_path: Path) -> None:
        """With row and column, and nothing is written."""
        url, options = self.place(tmp_path)
        rows = self.rows(tmp_path)
        self.spoil(self.numbered(tmp_path, 1), lambda data: data[:-1])
        with pytest.raises(InvalidInputError, match=r"row 1, column text: .*01\.txt is not the file that was recorded"):
            self.collected(tmp_path).write(rows)
        rows[1]["text"] = f"{url}/texts/77.txt"
        with pytest.raises(NotFoundError, match=r"row 1, column text: there is no file at .*/texts/77\.txt"):
            self.collected(tmp_path).write(rows)
        with pytest.raises(NotFoundError):
            open_dataset(f"{url}/datasets/texts", options=options)

    def test_a_dataset_is_exported_there(self, tmp_path: Path) -> None:
        """Whole, with every digest checked; and from there into a folder of this machine."""
        url, options = self.place(tmp_path)
        dataset = self.dataset(tmp_path)
        exported = dataset.export(f"{url}/package", options=options)
        assert exported.version == dataset.version
        assert [file.uri.rpartition("/package/")[2] for file in exported["text"]] == [
            f"text/{number:02d}.txt" for number in range(3)
        ]
        assert exported.problems(verify="digest", options=options) == []
        short = relative(exported, f"{url}/package")
        assert [file.uri for file in short["text"]] == [f"text/{number:02d}.txt" for number in range(3)]
        assert absolute(short, f"{url}/package") == exported
        with pytest.raises(ConflictError, match="is there already"):
            dataset.export(f"{url}/package", options=options)
        here = exported.export(tmp_path / "here", options=options)
        assert here.version == dataset.version
        assert here.problems(verify="digest") == []

    def test_nothing_is_left_of_an_export_that_failed(self, tmp_path: Path) -> None:
        """Neither manifest nor files."""
        url, options = self.place(tmp_path)
        dataset = self.dataset(tmp_path)
        self.spoil(self.numbered(tmp_path, 2), lambda data: data[:-1] + b"4")
        with pytest.raises(ConflictError, match=r"row 2, column text: .* is not the file of the manifest"):
            dataset.export(f"{url}/package", options=options)
        place = Result(f"{url}/package", serializer=Raw(), options=options).storage
        for path in (MANIFEST, README, "text/00.txt", "text/01.txt", "text/02.txt"):
            assert place.look(path) is None

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Give rows as tasks return them."""
        targets = [self.numbered(folder, number) for number in range(3)]
        return [
            {"n": number, "text": target.lazy(target.write(f"text of {number}"))}
            for number, target in enumerate(targets)
        ]

    def collected(self, folder: Path) -> Target:
        """Give where the dataset lies."""
        url, options = self.place(folder)
        result = DatasetResult(
            "texts", readme="Texts.", file_columns=["text"], within=f"{url}/datasets", options=options
        )
        return result.at("", {})

    def dataset(self, folder: Path) -> Dataset:
        """Write a dataset."""
        target = self.collected(folder)
        dataset: Dataset = loaded(target.lazy(target.write(self.rows(folder))))
        return dataset


def _known(written: Written) -> dict[str, Any]:
    return {"size": written.size, "mtime_ns": written.mtime_ns, "digest": written.digest}


def _start(storage: Storage, number: int, times: int, size: int) -> subprocess.Popen[bytes]:
    """Have another process write; it has begun when this returns."""
    process = subprocess.Popen([sys.executable, "-c", _WRITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as given:
        pickle.dump((storage, number, times, size), given)
    process.stdout.readline()
    process.stdout.close()
    return process
