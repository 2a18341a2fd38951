"""What an FPGA sends becomes streams and provenance; what is damaged is counted, and kept aside."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braid_hpc as braid
from braid_hpc.collectors.fpga import Firmware, FPGACollector
from braid_hpc.collectors.frames import DEFAULT, FrameFormat
from braid_hpc.collectors.sources import Gap
from braid_hpc.collectors.testing import CollectorContract
from braid_hpc.vocabulary.errors import InvalidInputError

FIRMWARE = Firmware(7, name="zs", digest="sha256:07", registers={"threshold": 40, "mask": "0xff"})


def frame(number: int, samples: list[int], *, covers: int = 64, **fields: Any) -> bytes:
    """A frame over 64 input samples, of which the first ones were kept."""
    about = {"frame": number, "first": covers * number, "firmware": 7, "dropped": covers - len(samples), **fields}
    return DEFAULT.encode({"channel": range(len(samples)), "sample": samples}, **about)


def compacted(folder: Path) -> Any:
    braid.compact(folder / "logs", folder / "prov.duckdb")
    return braid.open(folder / "prov.duckdb")


class TestFPGACollector(CollectorContract):
    module = "braid_hpc.collectors.fpga"
    numbers: Iterator[int]

    def make(self, run: Any) -> Any:
        self.numbers = itertools.count()
        return FPGACollector(run, "adc", firmware=FIRMWARE)

    def feed(self, collector: Any, items: int) -> None:
        for _ in range(items):
            collector.take(frame(next(self.numbers), [1, 2]))

    def spoil(self, collector: Any) -> None:
        good = frame(0, [1, 2, 3])
        collector.take(good[:-1] + bytes([good[-1] ^ 1]))

    def misuse(self, collector: Any) -> None:
        collector.take([1, 2, 3])

    def recorded(self, store: Any) -> int:
        return len(store.sql("select * from stream.adc_frames"))


def test_words_and_counts_become_rows(tmp_path: Path) -> None:
    """A frame's words are the rows from `row` on; what it covers is what it kept and what it dropped."""
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        data = frame(0, [5, 6], time=17) + frame(1, []) + frame(2, [7])
        for at in range(0, len(data), 7):
            fpga.take(data[at : at + 7])
        assert fpga.counts == {"bytes": len(data), "frames": 3, "words": 3, "aside": 0}
        assert not fpga.losses
    with compacted(tmp_path) as store:
        words = store.sql("select _row, channel, sample from stream.adc_words order by _row").to_pylist()
        assert [tuple(row.values()) for row in words] == [(0, 0, 5), (1, 1, 6), (2, 0, 7)]
        frames = store.table("adc_frames")
        assert frames["row"] == [0, -1, 2]
        assert frames["words"] == [2, 0, 1]
        assert frames["samples"] == [64, 64, 64]
        assert frames["first"] == [0, 64, 128]
        assert frames["time"] == [17, 0, 0]
        assert frames["order"] == [0, 0, 0]
        assert frames["offset"] == [0, len(frame(0, [5, 6])), len(frame(0, [5, 6]) + frame(1, []))]


def test_reduced_data_descends_from_source_firmware_settings_and_model(tmp_path: Path) -> None:
    (tmp_path / "zs.bit").write_bytes(b"bitstream")
    (tmp_path / "raw.bin").write_bytes(frame(0, [5]) + frame(1, [6]))
    with braid.job("adc") as run:
        training = run.data("training", digest="sha256:01")
        model = run.model("net", digest="sha256:02", derived_from=training)
        firmware = Firmware(7, name="zs", path=tmp_path / "zs.bit", model=model, registers={"threshold": 40})
        with FPGACollector(run, "adc", firmware=firmware) as fpga:
            fpga.collect(tmp_path / "raw.bin")
            assert not fpga.losses
    with compacted(tmp_path) as store:
        fed = {node.ref: node.distance for node in store.lineage("stream:adc_words").nodes}
        assert fed.pop("stream:adc_words@1") == 0
        assert fed == {
            "data:adc/reduced@1": 1,
            "data:adc/raw@1": 2,
            "firmware:zs@1": 2,
            "fact:adc/format@1": 2,
            "fact:adc/registers@1": 2,
            "model:net@1": 3,
            "data:training@1": 4,
        }
        assert store.lineage("stream:adc_frames").counts == store.lineage("stream:adc_words").counts
        reached = {node.ref for node in store.impact("firmware:zs", kinds="stream").nodes[1:]}
        assert reached == {"stream:adc_words@1", "stream:adc_frames@1"}
        (digest,) = store.sql("select digest from versions where kind = 'firmware'")["digest"]
        assert digest.startswith("blake3:")
        (size,) = store.sql("select integer from tags where key = 'adc.bytes'")["integer"]
        assert size == (tmp_path / "raw.bin").stat().st_size


