"""What the service measures of itself, in Prometheus' words; right with several workers too.

With several workers ``PROMETHEUS_MULTIPROC_DIR``, which BentoML sets, is where each keeps its numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_RECORDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
#: Scores are counted in bands of ten points.
BANDS: Final = tuple(f"{low / 10:.1f}" for low in range(10))

#: A gauge that is read when somebody looks: name, help, and its values by label.
Reading = tuple[str, str, Mapping[tuple[tuple[str, str], ...], float]]


class Metrics:
    """The measures of one worker.

    Parameters
    ----------
    directory : str, optional
        Where workers share their numbers; none in a process that is alone.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._directory = os.environ.get(_DIRECTORY) if directory is None else directory
        # One of its own: a second instance in the same process is no error.
        self._registry = registry = CollectorRegistry()
        self._seconds = Histogram(
            "vigie_request_seconds",
            "Time to answer, by operation",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "vigie_requests", "Requests, by operation and status", ["operation", "status"], registry=registry
        )
        self._in_progress = Gauge(
            "vigie_requests_in_progress",
            "Requests that are being answered",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._records = Histogram(
            "vigie_batch_records",
            "Records of one call, by operation",
            ["operation"],
            buckets=_RECORDS,
            registry=registry,
        )
        self._scores = Counter(
            "vigie_scores",
            "Scores given, by kind of record and band of probability (its lower end)",
            ["entity", "band"],
            registry=registry,
        )
        self._model = Gauge(
            "vigie_model_info",
            "1 for the version of the model that answers",
            ["version"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._version: str | None = None
        # Looking a child up by its labels costs as much as counting.
        self._timers: dict[str, Histogram] = {}
        self._counters: dict[tuple[str, int], Counter] = {}
        self.begin = self._in_progress.inc

    def end(self, operation: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._in_progress.dec()
        timer = self._timers.get(operation)
        if timer is None:
            timer = self._timers[operation] = self._seconds.labels(operation)
        timer.observe(seconds)
        counter = self._counters.get((operation, status))
        if counter is None:
            counter = self._counters[operation, status] = self._requests.labels(operation, str(status))
        counter.inc()

    def batch(self, operation: str, n_records: int) -> None:
        """Count the records of a call."""
        self._records.labels(operation).observe(n_records)

    def scored(self, entity: str, probabilities: Iterable[float]) -> None:
        """Count scores by band."""
        given: NDArray[np.float64] = np.fromiter(probabilities, np.float64)
        places = np.minimum((given * 10).astype(np.int64), 9)
        for place, n in enumerate(np.bincount(places, minlength=10).tolist()):
            if n:
                self._scores.labels(entity, BANDS[place]).inc(n)

    def serves(self, version: str) -> None:
        """Say which version of the model answers from now on."""
        if self._version is not None:
            self._model.labels(self._version).set(0)
        self._version = version
        self._model.labels(version).set(1)

    def text(self, readings: Iterable[Reading] = ()) -> bytes:
        """Give the measures of all workers.

        Parameters
        ----------
        readings : iterable of Reading
            What is read only now, by whoever answers.
        """
        registry = self._registry
        if self._directory:
            _bury(self._directory)
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self._directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(_Read(readings))

    def close(self) -> None:
        """Take this worker's share out of what counts only while it lives."""
        if self._directory:
            mark_process_dead(os.getpid(), self._directory)  # type: ignore[no-untyped-call]


class _Read(CollectorRegistry):
    """A registry that holds nothing but readings."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        super().__init__()
        self._readings = list(readings)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give each reading as a gauge."""
        for name, words, values in self._readings:
            family = GaugeMetricFamily(name, words)
            for labels, value in values.items():
                family.add_sample(name, dict(labels), value)
            yield family


def _bury(directory: str) -> None:
    """Take out what dead workers left: they were killed and could not do it."""
    for path in Path(directory).glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            mark_process_dead(int(pid), directory)  # type: ignore[no-untyped-call]
