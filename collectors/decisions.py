"""Who decided what became of an input sample: firmware, register values, model and training data.

Asked of a store, and not on a rank; this module imports no store, it is given one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from braid_hpc.vocabulary.errors import InvalidInputError, NotFoundError

__all__ = ["Decision", "decided"]


class Store(Protocol):
    """What is asked: a :class:`braid_hpc.Store` has it."""

    def sql(self, query: str, parameters: Any = None) -> Any:
        """Return rows."""

    def get(self, reference: str) -> Any:
        """Return what a reference names."""

    def lineage(self, reference: str, *, kinds: Any = None) -> Any:
        """Return what fed it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an input sample, and by what.

    Attributes
    ----------
    event : int
        Its number.
    frame : int
        The frame that covers it.
    first, last : int
        The input samples that the frame covers.
    kept : bool or None
        Whether a word of it is there; None where the words do not say which sample they are, or were lost.
    values : list of dict
        Its words, if it was kept.
    reduced : str
        Record of the data that the frame belongs to.
    firmware : str
        What decided.
    firmware_id : int
        As the frame carries it.
    registers : dict
        Values of the registers: the thresholds.
    models : list of str
        What the firmware was built from.
    training : list of str
        Data and datasets that those came from.
    raw : str
        Record of the bytes that the device sent.
    run : str
        Where it was recorded.
    rank : int or None
        On which rank.
    missing : list
        Logs of the runs involved that are not complete: what they hold could add to the answer.
    """

    event: int
    frame: int
    first: int
    last: int
    kept: bool | None
    values: list[dict[str, Any]]
    reduced: str
    firmware: str
    firmware_id: int
    registers: dict[str, Any]
    models: list[str]
    training: list[str]
    raw: str
    run: str
    rank: int | None
    missing: list[Any] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every log that could add to the answer is complete."""
        return not self.missing

    def __str__(self) -> str:
        """Return the answer as a sentence."""
        became = {True: "kept", False: "not kept", None: "with others: its words do not say which of them it is"}
        settings = ", ".join(f"{name} {value}" for name, value in self.registers.items()) or "no registers"
        trained = f", trained on {', '.join(self.training)}" if self.training else ""
        built = f", built from {', '.join(self.models)}{trained}" if self.models else ""
        text = f"event {self.event}: in frame {self.frame}, {became[self.kept]}; by {self.firmware} ({settings}){built}"
        return text if self.complete else f"{text}; {len(self.missing)} logs are not complete"


def decided(store: Store, name: str, event: int, *, run: str | None = None, rank: int | None = None) -> list[Decision]:
    """Ask which firmware, which threshold and which training data decided on an input sample.

    Parameters
    ----------
    store : Store
        Where the device was recorded.
    name : str
        Of the device.
    event : int
        Number of the input sample, as the device counts them.
    run : str, optional
        The run, or the beginning of its id; without it all of them, each of which may have counted from 0.
    rank : int, optional
        The rank.

    Returns
    -------
    list of Decision
        One for each frame that covers the sample.

    Raises
    ------
    NotFoundError
        If there is no such device, or no frame that covers the sample: notes say which frames were lost.
    InvalidInputError
        If the frames of this device do not say what they cover.

    Examples
    --------
    >>> import braid_hpc as braid
    >>> from braid_hpc.collectors.fpga import DEFAULT, Firmware, FPGACollector
    >>> with braid.job("read-out", log_dir="logs") as run:
    ...     model = run.model("zs", digest="sha256:01", derived_from=run.data("scan", digest="sha256:02"))
    ...     firmware = Firmware(7, model=model, registers={"threshold": 40})
    ...     with FPGACollector(run, "adc0", firmware=firmware) as fpga:
    ...         fpga.take(DEFAULT.encode({"channel": [3], "sample": [55]}, first=640, firmware=7, dropped=63))
    >>> done = braid.compact("logs", "prov.duckdb")
    >>> with braid.open("prov.duckdb") as store:
    ...     (answer,) = decided(store, "adc0", 641)
    >>> answer.frame, answer.kept, answer.registers, answer.training
    (0, False, {'threshold': 40}, ['data:scan@1'])
    """
    places = {row["stream"]: row["place"] for row in store.sql("select stream, place from streams")}
    if (stream := f"{name}_frames") not in places:
        raise NotFoundError(f"no device {name!r} was recorded here")
    frames, words = (_quoted(places.get(f"{name}_{part}", "")) for part in ("frames", "words"))
    if "first" not in _columns(store, places[stream]):
        raise InvalidInputError(f"the frames of {name!r} do not say which input samples they cover")
    asked = {"event": event, "run": run, "rank": rank}
    found = store.sql(
        f"{_FRAMES.format(frames=frames)} and f.first <= $event and $event::hugeint < f.first::hugeint + f.samples "
        "order by f._run, f._rank, f._writer, f._row",
        asked,
    ).to_pylist()
    if not found:
        raise _not_covered(store, name, frames, asked, places.get("collector_losses"))
    settings: dict[int, dict[str, Any]] = {}
    decisions = []
    for row in found:
        version = row["_version"]
        if version not in settings:
            settings[version] = _settings(store, name, row)
        values = _values(store, words, row, settings[version]["position"], event)
        decisions.append(_decision(row, event, values, settings[version]))
    return decisions


