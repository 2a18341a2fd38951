"""What a model infers, batch by batch: which weights, of what input, which outputs, how long it took.

:func:`record_inference` wraps any callable on arrays. :mod:`braid_hpc.collectors.models` has what knows ONNX Runtime,
PyTorch and estimators as scikit-learn has them, and :mod:`braid_hpc.collectors.weights` looks at what was loaded.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.forms import FORMS, Forms
from braid_hpc.collectors.losses import Collecting
from braid_hpc.collectors.outputs import Threshold, digest_of_input, ids_of, rows_of
from braid_hpc.collectors.weights import Loaded, loaded_model
from braid_hpc.run.guard import passes, recording, shown
from braid_hpc.run.handles import Record, record_of
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.handles import Rows
    from braid_hpc.run.recorder import Run

__all__ = ["BATCHES", "FORMS", "SOURCES", "Inference", "Threshold", "record_inference"]

#: Columns of the stream ``<name>_batches``.
BATCHES = {
    "batch": "uint64",
    "rows": "uint64",
    "row": "int64",
    "latency_ns": "uint64",
    "input_digest": "text",
    "source": "text",
    "outputs": "uint64",
    "precision": "text",
    "device": "text",
    "error": "text",
}
#: Sources that are remembered as said already; beyond that an edge may be said twice, which is harmless.
SOURCES = 1024


class Inference(Collecting):
    """A callable that gives what `predict` gives, and records it; made by :func:`record_inference`.

    Attributes
    ----------
    name : str
        Of what is inferred: rows are in the streams ``<name>_outputs`` and ``<name>_batches``.
    loaded : Loaded
        Which version of the model it is, and whether the weights were looked at.
    batches : int
        How many it has seen.
    """

    def __init__(
        self,
        run: Run,
        predict: Callable[..., Any],
        *,
        model: Any,
        name: str = "inference",
        weights: Any = None,
        digest: str | None = None,
        outputs: Any = None,
        units: Mapping[str, str] | None = None,
        extra: Callable[[Any, Any], Mapping[str, Any]] | None = None,
        thresholds: Any = (),
        source: Any = None,
        precision: str = "",
        device: str = "",
        digest_inputs: bool | str = True,
        digest_every: int = 1,
    ) -> None:
        super().__init__(run, "inference", source=name)
        self._predict = predict
        self.name = name
        self.batches = self._samples = 0
        self._outputs, self._extra, self._units = outputs, extra, dict(units or {})
        self._thresholds = [thresholds] if isinstance(thresholds, Threshold) else list(thresholds)
        self._precision, self._device = str(precision), str(device)
        self._digests, self._every = "blake3", 1
        self._columns, self._more = Forms(), Forms()
        self._source, self._ids = source, None
        self._inputs: tuple[Any, Any] | None = None
        self._said: set[bytes] = set()
        self._forms: dict[Any, Any] = {}
        self._record: Any = None
        self._about: Any = None
        self.loaded = Loaded(model)
        self._look(model, weights, digest)
        self._digest_by(digest_inputs, digest_every)

    @recording
    def _digest_by(self, how: Any, every: Any) -> None:
        """Take what batches are digested by, and how often."""
        if how is None or isinstance(how, bool):
            how = "blake3" if how else ""
        if how not in ("", "blake3", "xxh3"):
            raise InvalidInputError(f"digest_inputs= is True, False, 'blake3' or 'xxh3', not {shown(how)}")
        if not isinstance(every, int) or every < 1:
            raise InvalidInputError(f"digest_every= is a number of batches, not {shown(every)}")
        self._digests, self._every = how, every

    @recording
    def _look(self, model: Any, weights: Any, digest: str | None) -> None:
        """Find out which version was loaded."""
        self.loaded = loaded_model(self._run, model, weights=weights, digest=digest)
        if self.loaded.verdict == "mismatch":
            self._losses.count("weights of another version", note=self.loaded.note)
            self._losses.write()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `predict` returns, the object itself, or raise what it raises.

        Parameters
        ----------
        *args, **kwargs
            Given to `predict`; the first of them is the batch.

        Returns
        -------
        object
            The result.
        """
        batch = self._batch_of(args, kwargs)
        digest = self.seen(batch)
        began = time.perf_counter_ns()
        try:
            result = self._predict(*args, **kwargs)
        except BaseException as error:
            self.failed(error, time.perf_counter_ns() - began, digest=digest, batch=batch)
            raise
        self.take(batch, result, time.perf_counter_ns() - began, digest=digest)
        return result

    def _batch_of(self, args: Any, kwargs: Any) -> Any:
        """Return the batch among the arguments of a call."""
        return args[0] if args else next(iter(kwargs.values()), None)

    def _refused(self, call: str, error: Exception, given: str) -> Any:
        super()._refused(call, error, given)
        return ""

    @contextlib.contextmanager
    def about(
        self, *, ids: Any = None, source: Any = None, rows: Any = None, row_index: Any = None
    ) -> Iterator[Inference]:
        """Say what the batches of a ``with`` block are.

        Parameters
        ----------
        ids : sequence of int or str, optional
            Of the samples of the next batch, in its order.
        source : Record or str, optional
            The record that the batches are, or were taken from.
        rows : Rows, Stream or str, optional
            The rows of a stream that the samples of the next batch came from: one for each, or one for all. With
            :meth:`braid_hpc.Run.derive_rows` each row of outputs comes from its own.
        row_index : sequence of int, optional
            Which of these, one for each sample.

        Yields
        ------
        Inference
            Itself.
        """
        before = self._ids, self._source, self._inputs
        self._ids, self._source = ids, source if source is not None else self._source
        self._inputs = None if rows is None else (rows, row_index)
        try:
            yield self
        finally:
            self._ids, self._source, self._inputs = before

    @recording
    def seen(self, batch: Any) -> str:
        """Digest a batch before it is given to a model, which may change it.

        Parameters
        ----------
        batch : array, mapping or sequence of arrays
            The input.

        Returns
        -------
        str
            As that of a record with ``array=batch``; empty if there is none, or nothing is recorded.
        """
        if not self._digests or self.batches % self._every or not self._run or self._closed:
            return ""
        found = digest_of_input(batch, self._digests)
        if not found:
            self._losses.count("input without a digest", unit="batch", first=self.batches, note=type(batch).__name__)
        return found

    @recording
    def take(self, batch: Any, result: Any, latency_ns: int, *, digest: str = "") -> None:
        """Record a batch that was inferred by other means than calling this.

        Parameters
        ----------
        batch : array, mapping or sequence of arrays
            The input.
        result : array, mapping or sequence of arrays
            The outputs: one row for each sample.
        latency_ns : int
            How long it took, nanoseconds.
        digest : str
            What :meth:`seen` gave for the batch.

        Raises
        ------
        InvalidInputError
            Only under ``BRAID_STRICT=1``: if the time is no number.
        """
        if not self._run or self._closed:
            return
        latency = _duration(latency_ns)
        number = self.batches
        self.batches += 1
        ids, self._ids = self._ids, None
        inputs, self._inputs = self._inputs, None
        try:
            columns = self._columns.columns(result, self._outputs)
            if self._extra is not None:
                columns.update(self._more.columns(self._extra(batch, result), None))
            rows = rows_of(columns)
            deciding = self._decide(columns, number)
            samples, first = ids_of(ids, rows, self._samples)
        except Exception as error:
            # The program's own functions may raise anything here, and so may what only looks like an array.
            if passes(error) and not isinstance(error, InvalidInputError):
                raise
            note = f"{error}" if isinstance(error, InvalidInputError) else f"{type(error).__name__}: {error}"
            self._losses.count("outputs are no rows", unit="batch", first=number, note=note)
            self._write_batch(number, 0, -1, latency, digest, batch, note)
            self._losses.write()
            return
        self._samples += rows if first is not None else 0
        record = self._record_of_outputs()
        place = self._append(number, samples, columns, rows)
        self._write_batch(number, rows, -1 if place is None else int(place.first or 0), latency, digest, batch, "")
        if inputs is not None and place is not None:
            self._run.derive_rows(place, inputs[0], parent_index=inputs[1])
        for threshold in deciding:
            threshold.state(self._run, record, number, columns[threshold.name], samples)

    @recording
    def failed(self, error: BaseException, latency_ns: int, *, digest: str = "", batch: Any = None) -> None:
        """Record that a batch was given to the model, which raised.

        Parameters
        ----------
        error : BaseException
            What it raised.
        latency_ns : int
            How long it took, nanoseconds.
        digest : str
            What :meth:`seen` gave for the batch.
        batch : array, optional
            The input.
        """
        if not self._run or self._closed:
            return
        number = self.batches
        self.batches += 1
        self._ids = self._inputs = None
        self._write_batch(number, 0, -1, _duration(latency_ns), digest, batch, _told(error))

    # ------------------------------------------------------------------ what is written

    def _decide(self, columns: dict[str, Any], number: int) -> list[Threshold]:
        """Add the columns of decisions; return which thresholds could decide. What cannot costs no rows."""
        deciding = []
        for threshold in self._thresholds:
            try:
                columns[threshold.name] = threshold.passed(columns)
                deciding.append(threshold)
            except InvalidInputError as error:
                self._losses.count("no decision", unit="batch", first=number, note=f"{error}")
        if len(deciding) < len(self._thresholds):
            self._losses.write()
        return deciding

    def _append(self, number: int, samples: Any, columns: dict[str, Any], rows: int) -> Rows | None:
        if not rows:
            return None
        form = (samples[0], *((name, kind) for name, (kind, _) in columns.items()))
        stream = self._forms.get(form)
        if stream is None:
            if len(self._forms) >= FORMS:
                self._losses.count("too many kinds of outputs", unit="batch", first=number)
                return None
            kinds = {"batch": "uint64", "sample": samples[0], **{name: kind for name, (kind, _) in columns.items()}}
            units = {name: unit for name, unit in self._units.items() if name in kinds}
            stream = self._run.stream(f"{self.name}_outputs", kinds, units=units, derived_from=self._record)
            self._forms[form] = stream
        values = {name: values for name, (_, values) in columns.items()}
        placed: Rows = stream.extend({"batch": _repeated(number, rows), "sample": samples[1], **values})
        if not placed.count:
            self._losses.count("outputs were refused", unit="batch", first=number)
            return None
        return placed

    def _write_batch(
        self, number: int, rows: int, place: int, latency: int, digest: str, batch: Any, error: str
    ) -> None:
        record = self._record_of_outputs()
        source = self._derive(batch)
        self._about.append(
            *(number, rows, place, latency, digest, source, record.sequence, self._precision, self._device, error[:300])
        )

    def _record_of_outputs(self) -> Record:
        """Return the record that all outputs are rows of, which descends from what they were made with."""
        if self._record is None:
            settings = {
                "precision": self._precision,
                "device": self._device,
                "thresholds": [threshold.described for threshold in self._thresholds],
            }
            parents = [self.loaded.link, self._run.fact(f"{self.name}/settings", settings)]
            self._record = self._run.data(
                f"{self.name}/outputs", derived_from=parents, tags={"weights": self.loaded.verdict}
            )
            self._about = self._run.stream(f"{self.name}_batches", BATCHES, derived_from=self._record)
        return self._record  # type: ignore[no-any-return]

    def _derive(self, batch: Any) -> str:
        """Say once that the outputs come from what a batch is of; return how a row names it."""
        source = self._source if self._source is not None else record_of(batch)
        if source is None:
            return ""
        record = None if isinstance(source, str) else record_of(source)
        key = record.token if record is not None else shown(source) if not isinstance(source, str) else source
        said = key.encode("utf-8", "replace")
        if said not in self._said:
            if len(self._said) >= SOURCES:
                self._said.clear()
            self._said.add(said)
            self._run.derive(self._record, source)
        return key


