"""The lines of a session in the operator's log."""

from __future__ import annotations

from reactor_runtime.session.told import CLIENTS_NAMED, SessionTold


def test_a_session_s_end_tells_its_time_its_reason_and_who_came() -> None:
    told = SessionTold("0123456789ab", 100.0)
    assert told.started().text == "session 01234567 started"
    told.offered("js 2.9.0")
    told.offered("")
    told.offered("js 2.9.0")
    ended = told.ended("timed_out", 142.26)
    assert ended.text == "session 01234567 ended after 42.3 s: timed_out; clients: js 2.9.0, unnamed"
    assert ended.fields == {
        "event": "session_ended",
        "session_id": "0123456789ab",
        "duration_s": 42.3,
        "reason": "timed_out",
        "clients": ["js 2.9.0", "unnamed"],
    }


def test_what_clients_write_cannot_forge_a_line_or_fill_one() -> None:
    told = SessionTold("s", 0.0)
    for number in range(100):
        told.offered(f"{number:03}\n" + "x" * 500)
    ended = told.ended("over\r\nERROR all is lost", 1.0)
    assert ended.text.isprintable()
    assert len(ended.fields["clients"]) == CLIENTS_NAMED
    assert len(ended.text) < 1000