def test_a_setting_that_changes_is_another_record(tmp_path: Path) -> None:
    """A register, or the firmware that frames carry: the frames say which record is theirs."""
    other = Firmware(8, name="zs", digest="sha256:08", registers={"threshold": 40})
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=[FIRMWARE, other]) as fpga:
        fpga.take(frame(0, [1]) + frame(1, [1], firmware=8))
        fpga.set({"threshold": 50})
        fpga.take(frame(2, [1], firmware=8) + frame(3, [1], firmware=8))
    with compacted(tmp_path) as store:
        found = store.sql(
            "select f.frame, v.version from stream.adc_frames f join occurrences o on o.writer = f._writer "
            "and o.sequence = f.reduced join versions v on v.id = o.id order by f.frame"
        )
        assert found["version"] == [1, 2, 3, 3]
        values = store.sql("select value from versions where name = 'adc/registers' order by version")["value"]
        assert [("threshold" in value, '"mask"' in value) for value in values] == [
            (True, True),
            (True, False),
            (True, False),
        ]
        reached = {node.ref for node in store.impact("firmware:zs@2", kinds="stream").nodes[1:]}
        assert "stream:adc_words@3" in reached


def test_losses_have_their_ranges(tmp_path: Path) -> None:
    """Lost frame numbers, overflows, words that did not fit, bad sums, unknown firmware, and bytes kept aside."""
    bad = frame(4, [1, 2])
    bad = bad[:-1] + bytes([bad[-1] ^ 0xFF])
    tail = frame(90, [1])[:-5]
    data = [
        b"noise",
        *(frame(0, [1]), frame(3, [1]), bad, frame(5, [1, 2], kept=7, flags=1)),
        *(frame(6, [1], flags=1), frame(6, [1], flags=1), frame(7, [1, 2], kept=1, firmware=9), tail),
    ]
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        for part in data:
            fpga.take(part)
        assert fpga.counts["frames"] == 5
    with compacted(tmp_path) as store:
        lost = store.sql("select reason, unit, count, first, last from stream.collector_losses").to_pylist()
        found = {row["reason"]: (row["unit"], row["count"], row["first"], row["last"]) for row in lost if row}
        where = [sum(map(len, data[:at])) for at in range(len(data) + 1)]
        ranges = sorted((row["first"], row["last"]) for row in lost if row["reason"] == "frames lost")
        assert ranges == [(1, 2), (4, 4)]
        found.pop("frames lost")
        assert found == {
            "no frame": ("byte", 5, 0, 4),
            "bad check sum": ("byte", 1, where[3], where[4] - 1),
            "overflow": ("frame", 1, 6, 6),
            "kept words not sent": ("frame", 5, 5, 5),
            "frame repeated": ("frame", 1, 6, 6),
            "more words than were kept": ("frame", 1, 7, 7),
            "unknown firmware": ("frame", 1, 7, 7),
            "cut off": ("byte", 1, where[8], where[9] - 1),
        }
        aside = store.sql('select "offset", reason, data from stream.adc_aside order by "offset"').to_pylist()
        assert [(row["offset"], row["reason"], bytes(row["data"])) for row in aside] == [
            (0, "no frame", b"noise"),
            (where[3], "bad check sum", bad),
            (where[8], "cut off", tail),
        ]
        assert store.get("firmware:adc/unknown").version == 1