def record_inference(run: Run, predict: Callable[..., Any], *, model: Any, **about: Any) -> Inference:
    """Wrap a callable on arrays, so that each call of it is recorded.

    Parameters
    ----------
    run : Run
        Where it is recorded.
    predict : callable
        Takes a batch (an array of shape (samples, ...), or a mapping or sequence of such), and whatever else; returns
        an array of shape (samples,) or (samples, outputs), a structured array, or a mapping or sequence of arrays.
    model : Record or str
        The version of the model that should be loaded.
    name : str
        Of what is inferred.
    weights : mapping of str to array, bytes, or path, optional
        What is loaded really: its digest is taken as that of ``run.model(state=...)``, and compared with that of
        `model`. See :func:`braid_hpc.collectors.weights.loaded_model`.
    digest : str, optional
        That of `model`, where this process did not declare it.
    outputs : sequence of str or callable, optional
        Names of the columns; or a function of the result that gives a mapping of name to array.
    units : mapping of str to str, optional
        Unit symbols of columns.
    extra : callable, optional
        A function of batch and result that gives further columns: uncertainties, scores.
    thresholds : Threshold or list of Threshold
        Decisions that are columns and statements.
    source : Record or str, optional
        What the batches are of, where it is always the same; see :meth:`Inference.about`. Without it a batch that a
        record stands for is its own source.
    precision, device : str
        With what, and where.
    digest_inputs : bool or str
        Whether the batches are digested, and by what: True is ``"blake3"``, as records are; ``"xxh3"`` takes a tenth
        of the time and is of the bytes alone.
    digest_every : int
        Of so many batches the first one is digested.

    Returns
    -------
    Inference
        Call it as `predict`.
    """
    return Inference(run, predict, model=model, **about)


def _repeated(number: int, rows: int) -> Any:
    """Return an array of one number, in a third of the time that ``numpy.full`` takes."""
    import numpy as np

    return np.frombuffer(number.to_bytes(8, sys.byteorder) * rows, np.uint64)


def _duration(nanoseconds: Any) -> int:
    if isinstance(nanoseconds, bool) or not hasattr(nanoseconds, "__index__"):
        raise InvalidInputError(f"a time is a number of nanoseconds, not {shown(nanoseconds)}")
    return max(0, min(int(nanoseconds), 2**64 - 1))


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
