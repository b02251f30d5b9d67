"""Count what happens, and show it to Prometheus with what the host looks like at the moment it is asked.

Theory of operation
    What happens once (an execution, a deployment, a tick) is counted where it ends, about a microsecond each; everything else is
    read when somebody asks. No series names a Micro, a project or a path: their number would be a tenant's to choose. What one Micro
    does is shown by the console. The registry is ours, not the library's global one.
    Source: Prometheus, exposition format and naming practice; prometheus_client's documentation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import floatToGoString

from microhost.micros.pool import PoolLook
from microhost.records import Execution

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
DEPLOY_SECONDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLook:
    """Say what a host looks like now. `files` are bytes by name, `waiting` records or commits that wait for the disk."""

    pool: PoolLook
    is_draining: bool
    connections: int
    domains: Mapping[str, int]
    files: Mapping[str, int]
    free_bytes: int
    waiting: Mapping[str, int]
    dropped: Mapping[str, int] = field(default_factory=dict)


class Buckets:
    """Count durations by upper bounds in seconds, at a third of what the library's own take."""

    __slots__ = ("_bounds", "_counts", "_sum_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with nothing."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def show(self, family: HistogramMetricFamily, *labels: str) -> None:
        """Add what was counted to a family, cumulated."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(names, accumulate(self._counts), strict=True)), self._sum_s)


class Metrics:
    """Hold the counters of one host process; they begin at zero with it, as Prometheus expects."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._registry = CollectorRegistry()
        self._look: Callable[[], HostLook] | None = None
        self._executions: dict[tuple[str, str, int, str], int] = {}
        self._ran: defaultdict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))
        self._queued: defaultdict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))
        self._deployed: defaultdict[str, Buckets] = defaultdict(lambda: Buckets(DEPLOY_SECONDS))
        self._late = Buckets(LATE_SECONDS)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def watch(self, look: Callable[[], HostLook]) -> None:
        """Ask `look` what the host looks like, each time somebody asks us."""
        self._look = look

    def count_execution(self, execution: Execution) -> None:
        """Count one that has ended."""
        key = (execution.trigger, execution.start, execution.status // 100, execution.cause or "")
        self._executions[key] = self._executions.get(key, 0) + 1
        self._ran[execution.trigger].add(execution.duration_s)
        self._queued[execution.start].add(execution.queued_s)

    def count_tick(self, late_s: float) -> None:
        """Count a tick whose handler is called `late_s` after its moment."""
        self._late.add(max(0.0, late_s))

    def count_deployment(self, outcome: str, took_s: float) -> None:
        """Count a deployment: `live`, `refused`, `given up` (whoever sent it left) or `failed`."""
        self._deployed[outcome].add(took_s)

    def text(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give what was counted, and what is read when it is asked for."""
        yield from self._counted()
        if self._look is not None:
            yield from _seen(self._look())

    def _counted(self) -> Iterator[Metric]:
        text = "Executions that have ended, by what made them run, what was needed first, status class and cause."
        family = CounterMetricFamily(
            "microhost_executions", text, labels=("trigger", "start", "status", "cause")
        )
        for (trigger, start, status, cause), count in self._executions.items():
            family.add_metric((trigger, start, f"{status}xx", cause), count)
        yield family
        yield _histogram("microhost_execution_seconds", "How long executions ran.", self._ran, "trigger")
        text = "How long executions waited for a process, starts included."
        yield _histogram("microhost_queue_seconds", text, self._queued, "start")
        text = "How long deployments took, by whether they went live."
        yield _histogram("microhost_deployment_seconds", text, self._deployed, "outcome")
        text = "How long after its tick a cron handler was called."
        late = HistogramMetricFamily("microhost_cron_lateness_seconds", text)
        self._late.show(late)
        yield late


def _seen(look: HostLook) -> Iterator[Metric]:
    pool = look.pool
    yield _gauge("microhost_micros", "Micros by state.", pool.micros, "state")
    yield _gauge("microhost_executors", "Processes of Micros by state.", pool.executors, "state")
    yield _gauge(
        "microhost_micros_memory_bytes", "Memory of all Micros, every few seconds.", pool.memory_bytes
    )
    yield _gauge("microhost_queue_length", "Executions that wait for a process.", pool.waiting)
    yield _gauge("microhost_running_executions", "Executions that run.", pool.running)
    yield _gauge("microhost_connections", "Open connections of visitors.", look.connections)
    yield _gauge("microhost_draining", "1 while this process takes no more connections.", look.is_draining)
    yield _gauge("microhost_domains", "Custom domains by state.", look.domains, "state")
    yield _gauge("microhost_file_bytes", "Sizes of the host's own databases.", look.files, "file")
    yield _gauge("microhost_disk_free_bytes", "Room on the disk of the data directory.", look.free_bytes)
    yield _gauge(
        "microhost_waiting_for_disk", "Bytes or commits that wait to be written.", look.waiting, "store"
    )
    refused, dropped = "Executions refused: too many waited.", "Records dropped: the disk was too slow."
    yield _counter("microhost_refused_executions", refused, pool.refused)
    yield _counter("microhost_dropped_records", dropped, look.dropped, "store")


def _histogram(name: str, text: str, counted: Mapping[str, Buckets], label: str) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for key, buckets in counted.items():
        buckets.show(family, key)
    return family


def _gauge(name: str, text: str, values: Mapping[str, int] | int, label: str = "") -> Metric:
    if not isinstance(values, Mapping):
        return GaugeMetricFamily(name, text, value=values)
    return _fill(GaugeMetricFamily(name, text, labels=(label,)), values)


def _counter(name: str, text: str, values: Mapping[str, int] | int, label: str = "") -> Metric:
    if not isinstance(values, Mapping):
        return CounterMetricFamily(name, text, value=values)
    return _fill(CounterMetricFamily(name, text, labels=(label,)), values)


def _fill(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, int]) -> Metric:
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
