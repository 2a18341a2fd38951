"""Recorders of MLflow, whose store is a SQLite file here, as it is by itself."""

from __future__ import annotations

import os
import shutil
import time

from peers import TEXT, Recorder


class MLflow(Recorder):
    """Six metrics of a step and a tag, by one call to its store."""

    most = 1_000

    def open(self) -> None:
        """Make a store in a SQLite file, and a run."""
        import mlflow

        self.copy_store()
        self._client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{self.place / 'mlflow.db'}")
        experiment = self._client.create_experiment("events", artifact_location=str(self.place / "artifacts"))
        self._run = self._client.create_run(experiment).info.run_id

    def copy_store(self) -> None:
        """Take the empty store that lies beside the folder, or leave one there: making it takes half a minute."""
        import mlflow

        empty = self.place.parent / "empty-mlflow.db"
        if not empty.exists():
            made = self.place / "empty.db"
            mlflow.MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments()
            os.replace(made, empty)
        shutil.copy(empty, self.place / "mlflow.db")

    def record(self, first: int, count: int) -> None:
        """Record events."""
        from mlflow.entities import Metric, RunTag

        log, run = self._client.log_batch, self._run
        for number in range(first, first + count):
            now = time.time_ns() // 1_000_000
            values = {"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5}
            metrics = [Metric(name, value, now, number) for name, value in values.items()]
            log(run, metrics=metrics, tags=[RunTag(f"t.{number}", TEXT)])

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)

    def read(self) -> list[int]:
        """Return the numbers of the steps in the store."""
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{self.place / 'mlflow.db'}")
        (run,) = client.search_runs([client.get_experiment_by_name("events").experiment_id])
        return [int(metric.value) for metric in client.get_metric_history(run.info.run_id, "i")]


class MLflowTrace(MLflow):
    """A span for each event, which is a trace of its own."""

    def open(self) -> None:
        """Name a store in a SQLite file."""
        import mlflow

        self.copy_store()
        mlflow.set_tracking_uri(f"sqlite:///{self.place / 'mlflow.db'}")
        mlflow.set_experiment("events")
        self._start = mlflow.start_span

    def record(self, first: int, count: int) -> None:
        """Record events."""
        start, text = self._start, TEXT
        for number in range(first, first + count):
            fields = {"i": number, "a": 1.5, "b": 2.5, "c": 3, "d": 4, "e": 5.5, "t": text}
            with start("event", attributes=fields):
                pass

    def close(self) -> None:
        """Wait for what is under way."""
        import mlflow

        mlflow.flush_trace_async_logging()

    def read(self) -> list[int]:
        """Return the numbers of the spans in the store."""
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{self.place / 'mlflow.db'}")
        experiment = mlflow.get_experiment_by_name("events").experiment_id
        traces = mlflow.search_traces(locations=[experiment], max_results=100_000, return_type="list")
        return [int(span.attributes["i"]) for trace in traces for span in trace.data.spans]
