"""Scans whose values lie in files of detectors: against Tiled, and as they lie in the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from braid_hpc.assets import LazyArray
from braid_hpc.scans.stream_array import StreamArray
from braid_hpc.vocabulary.errors import NotFoundError
from tests.assets.files import events_of, images, with_datums, write_npys
from tests.collectors.documents.instrument import Pair, stored

READERS = Path(__file__).parent / "readers"


def test_an_image_cube_is_that_of_tiled(tmp_path: Path) -> None:
    """The file was moved since Tiled read it."""
    documents: list[Pair] = [tuple(json.loads(line)) for line in (READERS / "frames.jsonl").read_text().splitlines()]
    theirs = json.loads((READERS / "frames.json").read_text())["primary"]["variables"]["camera"]
    moved = {"/moved": str(READERS)}
    with stored(tmp_path, documents) as store:
        scan = store.scan(documents[0][1]["uid"])
        array = scan.array("primary", "camera", root_map=moved)
        assert isinstance(array, LazyArray)
        assert str(array.dtype) == theirs["dtype"]
        np.testing.assert_array_equal(np.asarray(array)[:, 0], np.array(theirs["values"]))
        assert isinstance(scan.array("primary", "motor"), StreamArray)
        events = events_of(scan.documents(fill=True, root_map=moved))
        assert [each["data"]["motor"] for each in events] == [0.0, 0.5, 1.0, 1.5]
        np.testing.assert_array_equal([each["data"]["camera"][0] for each in events], np.array(theirs["values"]))
        # What was recorded stays what it is.
        assert all("camera" not in each["data"] for each in events_of(scan.documents()))
        with pytest.raises(NotFoundError, match=r"'camera' of event 1 .*/moved/frames.h5 is not there"):
            list(scan.documents(fill=True))


def test_datums_are_arrays_too(tmp_path: Path) -> None:
    frames = images(3)
    documents = with_datums(
        "NPY_SEQ", write_npys(tmp_path / "stem", frames), {}, [{"index": n} for n in range(3)], (3, 4)
    )
    with stored(tmp_path, documents) as store:
        scan = store.scan(documents[0][1]["uid"])
        np.testing.assert_array_equal(np.asarray(scan.array("primary", "img")), frames)
        found = scan.documents(fill=True)
        assert found.whole
        assert [kind for kind, _ in found] == [kind for kind, _ in scan.documents()]
