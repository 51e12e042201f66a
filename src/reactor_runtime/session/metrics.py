"""Numbers of the runtime in the Prometheus text format. Pure: a snapshot of each slot in, text out.

Totals live in a slot's `Totals` and outlast sessions; what is running now is added when the text is made. Every
number says by its label `slot` whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

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
    """One slot's counts since the server started."""

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
    """One slot's numbers at one moment."""

    slot: int
    state: str
    viewers: int
    restarts: int
    host: HostCounters
    totals: Totals
    session: JsonObject


#: Counters by name, the number in a `Snapshot`, and what it counts.
_COUNTERS: Final = (
    ("reactor_sessions", "totals.sessions", "Sessions started"),
    ("reactor_viewers_connected", "totals.viewers", "Connections that were established"),
    ("reactor_commands", "totals.commands", "Commands answered"),
    ("reactor_commands_refused", "totals.commands_refused", "Commands answered with an error"),
    ("reactor_messages_rejected", "totals.messages.rejected", "Messages of clients that could not be read"),
    ("reactor_messages_limited", "totals.messages.limited", "Messages of clients over a rate limit"),
    ("reactor_messages_dropped", "totals.messages.dropped", "Messages that could not be delivered"),
    ("reactor_model_failures", "totals.failures", "Exceptions, crashes and hangs of the model"),
    ("reactor_model_restarts", "restarts", "Times the model process was started again"),
    ("reactor_frames_emitted", "totals.stream.received", "Frames emitted by the model"),
    ("reactor_frames_shown", "totals.stream.shown", "Frames released to the encoder"),
    (
        "reactor_frames_skipped",
        "totals.stream.skipped",
        "Frames overtaken by a newer one before they were due",
    ),
    ("reactor_frames_dropped", "totals.stream.dropped", "Frames overtaken while the encoder was busy"),
    (
        "reactor_frames_discarded",
        "totals.stream.discarded",
        "Frames that the model took back before they were shown",
    ),
    ("reactor_frames_encoded", "totals.stream.encoded", "Pictures encoded in full size, all codecs together"),
    ("reactor_encoded_bytes", "totals.stream.bytes", "Bytes encoded in full size, all codecs together"),
    (
        "reactor_low_frames_dropped",
        "totals.stream.low_dropped",
        "Pictures overtaken while the encoder of the low rendition was busy",
    ),
    ("reactor_low_frames_encoded", "totals.stream.low_encoded", "Pictures encoded for the low rendition"),
    ("reactor_low_encoded_bytes", "totals.stream.low_bytes", "Bytes encoded for the low rendition"),
    (
        "reactor_low_encode_seconds",
        "totals.stream.low_encode_s",
        "Time spent encoding the low rendition",
    ),
    ("reactor_convert_seconds", "totals.stream.convert_s", "Time spent converting colours"),
    ("reactor_encode_seconds", "totals.stream.encode_s", "Time spent encoding"),
    ("reactor_model_cpu_seconds", "host.model_cpu_s", "CPU time of the model process"),
    (
        "reactor_model_core_wait_seconds",
        "host.model_core_wait_s",
        "Time in which threads of the model process could run and had no core",
    ),
    ("reactor_model_emit_seconds", "host.emit_s", "Time the model's thread spent in emit, waiting excluded"),
    ("reactor_log_lines_dropped", "host.log_lines_dropped", "Lines of the model's output over the limit"),
    ("reactor_input_frames_dropped", "host.input_frames_dropped", "Input frames replaced by a newer one"),
)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def text_of(snapshots: Sequence[Snapshot]) -> str:
    """Return the metrics of all slots as text, format 0.0.4."""
    return _text([*_counters(snapshots), *_gauges(snapshots)])


def text_of_counters(rows: Iterable[tuple[str, float, str]]) -> str:
    """Return counters by name, value and help as text; `_total` is added to each name."""
    return _text(CounterMetricFamily(name, text, value=value) for name, value, text in rows)


def _text(families: Iterable[Metric]) -> str:
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry).decode()


def text_of_labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> str:
    """Return one counter by its label's values as text; `_total` is added to its name."""
    return _labelled(CounterMetricFamily(name, text, labels=[label]), values)


def text_of_gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> str:
    """Return one gauge by its label's values as text."""
    return _labelled(GaugeMetricFamily(name, text, labels=[label]), values)


def _labelled(metric: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> str:
    for each, value in values.items():
        metric.add_metric([each], value)
    return _text([metric])


def _counters(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    for name, path, text in _COUNTERS:
        metric = CounterMetricFamily(name, text, labels=["slot"])
        for snapshot in snapshots:
            metric.add_metric([str(snapshot.slot)], attrgetter(path)(snapshot))
        yield metric


def _gauges(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    state = GaugeMetricFamily("reactor_state", "1 for the present state", labels=["slot", "state"])
    viewers = GaugeMetricFamily("reactor_viewers", "Connected viewers", labels=["slot"])
    memory = GaugeMetricFamily(
        "reactor_model_resident_bytes", "Resident memory of the model process", labels=["slot"]
    )
    numbers = GaugeMetricFamily("reactor_session", "Numbers of the running session", labels=["slot", "name"])
    for snapshot in snapshots:
        slot = str(snapshot.slot)
        state.add_metric([slot, snapshot.state], 1)
        viewers.add_metric([slot], snapshot.viewers)
        memory.add_metric([slot], snapshot.host.model_rss_bytes)
        for name, value in snapshot.session.items():
            if isinstance(value, int | float):
                numbers.add_metric([slot, name], value)
    yield from (state, viewers, memory, numbers)