def test_a_frame_sent_twice_is_recorded_once_and_a_late_one_where_it_came(tmp_path: Path) -> None:
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        for number in (0, 2, 1, 2, 3, 1):
            fpga.take(frame(number, [number]))
        assert fpga.losses.counts == {"frame repeated": 2}
    with compacted(tmp_path) as store:
        frames = store.table("adc_frames")
        assert frames["frame"] == [0, 2, 1, 3]
        assert frames["order"] == [0, 0, 1, 0]
        assert store.table("adc_words")["sample"] == [0, 2, 1, 3]
        assert frames["row"] == [0, 1, 2, 3]


def test_what_is_kept_aside_is_bounded_and_told(tmp_path: Path) -> None:
    with braid.job("adc") as run, FPGACollector(run, "adc", aside_bytes=100) as fpga:
        fpga.take(bytes(60))
        fpga.take(bytes(60))
        fpga.take(bytes(30))
        assert fpga.counts["aside"] == 150
    assert fpga.losses.counts == {"no frame": 150, "not kept aside": 50}
    with compacted(tmp_path) as store:
        assert sum(len(row["data"]) for row in store.table("adc_aside")) == 100


def test_a_source_that_fails_does_not_end_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it gave until then is recorded; gaps that it tells of are counted."""
    monkeypatch.setenv("BRAID_STRICT", "0")

    class Failing:
        uri = "test:failing"

        def __iter__(self) -> Iterator[Any]:
            yield frame(0, [1]) + frame(1, [1])[:20]
            yield Gap("overwritten before it was read", 40)
            yield frame(2, [1])
            yield Gap("datagrams dropped by the kernel", 3, "datagram")
            raise OSError("the cable is out")

    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        fpga.collect(Failing())
        fpga.collect(tmp_path / "nothing")

        class Broken:
            uri = "test:broken"

            def __iter__(self) -> Iterator[Any]:
                yield 7
                raise KeyError("of the driver")

        fpga.collect(Broken())
        assert fpga.losses.counts == {
            "cut off": 1,
            "overwritten before it was read": 40,
            "datagrams dropped by the kernel": 3,
            "source failed": 3,
            "refused": 1,
            "frames lost": 1,
        }
        assert fpga.counts["frames"] == 2


def test_numbers_of_hostile_frames_are_recorded_as_they_are(tmp_path: Path) -> None:
    """Frames with sound sums and absurd fields."""
    top = 2**64 - 1
    layout = FrameFormat(trailer={"kept": "uint64", "dropped": "uint64", "flags": "uint32", "check": "uint32"})
    words = {"channel": [65535], "sample": [-32768]}
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE, layout=layout) as fpga:
        fpga.take(layout.encode(words, frame=0, firmware=7))
        for number in range(300):
            about = {"frame": top - 7919 * number, "time": top, "first": top, "firmware": number}
            fpga.take(layout.encode(words, kept=top, dropped=top, flags=2**32 - 1, **about))
    assert fpga.losses.counts["kept words not sent"] == 300 * (top - 1)
    with compacted(tmp_path) as store:
        frames = store.table("adc_frames")
        assert len(frames) == 301
        assert set(frames["samples"]) == {1, top}
        (count,) = store.sql("select count(*) as n from versions where name = 'adc/unknown'")["n"]
        assert count <= 65


@pytest.mark.slow
def test_without_numba_and_with_it_the_same_is_recorded(tmp_path: Path) -> None:
    chosen = np.random.default_rng(5)
    data = b"".join(frame(number, chosen.integers(-9, 9, 20).tolist()) for number in range(50))
    data = data[:1000] + b"?" + data[1001:]
    for name, compiled in (("one", False), ("two", True)):
        with braid.job("adc") as run, FPGACollector(run, name, firmware=FIRMWARE, compiled=compiled) as fpga:
            fpga.take(data)
    with compacted(tmp_path) as store:
        for part in ("words", "frames", "aside"):
            one, two = (
                store.sql(f"select * exclude (_run, _writer, _time) from stream.{name}_{part}").to_pylist()
                for name in ("one", "two")
            )
            assert one
            for row in (*one, *two):
                row.pop("reduced", None)
            assert one == two


def test_bytes_come_in_any_buffer(tmp_path: Path) -> None:
    """Strided, of two dimensions, read-only, or none at all."""
    data = np.frombuffer(frame(0, [1, 2]) + frame(1, [3, 4]), np.uint8)
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        half = len(data) // 2
        fpga.take(b"")
        fpga.take(np.repeat(data[:half], 2)[::2])
        fpga.take(memoryview(b""))
        fpga.take(np.asfortranarray(data[half:].reshape(-1, 4)))
        assert fpga.counts == {"bytes": len(data), "frames": 2, "words": 4, "aside": 0}


def test_arguments_that_cannot_be_used_are_refused() -> None:
    with braid.job("adc") as run:
        with pytest.raises(InvalidInputError, match="name is a text"):
            FPGACollector(run, "")
        with pytest.raises(InvalidInputError, match="takes Firmware"):
            FPGACollector(run, "adc", firmware=["zs"])  # type: ignore[list-item]
        with pytest.raises(InvalidInputError, match="have the id 7"):
            FPGACollector(run, "adc", firmware=[FIRMWARE, FIRMWARE])
        with pytest.raises(InvalidInputError, match="is a FrameFormat"):
            FPGACollector(run, "adc", layout="default")  # type: ignore[arg-type]
        fpga = FPGACollector(run, "adc")
        with pytest.raises(InvalidInputError, match="mapping of name to value"):
            fpga.set(["threshold"])  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="a source is a path"):
            fpga.collect(7)  # type: ignore[arg-type]
        fpga.close()
        with pytest.raises(InvalidInputError, match="is closed"):
            fpga.take(b"late")


def test_arguments_that_cannot_be_used_do_not_end_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be used is, and the rest is counted."""
    monkeypatch.setenv("BRAID_STRICT", "0")
    with braid.job("adc") as run:
        wrong: Any = [FIRMWARE, "zs", FIRMWARE]
        with FPGACollector(run, 7, firmware=wrong, layout=None) as fpga:  # type: ignore[arg-type]
            assert fpga.losses.counts == {"refused": 4}
            fpga.take(frame(0, [1]))
            assert (fpga.name, fpga.counts["frames"], fpga.losses.total) == ("fpga", 1, 4)


