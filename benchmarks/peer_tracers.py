"""Recorders that trace programs, each as its documentation shows it."""

from __future__ import annotations

import json
import time
from typing import Any

from peers import TEXT, Recorder


def nothing() -> None:
    """Do nothing, as the function that is decorated."""


class VizTracerEvent(Recorder):
    """Instant events with arguments; calls of functions are not traced besides."""

    def open(self) -> None:
        """Start, with nothing traced by itself."""
        from viztracer import VizTracer

        out = str(self.place / "trace.json")
        self._tracer = VizTracer(output_file=out, verbose=0, register_global=False, max_stack_depth=0)
        self._tracer.start()

    def record(self, first: int, count: int) -> None:
        """Record events."""
        log, text = self._tracer.log_instant, TEXT
        for number in range(first, first + count):
            log("event", args={"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text})

    def close(self) -> None:
        """Stop, and save the trace."""
        self._tracer.stop()
        self._tracer.save()

    def read(self) -> list[int]:
        """Return the numbers of the events of the saved trace."""
        events = json.loads((self.place / "trace.json").read_bytes())["traceEvents"]
        return [event["args"]["i"] for event in events if event["name"] == "event"]


class VizTracerCall(VizTracerEvent):
    """A call of a function, traced as all calls are."""

    def open(self) -> None:
        """Start."""
        from viztracer import VizTracer

        self._tracer = VizTracer(output_file=str(self.place / "trace.json"), verbose=0, register_global=False)
        self._tracer.start()

    def record(self, first: int, count: int) -> None:
        """Call the function."""
        function = nothing
        for _ in range(count):
            function()


class DFTracerEvent(Recorder):
    """A span with arguments."""

    def open(self) -> None:
        """Start, with a file of its own and no directories of data to watch."""
        from dftracer.python import dft_fn, dftracer

        self._log = dftracer.initialize_log(str(self.place / "trace"), str(self.place / "data"), 0)
        self._span = dft_fn

    def record(self, first: int, count: int) -> None:
        """Record events."""
        span, text = self._span, TEXT
        for number in range(first, first + count):
            with span("bench", name="event") as event:
                event.update(args={"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text})

    def close(self) -> None:
        """Finalize."""
        self._log.finalize()

    def read(self) -> list[int]:
        """Return the numbers of whole lines of the trace, compressed or not."""
        import gzip
        import zlib

        found: list[int] = []
        for path in self.place.glob("trace*.pfw*"):
            data = path.read_bytes()
            if path.suffix == ".gz":
                try:
                    data = gzip.decompress(data)
                except (EOFError, zlib.error, gzip.BadGzipFile):
                    data = _beginning_of_gzip(data)
            for line in data.splitlines():
                if line.rstrip(b",").endswith(b"}") and b'"event"' in line:
                    found.append(int(json.loads(line.rstrip(b","))["args"]["i"]))
        return found


def _beginning_of_gzip(data: bytes) -> bytes:
    import zlib

    whole = b""
    while data:
        part = zlib.decompressobj(31)
        try:
            whole += part.decompress(data)
        except zlib.error:
            break
        data = part.unused_data
    return whole


class DFTracerCall(DFTracerEvent):
    """A decorated function that does nothing."""

    def open(self) -> None:
        """Start, and decorate it."""
        super().open()
        self._function = self._span("bench", name="nothing").log(nothing)

    def record(self, first: int, count: int) -> None:
        """Call it."""
        function = self._function
        for _ in range(count):
            function()


class OpenTelemetry(Recorder):
    """A span with attributes, exported as it ends."""

    most = 20_000

    def open(self) -> None:
        """Make a provider whose spans go to a file, a line of JSON each."""
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        self._file = (self.place / "spans.jsonl").open("w")
        exporter = ConsoleSpanExporter(out=self._file, formatter=lambda span: span.to_json(indent=None) + "\n")
        self._provider = TracerProvider()
        self._provider.add_span_processor(self.processor(exporter))
        self._tracer = self._provider.get_tracer("events")

    def processor(self, exporter: Any) -> Any:
        """Return what gives spans to the exporter."""
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        return SimpleSpanProcessor(exporter)

    def record(self, first: int, count: int) -> None:
        """Record events."""
        start, text = self._tracer.start_span, TEXT
        for number in range(first, first + count):
            fields = {"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text}
            start("event", attributes=fields).end()

    def close(self) -> None:
        """Shut the provider down, which exports what waits."""
        self._provider.shutdown()
        self._file.close()

    def read(self) -> list[int]:
        """Return the numbers of whole lines."""
        lines = (self.place / "spans.jsonl").read_bytes().split(b"\n")[:-1]
        return [json.loads(line)["attributes"]["i"] for line in lines]


class OpenTelemetryBatch(OpenTelemetry):
    """The same, exported by a thread, some at once."""

    def processor(self, exporter: Any) -> Any:
        """Return what gathers spans, as many as it does by itself."""
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        return BatchSpanProcessor(exporter)


class OpenTelemetryCall(OpenTelemetry):
    """A decorated function that does nothing."""

    def record(self, first: int, count: int) -> None:
        """Call it."""
        function = self._tracer.start_as_current_span("nothing")(nothing)
        for _ in range(count):
            function()


class Otf2(Recorder):
    """A metric event of six numbers, with the text as its attribute."""

    def open(self) -> None:
        """Open an archive, and define what its events are of."""
        import otf2
        from otf2.enums import Type

        self._archive = otf2.writer.Writer(str(self.place / "archive"), timer_resolution=1_000_000_000)
        define = self._archive.definitions
        node = define.system_tree_node("node")
        group = define.location_group("process", system_tree_parent=node)
        self._events = self._archive.event_writer("main", group=group)
        types = {
            "i": Type.INT64,
            "a": Type.DOUBLE,
            "b": Type.DOUBLE,
            "c": Type.INT64,
            "d": Type.INT64,
            "e": Type.DOUBLE,
        }
        members = [define.metric_member(name=name, value_type=kind) for name, kind in types.items()]
        self._class = define.metric_class(members=tuple(members))
        self._text = define.attribute(name="t", type=Type.STRING)

    def record(self, first: int, count: int) -> None:
        """Record events."""
        metric, kind, about, now = self._events.metric, self._class, self._text, time.time_ns
        for number in range(first, first + count):
            metric(now(), kind, (number, 1.5, 2.5, 3, 4, 5.5), attributes={about: TEXT})

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def read(self) -> list[int]:
        """Return the numbers of the archive's events."""
        import otf2

        with otf2.reader.open(str(self.place / "archive" / "traces.otf2")) as trace:
            return [int(event.values[0]) for _, event in trace.events if isinstance(event, otf2.events.Metric)]
