"""The run that records nothing: outside of a job, when recording is off, and when no log can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from braid_hpc.run.recorder import Run as _Base
else:
    _Base = object

__all__ = ["NullActivity", "NullRun", "NullStream"]


class NullStream:
    """A stream whose rows go nowhere."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.columns: list[tuple[str, str]] = []

    def append(self, *values: Any, **named: Any) -> Any:
        """Do nothing; return the empty range of rows."""
        return self.extend(None)

    def extend(self, columns: Any) -> Any:
        """Do nothing; return the empty range of rows."""
        from braid_hpc.run.handles import NO_ROWS

        return NO_ROWS


class NullActivity:
    """An activity that is not recorded."""

    sequence = mark = 0
    writer = bytes(16)
    open = False

    def __init__(self, run: NullRun, name: str) -> None:
        self.run = run
        self.name = name

    def __enter__(self) -> NullActivity:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing; an exception goes on."""

    def use(self, *things: Any) -> None:
        """Do nothing."""

    def end(self, **about: Any) -> None:
        """Do nothing."""

    def record(self, kind: str, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.run.record(kind, name)

    def data(self, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.run.record("data", name)

    def model(self, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.run.record("model", name)

    def input(self, path: Any, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("data", str(path))

    def output(self, path: Any, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("data", str(path))

    def array(self, name: str, array: Any, *, kind: str = "data", **about: Any) -> Any:
        """Return a false handle."""
        return self.run.record(kind, name)


class NullRun(_Base):
    """A run that is false and does nothing; handles it gives are false too."""

    name = ""
    rank = None
    size = None
    writer = bytes(16)

    def __init__(self) -> None:
        """Make it; one is enough."""

    def __bool__(self) -> bool:
        """Return False."""
        return False

    @property
    def log_dir(self) -> Path:
        """Where a log would be."""
        from braid_hpc.log.places import default_log_dir

        return default_log_dir()

    def record(self, kind: str, name: str, **about: Any) -> Any:
        """Return a false handle."""
        from braid_hpc.run.handles import Record

        return Record(bytes(16), 0, str(kind), str(name))

    def fact(self, name: str, value: Any = None, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("fact", name)

    def data(self, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("data", name)

    def model(self, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("model", name)

    def input(self, path: Any, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("data", str(path))

    def output(self, path: Any, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("data", str(path))

    def array(self, name: str, array: Any, *, kind: str = "data", **about: Any) -> Any:
        """Return a false handle."""
        return self.record(kind, name)

    def external(self, uri: Any, *, kind: str = "data", **about: Any) -> Any:
        """Return a false handle."""
        return self.record(kind, str(about.get("name") or uri))

    def statement(self, name: str, **about: Any) -> Any:
        """Return a false handle."""
        return self.record("statement", name)

    def digest_of(self, record: Any) -> None:
        """Return None: nothing was declared."""

    def derive(self, child: Any, parents: Any) -> None:
        """Do nothing."""

    def derive_rows(self, children: Any, parents: Any, *, child_index: Any = None, parent_index: Any = None) -> None:
        """Do nothing."""

    def declare(self, thing: Any, columns: Any = None) -> Any:
        """Do nothing; return the empty range of rows."""
        from braid_hpc.run.handles import NO_ROWS

        return NO_ROWS

    def mark(self, thing: Any, state: str, **about: Any) -> Any:
        """Do nothing; return the empty range of rows."""
        return self.declare(thing)

    def attach(self, path: Any, *, name: str | None = None, kind: str = "file", **about: Any) -> Any:
        """Return a false handle."""
        return self.record(kind, name or str(path))

    def collect(self, label: str, members: Any, names: Any = None) -> None:
        """Do nothing."""

    def tag(self, record: Any, key: str, value: Any) -> None:
        """Do nothing."""

    def invalidate(self, record: Any, **about: Any) -> str:
        """Do nothing; return no id."""
        return ""

    def revalidate(self, record: Any, **about: Any) -> str:
        """Do nothing; return no id."""
        return ""

    def retract(self, child: Any, parent: Any, **about: Any) -> str:
        """Do nothing; return no id."""
        return ""

    def action(self, given: Any) -> Any:
        """Return a false handle."""
        return self.record("action", "")

    def on_invalid(self, record: Any, action: Any) -> None:
        """Do nothing."""

    def activity(self, name: str, **about: Any) -> Any:
        """Return an activity that is not recorded."""
        return NullActivity(self, name)

    def stream(self, name: str, columns: Any, **about: Any) -> Any:
        """Return a stream whose rows go nowhere."""
        return NullStream(str(name))

    @property
    def levels(self) -> dict[str, int | None]:
        """Nothing is recorded, so there is no level."""
        return {}

    def flush(self, level: str = "synced") -> bool:
        """Return False: nothing is recorded."""
        return False

    def close(self, error: Any = None, outcome: Any = None) -> None:
        """Do nothing."""
