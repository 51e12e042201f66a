"""Numbers of the runtime in the Prometheus text format. Pure: a snapshot in, text out.

Totals live in `Totals` and outlast sessions; what is running now is added when the text is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..host import HostCounters
from ..types import JsonObject
from .stream import StreamCounters


@dataclass(slots=True)
class MessageCounts:
    """Data channel messages that were not read, or not delivered."""

    rejected: int = 0
    """Inbound, larger than allowed or not explained by any wire format."""
    limited: int = 0
    """Inbound, over a rate."""
    dropped: int = 0
    """Outbound, to a viewer whose channel is full, gone, or cannot carry them."""


@dataclass(slots=True)
class Totals:
    """Counts since the server started."""

    sessions: int = 0
    viewers: int = 0
    commands: int = 0
    commands_refused: int = 0
    failures: int = 0
    stream: StreamCounters = field(default_factory=StreamCounters)
    messages: MessageCounts = field(default_factory=MessageCounts)

    def add(self, ended: StreamCounters) -> None:
        """Keep what a session that ended had counted."""
        self.stream = self.stream.plus(ended)

    def plus(self, running: StreamCounters | None) -> Totals:
        return self if running is None else replace(self, stream=self.stream.plus(running))


@dataclass(frozen=True, slots=True)
class Snapshot:
    state: str
    viewers: int
    restarts: int
    host: HostCounters
    totals: Totals
    session: JsonObject


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        yield from _counters(self._snapshot)
        yield from _gauges(self._snapshot)


def text_of(snapshot: Snapshot) -> str:
    """Return the metrics as text, format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry).decode()


def text_of_counters(rows: Iterable[tuple[str, float, str]]) -> str:
    """Return counters by name, value and help as text; `_total` is added to each name."""

    class Rows(Collector):
        def collect(self) -> Iterable[Metric]:
            return _counter_families(rows)

    registry = CollectorRegistry()
    registry.register(Rows())
    return generate_latest(registry).decode()


def _counter_families(rows: Iterable[tuple[str, float, str]]) -> Iterator[Metric]:
    for name, value, text in rows:
        metric = CounterMetricFamily(name, text)
        metric.add_metric([], value)
        yield metric


def _counters(snapshot: Snapshot) -> Iterator[Metric]:
    totals, stream, host = snapshot.totals, snapshot.totals.stream, snapshot.host
    rows = (
        ("reactor_sessions", totals.sessions, "Sessions started"),
        ("reactor_viewers_connected", totals.viewers, "Connections that were established"),
        ("reactor_commands", totals.commands, "Commands answered"),
        ("reactor_commands_refused", totals.commands_refused, "Commands answered with an error"),
        ("reactor_messages_rejected", totals.messages.rejected, "Messages of clients that could not be read"),
        ("reactor_messages_limited", totals.messages.limited, "Messages of clients over a rate limit"),
        ("reactor_messages_dropped", totals.messages.dropped, "Messages that could not be delivered"),
        ("reactor_model_failures", totals.failures, "Exceptions, crashes and hangs of the model"),
        ("reactor_model_restarts", snapshot.restarts, "Times the model process was started again"),
        ("reactor_frames_emitted", stream.received, "Frames emitted by the model"),
        ("reactor_frames_shown", stream.shown, "Frames released to the encoder"),
        ("reactor_frames_skipped", stream.skipped, "Frames overtaken by a newer one before they were due"),
        ("reactor_frames_dropped", stream.dropped, "Frames overtaken while the encoder was busy"),
        (
            "reactor_frames_discarded",
            stream.discarded,
            "Frames that the model took back before they were shown",
        ),
        ("reactor_frames_encoded", stream.encoded, "Pictures encoded, all codecs together"),
        ("reactor_encoded_bytes", stream.bytes, "Bytes encoded, all codecs together"),
        ("reactor_convert_seconds", stream.convert_s, "Time spent converting colours"),
        ("reactor_encode_seconds", stream.encode_s, "Time spent encoding"),
        ("reactor_model_cpu_seconds", host.model_cpu_s, "CPU time of the model process"),
        (
            "reactor_model_core_wait_seconds",
            host.model_core_wait_s,
            "Time in which threads of the model process could run and had no core",
        ),
        (
            "reactor_model_emit_seconds",
            host.emit_s,
            "Time the model's thread spent in emit, waiting excluded",
        ),
        ("reactor_log_lines_dropped", host.log_lines_dropped, "Lines of the model's output over the limit"),
        ("reactor_input_frames_dropped", host.input_frames_dropped, "Input frames replaced by a newer one"),
    )
    yield from _counter_families(rows)


def _gauges(snapshot: Snapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily("reactor_state", "1 for the present state", labels=["state"])
    state.add_metric([snapshot.state], 1)
    yield state
    viewers = GaugeMetricFamily("reactor_viewers", "Connected viewers")
    viewers.add_metric([], snapshot.viewers)
    yield viewers
    memory = GaugeMetricFamily("reactor_model_resident_bytes", "Resident memory of the model process")
    memory.add_metric([], snapshot.host.model_rss_bytes)
    yield memory
    numbers = GaugeMetricFamily("reactor_session", "Numbers of the running session", labels=["name"])
    for name, value in snapshot.session.items():
        if isinstance(value, int | float):
            numbers.add_metric([name], value)
    yield numbers