def test_without_numba_python_decodes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Although numba was asked for; that is told."""
    monkeypatch.setattr("braid_hpc.collectors.fpga.find_spec", lambda name: None)
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE, compiled=True) as fpga:
        fpga.take(frame(0, [1]))
        assert fpga.counts["frames"] == 1
    assert "numba is not installed" in capfd.readouterr().err


def test_words_come_from_frames_where_that_is_asked_for(tmp_path: Path) -> None:
    """Each word from its own frame, over blocks, empty frames and frames that came twice."""
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE, row_edges=True) as fpga:
        fpga.take(frame(0, [5, 6]) + frame(1, []) + frame(2, [7]))
        fpga.take(frame(2, [7]) + frame(3, [8, 9, 10]) + frame(5, [11]))
        fpga.take(frame(6, []))
    with compacted(tmp_path) as store:
        found = store.sql("""
            select w.sample, f.frame from stream.adc_words w join row_edges e on e.child_writer = w._writer
                and e.child_stream = 'adc_words' and w._row between e.child_first and e.child_last
            join stream.adc_frames f on e.parent_stream = 'adc_frames' and f._writer = e.parent_writer
                and f._row = e.parent_first + coalesce((w._row - e.child_first) // nullif(e.child_step, 0), 0)
                    * e.parent_step
            order by all
            """)
        assert [tuple(row.values()) for row in found] == [
            *((5, 0), (6, 0), (7, 2)),
            *((8, 3), (9, 3), (10, 3), (11, 5)),
        ]
        assert [row.ref for row in store.row_lineage("adc_words#3").rows] == [
            "stream:adc_words@1#3",
            "stream:adc_frames@1#3",
        ]


def test_words_come_from_frames_only_where_that_is_asked_for(tmp_path: Path) -> None:
    with braid.job("adc") as run, FPGACollector(run, "adc", firmware=FIRMWARE) as fpga:
        fpga.take(frame(0, [5, 6]))
    with compacted(tmp_path) as store:
        assert len(store.sql("from row_edges")) == 0