#: Frames with the record that each belongs to, of some runs and ranks.
_FRAMES = (
    "select f.*, v.id as _version, v.kind as _kind, v.name as _name, v.version as _number from stream.{frames} f "
    "join occurrences o on o.writer = f._writer and o.sequence = f.reduced join versions v on v.id = o.id "
    "where ($run is null or starts_with(f._run, $run)) and ($rank is null or f._rank = $rank)"
)


def _decision(
    row: dict[str, Any], event: int, values: list[dict[str, Any]] | None, settings: dict[str, Any]
) -> Decision:
    return Decision(
        event=event,
        frame=row["frame"],
        first=row["first"],
        last=row["first"] + row["samples"] - 1,
        kept=None if values is None else bool(values),
        values=values or [],
        firmware_id=row.get("firmware", 0),
        run=row["_run"],
        rank=row["_rank"],
        **{key: value for key, value in settings.items() if key != "position"},
    )


def _settings(store: Store, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the record of a setting descends from."""
    # By its id in the store: a name could have to be quoted.
    (uid,) = store.sql("select uid from versions where id = ?", [row["_version"]])["uid"]
    answer = store.lineage(f"id:{uid}")
    kinds = {node.ref: node.kind for node in answer.nodes}
    names = {node.ref: node.name for node in answer.nodes}
    parents: dict[str, list[str]] = {}
    for edge in answer.edges:
        if edge.relation == "wasDerivedFrom":
            parents.setdefault(edge.child, []).append(edge.parent)
    direct = parents.get(answer.root, [])
    facts = {names[ref]: ref for ref in direct if kinds[ref] == "fact"}
    firmware = next((ref for ref in direct if kinds[ref] == "firmware"), "")
    models = parents.get(firmware, [])
    training: list[str] = []
    missing = {(one.run, one.writer): one for one in answer.missing}
    for model in models:
        fed = store.lineage(model, kinds=["data", "dataset"])
        missing.update({(one.run, one.writer): one for one in fed.missing})
        training += [node.ref for node in fed.nodes[1:] if node.ref not in training]
    return {
        "reduced": answer.root,
        "firmware": firmware,
        "registers": _value(store, facts.get(f"{name}/registers")),
        "models": models,
        "training": training,
        "raw": next((ref for ref in direct if kinds[ref] not in ("fact", "firmware")), ""),
        "missing": list(missing.values()),
        "position": _value(store, facts.get(f"{name}/format")).get("position"),
    }


def _value(store: Store, reference: str | None) -> dict[str, Any]:
    if reference is None:
        return {}
    id = store.get(reference).id
    (value,) = store.sql("select value from versions where id = ?", [id])["value"]
    found = json.loads(value) if value else {}
    return found if isinstance(found, dict) else {}


def _values(
    store: Store, words: str, row: dict[str, Any], position: str | None, event: int
) -> list[dict[str, Any]] | None:
    """Return the words of a sample; none if it was not kept, None if that cannot be told."""
    if not row["words"] and not row.get("kept", 0):
        return []
    if position is None or row["row"] < 0:
        return None
    found = store.sql(
        f"select * from stream.{words} where _writer = ? and _row >= ? and _row < ? and {_quoted(position)} = ?",
        [row["_writer"], row["row"], row["row"] + row["words"], event - row["first"]],
    ).to_pylist()
    # What an overflow took was kept, and is not there.
    if not found and row.get("kept", row["words"]) > row["words"]:
        return None
    return [{key: value for key, value in one.items() if not key.startswith("_")} for one in found]


#: Of so many writers it is told where an event that no frame covers would have been.
_NOTES = 20


def _not_covered(store: Store, name: str, frames: str, asked: dict[str, Any], losses: str | None) -> NotFoundError:
    """Say where the event would have been: between which frames, what was lost there, who decided before and after."""
    event = asked["event"]
    error = NotFoundError(f"no frame of {name} covers event {event}")
    near = f"{_FRAMES.format(frames=frames)} and f.first {{}} $event qualify row_number() over "
    near += "(partition by f._writer order by f.first {}, f._row desc) = 1 "
    near += "order by f._run, f._rank, f._writer"
    before = {row["_writer"]: row for row in store.sql(near.format("<=", "desc"), asked).to_pylist()}
    after = {row["_writer"]: row for row in store.sql(near.format(">", "asc"), asked).to_pylist()}
    between = [writer for writer in before if writer in after]
    for writer in between[:_NOTES]:
        one, other = before[writer], after[writer]
        error.add_note(
            f"{_place(one)}: between frame {one['frame']} (events to {one['first'] + one['samples'] - 1}, "
            f"{_decider(store, name, one)}) and frame {other['frame']} (events from {other['first']}, "
            f"{_decider(store, name, other)}){_lost_between(store, name, one, other, losses)}"
        )
    if not between:
        for row in [*before.values(), *after.values()][:_NOTES]:
            side = (
                f"end at {row['first'] + row['samples'] - 1}"
                if row["_writer"] in before
                else f"begin at {row['first']}"
            )
            error.add_note(f"{_place(row)}: the events that frames cover {side}")
    if (left := len(between or {**before, **after}) - _NOTES) > 0:
        error.add_note(f"and {left} more writers")
    return error


def _place(row: dict[str, Any]) -> str:
    return f"run {row['_run'][:8]}" if row["_rank"] is None else f"run {row['_run'][:8]}, rank {row['_rank']}"


def _decider(store: Store, name: str, row: dict[str, Any]) -> str:
    settings = _settings(store, name, row)
    registers = ", ".join(f"{key} {value}" for key, value in settings["registers"].items())
    return f"by {settings['firmware']} ({registers})" if registers else f"by {settings['firmware']}"


def _lost_between(store: Store, name: str, one: dict[str, Any], other: dict[str, Any], losses: str | None) -> str:
    """Return what the collector counted between two frames of a writer, as the end of a sentence."""
    if losses is None:
        return ""
    rows = store.sql(
        f"select reason, first, last from stream.{_quoted(losses)} where collector = 'fpga' and source = $name "
        "and _writer = $writer and unit = 'frame' and last > $low and first < $high order by _row limit 5",
        {"name": name, "writer": one["_writer"], "low": one["frame"], "high": other["frame"]},
    ).to_pylist()
    said = [f"{row['reason']} {row['first']} to {row['last']}" for row in rows]
    return f"; {', '.join(said)}" if said else ""


def _columns(store: Store, place: str) -> set[str]:
    return set(
        store.sql(
            "select column_name from information_schema.columns where table_schema = 'stream' and table_name = ?",
            [place],
        )["column_name"]
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
