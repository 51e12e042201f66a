"""The Prometheus text."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from reactor_runtime.host import HostCounters
from reactor_runtime.session.metrics import Snapshot, Totals, text_of
from reactor_runtime.session.stream import StreamCounters


def samples(text: str) -> dict[str, float]:
    """Read the numbers of a server of one slot: name[label]."""
    return {
        sample.name
        + "".join(f"[{value}]" for label, value in sample.labels.items() if label != "slot"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_totals_outlive_sessions_and_include_the_running_one() -> None:
    totals = Totals(sessions=3)
    totals.add(StreamCounters(received=100, shown=90, skipped=10))
    snapshot = Snapshot(
        slot=0,
        state="streaming",
        viewers=2,
        restarts=1,
        host=HostCounters(model_cpu_s=1.5),
        totals=totals.plus(StreamCounters(received=5, shown=5)),
        session={"model_ms": 4.0, "note": "text is left out"},
    )
    values = samples(text_of([snapshot]))
    assert values["reactor_frames_emitted_total"] == 105
    assert values["reactor_frames_shown_total"] == 95
    assert values["reactor_frames_skipped_total"] == 10
    assert values["reactor_sessions_total"] == 3
    assert values["reactor_model_restarts_total"] == 1
    assert values["reactor_viewers"] == 2
    assert values["reactor_state[streaming]"] == 1
    assert values["reactor_session[model_ms]"] == 4.0
    assert "reactor_session[note]" not in values


def test_a_snapshot_leaves_the_totals_as_they_were() -> None:
    totals = Totals()
    totals.plus(StreamCounters(received=7))
    assert totals.stream == StreamCounters()


def test_each_number_says_whose_slot_it_is() -> None:
    snapshots = [
        Snapshot(
            number,
            "streaming",
            number,
            0,
            HostCounters(model_rss_bytes=number),
            Totals(number),
            {"a": number},
        )
        for number in (0, 1)
    ]
    families = list(text_string_to_metric_families(text_of(snapshots)))
    assert all({sample.labels["slot"] for sample in family.samples} == {"0", "1"} for family in families)
    for name in ("reactor_viewers", "reactor_model_resident_bytes", "reactor_sessions", "reactor_session"):
        (family,) = (each for each in families if each.name == name)
        assert [sample.value for sample in family.samples] == [0, 1]
