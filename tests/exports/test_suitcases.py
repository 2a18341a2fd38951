"""Every suitcase, and Bluesky's own plots, make of a replayed scan what they made live (`make test-suitcases`)."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from ophyd.sim import det, img, motor, motor1, motor2

from braid_hpc.exports.replaying import export_documents, replay
from tests.collectors.documents.instrument import Pair
from tests.collectors.documents.test_bluesky import run_plans, two_streams
from tests.exports.test_emitted import split

WHERE = "make test-suitcases has all suitcases"
csv = pytest.importorskip("suitcase.csv", reason=WHERE)
json_metadata = pytest.importorskip("suitcase.json_metadata", reason=WHERE)
jsonl = pytest.importorskip("suitcase.jsonl", reason=WHERE)
msgpack = pytest.importorskip("suitcase.msgpack", reason=WHERE)
specfile = pytest.importorskip("suitcase.specfile", reason=WHERE)
tiff_series = pytest.importorskip("suitcase.tiff_series", reason=WHERE)
tiff_stack = pytest.importorskip("suitcase.tiff_stack", reason=WHERE)

Export = Callable[[Any, Path], Any]


def images() -> Iterator[Any]:
    """Two streams with images in the events themselves."""

    def plan() -> Iterator[Any]:
        for _ in range(3):
            yield from bps.trigger_and_read([camera, motor])
        yield from bps.trigger_and_read([camera], name="dark")

    yield from bpp.run_wrapper(plan(), md={"plan_name": "images"})


class Camera:
    """Gives a frame that is different each time, within the event."""

    name, parent = "camera", None

    def __init__(self) -> None:
        self._frames = iter(range(1000))

    def trigger(self) -> Any:
        from ophyd.status import Status

        status = Status(timeout=1)
        status.set_finished()
        return status

    def read(self) -> dict[str, Any]:
        number = next(self._frames)
        return {"camera": {"value": np.arange(12, dtype="u2").reshape(3, 4) + number, "timestamp": 1.0 + number}}

    def describe(self) -> dict[str, Any]:
        return {"camera": {"source": "SIM", "dtype": "array", "shape": [3, 4], "dtype_numpy": "<u2"}}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    describe_configuration = read_configuration
    hints: ClassVar[dict[str, Any]] = {}


camera = Camera()


SCALARS = [
    lambda: bp.scan([det], motor, -1, 1, 5),
    lambda: bp.count([det], 3),
    two_streams,
]
GRID = [lambda: bp.grid_scan([det], motor1, 0, 1, 2, motor2, 0, 1, 3, snake_axes=False)]


def serialized(serializer: Any) -> Export:
    """Export by a serializer as a RunEngine calls it: some exporters close their files twice, which raises."""

    def export(documents: Any, folder: Path) -> Any:
        taking = serializer(folder)
        for pair in documents:
            taking(*pair)

    return export


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("export", "plans"),
    [
        pytest.param(serialized(csv.Serializer), [*SCALARS, *GRID], id="csv"),
        pytest.param(serialized(json_metadata.Serializer), [*SCALARS, *GRID, images], id="json_metadata"),
        pytest.param(jsonl.export, [*SCALARS, *GRID, images], id="jsonl"),
        pytest.param(msgpack.export, SCALARS + GRID, id="msgpack"),
        pytest.param(specfile.export, SCALARS[:2], id="specfile"),
        pytest.param(tiff_stack.export, [images], id="tiff_stack"),
        pytest.param(tiff_series.export, [images], id="tiff_series"),
    ],
)
def test_suitcases_make_what_they_made_live(tmp_path: Path, export: Export, plans: list[Any]) -> None:
    """File for file the same bytes, one document after another and in pages."""
    seen, store = run_plans(tmp_path, *plans)
    with store:
        for uid, live in split(seen).items():
            export([(name, dict(document)) for name, document in live], tmp_path / uid / "live")
            expected = contents(tmp_path / uid / "live")
            assert expected
            for pages in (None, 2):
                export(export_documents(store.documents(uid), pages=pages), tmp_path / uid / f"{pages}")
                found = contents(tmp_path / uid / f"{pages}")
                assert found.keys() == expected.keys()
                if pages is None or export not in (jsonl.export, msgpack.export):
                    assert same_files(found, expected)


def same_files(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
    """Whether files are equal; of MessagePack and JSON what they hold is, members in any order."""
    for name, data in expected.items():
        if name.endswith(".msgpack"):
            from msgpack import Unpacker

            one, other = (list(Unpacker(io.BytesIO(each))) for each in (found[name], data))
            assert one == other
        elif name.endswith((".json", ".jsonl")):
            import json

            one, other = ([json.loads(line) for line in each.splitlines()] for each in (found[name], data))
            assert one == other
        else:
            assert found[name] == data, name
    return True


def test_best_effort_callback_prints_and_draws_what_it_did_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With matplotlib's Agg: the same tables, and the same lines, points and grids in the same figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from bluesky.callbacks.best_effort import BestEffortCallback

    seen, store = run_plans(tmp_path, *SCALARS, *GRID)

    def drawn(deliver: Callable[[Any], object]) -> tuple[str, Any]:
        plt.close("all")
        printed = io.StringIO()
        callback = BestEffortCallback()
        with redirect_stdout(printed):
            deliver(callback)
        found = [
            (
                figure.get_label(),
                axis.get_xlabel(),
                axis.get_ylabel(),
                [line.get_xydata().tolist() for line in axis.get_lines()],
                [np.ma.filled(image.get_array(), -1).tolist() for image in axis.get_images()],
            )
            for figure in map(plt.figure, plt.get_fignums())
            for axis in figure.axes
        ]
        plt.close("all")
        return printed.getvalue(), found

    with store:
        for uid, live in split(seen).items():
            one = drawn(lambda take, live=live: [take(*pair) for pair in live])  # type: ignore[misc]
            other = drawn(lambda take, uid=uid: replay(store.documents(uid), take))  # type: ignore[misc]
            assert one == other
            assert one[0]


def test_files_are_filled_as_they_were_live(tmp_path: Path) -> None:
    """A router that fills gives the same arrays."""
    import event_model

    class Npy:
        def __init__(self, path: Any, **kwargs: Any) -> None:
            self._path = path

        def __call__(self, index: int) -> Any:
            return np.load(f"{self._path}_{index}.npy")

    seen, store = run_plans(tmp_path, functools.partial(bp.count, [img], 2))

    def filled(documents: Any) -> list[Any]:
        frames: list[Any] = []

        def factory(name: str, document: dict[str, Any]) -> Any:
            def keep(name: str, document: dict[str, Any]) -> None:
                if name == "event_page":
                    frames.extend(np.asarray(document["data"]["img"]).tolist())

            return [keep], []

        router = event_model.RunRouter([factory], handler_registry={"NPY_SEQ": Npy}, fill_or_fail=True)
        for pair in documents:
            router(*pair)
        return frames

    with store:
        ((uid, live),) = split(seen).items()
        found: list[Pair] = list(export_documents(store.documents(uid)))
        one, other = filled(live), filled(found)
    assert one == other
    assert len(one) == 2
