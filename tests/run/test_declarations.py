"""What a declaration keeps of what it was given."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

import braid_hpc as braid
from braid_hpc.run.handles import Record
from braid_hpc.vocabulary.codes import Code
from braid_hpc.vocabulary.encoding import encode_canonical
from braid_hpc.vocabulary.identity import content_of_value
from tests.rank_logs import declared, log_of, said


def test_a_declaration_keeps_what_was_given(run: braid.Run, tmp_path: Path) -> None:
    """Kind, name, parents, uris, tags, dtype, shape, unit; the handle is its occurrence."""
    one = run.data("one")
    record = run.record(
        "dataset",
        "frames/scan-7",
        uri=["s3://bucket/key"],
        digest="sha256:ab",
        size=5,
        dtype=np.dtype("u2"),
        shape=(2, 3),
        unit="counts",
        derived_from=[one, "model:other@2", None],
        tags={"beam": {"energy_keV": 71.7}},
        same_on_all_ranks=True,
    )
    row = declared(run)["frames/scan-7"]
    assert record == Record(run.writer, row.sequence, "dataset", "frames/scan-7")
    assert log_of(run).names()[row.other] == "dataset"
    assert row.value == {
        "parents": [one.sequence, "model:other@2"],
        "digest": "sha256:ab",
        "size": 5,
        "uris": ["s3://bucket/key"],
        "tags": {"beam.energy_keV": 71.7},
        "dtype": "<u2",
        "shape": [2, 3],
        "unit": "counts",
        "shared": True,
    }


def test_a_fact_without_bytes_has_its_value_as_content(run: braid.Run) -> None:
    """So that equal facts of all ranks and runs are one, whatever the order of their keys."""
    run.fact("config", {"b": 1, "a": [1 << 70, float("nan")]})
    run.fact("nothing")
    rows = declared(run)
    value = rows["config"].value
    assert value["digest"] == content_of_value(encode_canonical({"a": [1 << 70, float("nan")], "b": 1})).digest
    assert value["value"]["a"][0] == 1 << 70
    assert rows["nothing"].value == {"digest": content_of_value(encode_canonical(None)).digest}


def test_a_file_and_an_array_are_contents(run: braid.Run, tmp_path: Path) -> None:
    """Of which nothing is stored but digest, size, dtype and shape; the array is known from then on."""
    (tmp_path / "scan.toml").write_bytes(b"a = 1\n")
    frames = np.zeros((2, 3))
    record = run.data("frames", array=frames, path=tmp_path / "scan.toml")
    value = declared(run)["frames"].value
    assert (value["dtype"], value["shape"], value["size"]) == ("<f8", [2, 3], 48)
    assert value["uris"] == [(tmp_path / "scan.toml").as_uri()]
    assert braid.record_of(frames) is record
    run.data("other", derived_from=frames[0])
    assert declared(run)["other"].value["parents"] == [record.sequence]


def test_parents_in_all_their_forms(run: braid.Run) -> None:
    """Nested lists, handles of other writers, late ones, texts; None is passed over, as before the first epoch."""
    here, there = run.data("here"), Record(bytes(range(16)), 77, "data", "there")
    model = None
    model = run.model("braggnn", derived_from=[model, here])
    run.model("next", derived_from=(here, [there, (model.on_all_ranks(), there.on_all_ranks())], {'data:"a@b"'}, None))
    rows = declared(run)
    assert rows["braggnn"].value["parents"] == [here.sequence]
    assert rows["next"].value["parents"] == [
        here.sequence,
        bytes(there),
        [model.sequence],
        [bytes(there)],
        'data:"a@b"',
    ]


def test_a_handle_from_another_process_is_a_parent(run: braid.Run) -> None:
    """Through pickle, as mpi4py sends it, or through its token."""
    record = pickle.loads(pickle.dumps(Record(bytes(range(16)), 5, "data", "x")))
    run.data("a", derived_from=[record, Record.from_token(record.token), pickle.loads(pickle.dumps(run.data("own")))])
    rows = declared(run)
    assert rows["a"].value["parents"] == [bytes(record), bytes(record), rows["own"].sequence]


def test_later_parents_and_tags(run: braid.Run) -> None:
    """Statements of their own about an earlier occurrence, also about another writer's."""
    one, two, far = run.data("one"), run.data("two"), Record(bytes(range(16)), 9, "data", "far")
    run.derive(two, [one, "fact:x"])
    run.derive(far, one)
    run.tag(two, "passed", True)
    run.tag(far, "note", "é")
    log = log_of(run)
    near, other = said(log, Code.DERIVE)
    assert (near.subject, near.object, near.value) == (two.sequence, 0, {"links": [one.sequence, "fact:x"]})
    assert (other.subject, log.names()[other.object]) == (9, far.writer.hex())
    tags = said(log, Code.TAG)
    assert [(row.subject, row.value) for row in tags] == [(two.sequence, {"passed": True}), (9, {"note": "é"})]
