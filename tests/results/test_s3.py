"""Results in object storage, with a server that speaks S3, and inputs from a server of files (``make test-places``)."""

from __future__ import annotations

import functools
import http.server
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.results import DatasetResult, LocalResult, Npy, RemoteResult, S3Result, Text, loaded, source
from braid_hpc.results.export import open_dataset
from braid_hpc.results.remote import RemoteStorage
from braid_hpc.results.storage import Storage
from braid_hpc.results.testing import StorageContract
from braid_hpc.vocabulary.errors import NotFoundError, StorageError
from tests.results.tasks_there import TasksThere

pytest.importorskip("s3fs", reason="installed by `make test-places` only")
pytest.importorskip("moto", reason="installed by `make test-places` only")

# What goes on between a server and its clients ends later than a test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:moto"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    """Start a server; give what tells fsspec of it."""
    from moto.server import ThreadedMotoServer

    before = dict(os.environ)
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield {"endpoint_url": f"http://{host}:{port}"}
    started.stop()
    os.environ.clear()
    os.environ |= before


@pytest.fixture
def bucket(server: dict[str, Any]) -> str:
    """Make a bucket, and give its name."""
    import s3fs

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(**server).mkdir(name)
    return name


class _InBucket:
    @pytest.fixture(autouse=True)
    def start(self, server: dict[str, Any], bucket: str) -> None:
        self.options, self.url = server, f"s3://{bucket}/place"


