"""Recorders that keep provenance, each as its documentation shows it."""

from __future__ import annotations

import json
import time

from peers import TEXT, Recorder


def nothing() -> None:
    """Do nothing, as the function that is decorated."""


class _Flowcept(Recorder):
    most = 20_000

    def open(self) -> None:
        """Start, offline: neither a queue nor a database."""
        from flowcept import Flowcept

        self._flowcept = Flowcept(workflow_name="events", start_persistence=False, save_workflow=False)
        self._flowcept.start()
        self.prepare()

    def prepare(self) -> None:
        """Make what is called."""

    def close(self) -> None:
        """Stop: the buffer is written to a file."""
        self._flowcept.stop()

    def read(self) -> list[int]:
        """Return the numbers of the tasks in the buffer's file."""
        lines = (self.place / "flowcept_buffer.jsonl").read_bytes().split(b"\n")
        tasks = [json.loads(line) for line in lines if line]
        return [task["used"]["i"] for task in tasks if task.get("type") == "task"]


class FlowceptDecorator(_Flowcept):
    """A decorated function, which keeps its arguments."""

    def prepare(self) -> None:
        """Decorate a function of seven arguments."""
        from flowcept import flowcept_task

        @flowcept_task
        def event(i: int, a: float, b: float, c: int, d: int, e: float, t: str) -> None:
            return None

        self._event = event

    def record(self, first: int, count: int) -> None:
        """Call the function."""
        event, text = self._event, TEXT
        for number in range(first, first + count):
            event(number, 1.5, 2.5, 3, 4, 5.5, text)


class FlowceptTaskObject(_Flowcept):
    """An object for each task."""

    def record(self, first: int, count: int) -> None:
        """Make the object, and send it."""
        from flowcept import FlowceptTask

        text = TEXT
        for number in range(first, first + count):
            used = {"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text}
            FlowceptTask(activity_id="event", used=used).send()


class FlowceptCall(_Flowcept):
    """A decorated function that does nothing."""

    def prepare(self) -> None:
        """Decorate it."""
        from flowcept import flowcept_task

        self._function = flowcept_task(nothing)

    def record(self, first: int, count: int) -> None:
        """Call it."""
        function = self._function
        for _ in range(count):
            function()


class Prov(Recorder):
    """An entity for each event, in a document that is written at the end."""

    most = 20_000

    def open(self) -> None:
        """Make a document."""
        from prov.model import ProvDocument

        self._document = ProvDocument()
        self._document.add_namespace("e", "urn:event:")

    def record(self, first: int, count: int) -> None:
        """Record events."""
        entity, now, text = self._document.entity, time.time_ns, TEXT
        for number in range(first, first + count):
            fields = {"e:a": 1.5, "e:b": 2.5, "e:c": 3, "e:d": 4, "e:e": 5.5, "e:t": text}
            entity(f"e:{number}", {"e:time": now(), "e:i": number, **fields})

    def close(self) -> None:
        """Write the document."""
        self._document.serialize(str(self.place / "events.json"), format="json")

    def read(self) -> list[int]:
        """Return the numbers of the document's entities."""
        from prov.model import ProvDocument

        document = ProvDocument.deserialize(str(self.place / "events.json"), format="json")
        return [int(each.identifier.localpart) for each in document.get_records()]