class TestS3(_InBucket, StorageContract):
    def make(self, folder: Path) -> Storage:
        return RemoteStorage(self.url, tuple(self.options.items()))

    def names(self, folder: Path) -> set[str]:
        return set(RemoteStorage(self.url, tuple(self.options.items())).names())

    def test_an_object_that_was_written_again_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its store lists another time, so the digest decides, also where the size is the same."""
        from braid_hpc.results import Found, Raw, Target

        target = Target(self.make(tmp_path), "x.bin", Raw())
        written = target.write(b"1")
        assert written.mtime_ns is not None
        about: dict[str, Any] = {
            "size": written.size,
            "digest": written.digest,
            "mtime_ns": written.mtime_ns - 1_000_000_000,
        }
        assert target.found(**about) is Found.AS_RECORDED
        target.write(b"2")
        assert target.found(**about) is Found.CHANGED


class TestResultsThere(_InBucket, TasksThere):
    def place(self, folder: Path) -> tuple[str, dict[str, Any]]:
        return self.url, self.options


def test_one_word_moves_results_there(tmp_path: Path, server: dict[str, Any], bucket: str) -> None:
    """The same arguments, the same bytes, the same version of the dataset."""
    found = []
    for kind, where, options in ((LocalResult, tmp_path / "cells", {}), (S3Result, f"{bucket}/cells", server)):
        result = kind(where, serializer=Npy(), options=options)
        within = tmp_path / "datasets" if kind is LocalResult else f"s3://{bucket}/datasets"
        rows = []
        for cell in range(3):
            target = result.at("{cell}.npy", {"cell": cell})
            rows.append({"cell": cell, "image": target.lazy(target.write(np.full((2, 2), cell)))})
        target = DatasetResult("cells", readme="Cells.", file_columns=["image"], within=within, options=options).at(
            "", {}
        )
        dataset = loaded(target.lazy(target.write(rows)))
        found.append(
            (dataset.version, dataset["cell"], [(file.size, file.digest, file.content) for file in dataset["image"]])
        )
    assert found[0] == found[1]


def test_options_stay_out_of_logs_and_manifests(tmp_path: Path, server: dict[str, Any], bucket: str) -> None:
    """They may hold passwords."""
    options = {**server, "key": "key", "secret": "hidden-word"}

    @braid.task(
        version="1",
        name="s3.text",
        result=S3Result(f"{bucket}/texts", serializer=Text(), options=options),
        target="{n}.txt",
    )
    def text(n: int) -> str:
        return f"text of {n}"

    within = f"s3://{bucket}/datasets"

    @braid.task(
        version="1",
        name="s3.texts",
        result=DatasetResult("texts", readme="Texts.", file_columns=["text"], within=within, options=options),
    )
    def texts(made: list[Any]) -> list[dict[str, Any]]:
        return [{"n": n, "text": each} for n, each in enumerate(made)]

    with braid.job("job", log_dir=tmp_path / "logs", store=tmp_path / "prov.duckdb"):
        assert len(texts([text(n) for n in range(3)])) == 3
    braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    assert b"hidden-word" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    storage = RemoteStorage(f"s3://{bucket}", tuple(server.items()))
    for name in storage.names():
        with storage.open(name) as file:
            assert b"hidden-word" not in file.read()
    assert len(open_dataset(f"{within}/texts", options=server)) == 3


def test_what_a_store_refuses_is_one_sentence(server: dict[str, Any]) -> None:
    """No such bucket, nobody there, a key that is not good: whatever its package makes of it."""
    target = S3Result("no-bucket/cells", serializer=Npy(), options=server).at("3.npy", {})
    with pytest.raises(StorageError, match=r"s3://no-bucket/cells/3\.npy cannot be written: .*bucket") as caught:
        target.write(np.zeros(3))
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError, match=r"there is no file at s3://no-bucket/cells/3\.npy"):
        target.read()
    once = {"config_kwargs": {"retries": {"total_max_attempts": 1}}, "endpoint_url": "http://127.0.0.1:9"}
    nobody = S3Result("bucket/cells", serializer=Npy(), options=once).at("3.npy", {})
    for call in (lambda: nobody.write(np.zeros(3)), nobody.there, nobody.read):
        with pytest.raises(StorageError, match=r"s3://bucket/cells/3\.npy cannot be .*: .*connect") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_process_that_is_killed_leaves_no_name(tmp_path: Path, server: dict[str, Any], bucket: str) -> None:
    """And a serializer that fails half-way sends nothing."""
    storage = RemoteStorage(f"s3://{bucket}/place", tuple(server.items()))

    class Failing(Text):
        def write(self, value: Any, file: Any) -> None:
            file.write(bytes(20 << 20))
            raise ArithmeticError("no other half")

    target = S3Result(f"{bucket}/place", serializer=Failing(), options=server).at("x.txt", {})
    with pytest.raises(ArithmeticError, match="no other half"):
        target.write("text")
    assert storage.names() == []


# ---------------------------------------------------------------------- a server of files


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *about: Any) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """Serve a folder; give its url."""
    (tmp_path / "site").mkdir()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_an_input_counts_by_its_content(
    kind: str, tmp_path: Path, website: str, server: dict[str, Any], bucket: str
) -> None:
    """Recorded by url and digest; a changed one is another call, and the same bytes at another place are not."""
    ran: list[str] = []

    @braid.task(version="1", name="places.mean")
    def mean(image: Any) -> float:
        ran.append("mean")
        return float(np.mean(image))

    here = LocalResult(tmp_path / "site", serializer=Npy())
    there = S3Result(f"{bucket}/site", serializer=Npy(), options=server)
    place, url, options = (here, website, {}) if kind == "http" else (there, f"s3://{bucket}/site", server)
    place.at("cell.npy", {}).write(np.arange(4.0))
    place.at("copy.npy", {}).write(np.arange(4.0))
    for number in range(2):
        ran.clear()
        with braid.job("job", log_dir=tmp_path / "logs", store=tmp_path / "prov.duckdb"):
            assert mean(source(f"{url}/cell.npy", options=options)) == 1.5
            assert len(ran) == 1 - number
            if number:
                assert mean(source(f"{url}/copy.npy", options=options)) == 1.5
                assert ran == []
                place.at("cell.npy", {}).write(np.arange(5.0))
                assert mean(source(f"{url}/cell.npy", options=options)) == 2.0
                assert ran == ["mean"]
        braid.compact(tmp_path / "logs", tmp_path / "prov.duckdb")
    with braid.open(tmp_path / "prov.duckdb") as store:
        query = "select name, digest, size from versions where kind = 'data' and name like '%cell.npy' order by version"
        found = store.sql(query).to_pylist()
        assert [each["name"] for each in found] == [f"{url}/cell.npy"] * 2
        assert [each["size"] for each in found] == [160, 168]
        assert len({each["digest"] for each in found}) == 2
        assert len(store.find(uri=f"{url}/cell.npy")) == 2


def test_what_a_website_refuses_is_one_sentence(website: str) -> None:
    """A page that is not there, one that cannot be written, and a server that is not there."""
    with pytest.raises(NotFoundError, match=r"there is no file at .*/cell\.npy"):
        source(f"{website}/cell.npy")
    target = RemoteResult(website, serializer=Npy()).at("cell.npy", {})
    with pytest.raises(StorageError, match=r"cell\.npy cannot be written: ") as caught:
        target.write(np.zeros(3))
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9/cell\.npy cannot be read: "):
        source("http://127.0.0.1:9/cell.npy")


def test_a_dataset_may_name_files_of_a_website(tmp_path: Path, website: str) -> None:
    for number in range(2):
        (tmp_path / f"site/{number}.txt").write_text(f"text of {number}")
    rows = [{"n": number, "text": f"{website}/{number}.txt"} for number in range(2)]
    target = DatasetResult("texts", readme="Texts.", file_columns=["text"], within=tmp_path / "datasets").at("", {})
    dataset = loaded(target.lazy(target.write(rows)))
    assert [file.load() for file in dataset["text"]] == ["text of 0", "text of 1"]
    assert dataset.export(tmp_path / "package").problems(verify="digest") == []
    (tmp_path / "site/1.txt").write_text("text of 7")
    assert [said.partition(": ")[0] for said in dataset.problems(verify="digest")] == ["row 1, column text"]
