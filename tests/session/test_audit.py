"""The audit log: who did what, one line each, within its bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime import limits
from reactor_runtime.errors import SettingError
from reactor_runtime.session.audit import AuditLog
from reactor_runtime.session.grants import NOTHING, Grant
from reactor_runtime.types import Role

ANN = Grant(Role.DRIVE, sid="s", sub="Ann\n", jti="j1", address="203.0.113.7")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_when_who_and_what_and_nothing_that_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, wall=lambda: 1_800_000_000.25)
    log.note("start", ANN, session_id="s")
    log.note("kick", Grant(Role.OPERATE), session_id="s", whom="Ann", reason="rude")
    log.close()
    log.close()
    log.note("stop", ANN)
    assert lines(path) == [
        {
            "ts": "2027-01-15T08:00:00.250Z",
            "deed": "start",
            "role": "drive",
            "sub": "Ann\n",
            "jti": "j1",
            "address": "203.0.113.7",
            "session_id": "s",
        },
        {
            "ts": "2027-01-15T08:00:00.250Z",
            "deed": "kick",
            "role": "operate",
            "session_id": "s",
            "whom": "Ann",
            "reason": "rude",
        },
    ]
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_full_becomes_the_one_before_and_no_third_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, max_bytes=1000)
    for number in range(40):
        log.note("join", ANN, session_id=f"s{number}")
    log.close()
    assert {each.name for each in tmp_path.iterdir()} == {"audit.jsonl", "audit.jsonl.1"}
    assert all(each.stat().st_size <= 1000 for each in tmp_path.iterdir())
    kept = [
        line["session_id"] for each in ("audit.jsonl.1", "audit.jsonl") for line in lines(tmp_path / each)
    ]
    assert kept == [f"s{number}" for number in range(40 - len(kept), 40)]


def test_a_flood_of_refusals_is_counted_and_leaves_room_for_the_rest(tmp_path: Path) -> None:
    path, now_s = tmp_path / "audit.jsonl", 0.0
    log = AuditLog(path, clock=lambda: now_s)
    for _ in range(1000):
        log.note("refuse", NOTHING, code="unauthorized")
    log.note("start", ANN)
    now_s = 60.0
    log.note("refuse", NOTHING, code="unauthorized")
    written = lines(path)
    assert len(written) == limits.AUDIT_REFUSALS_BURST + 2
    assert written[-1]["unlisted"] == str(1000 - limits.AUDIT_REFUSALS_BURST)
    log.close()


def test_a_log_goes_on_where_the_last_start_ended(tmp_path: Path) -> None:
    for _ in range(2):
        log = AuditLog(tmp_path / "a")
        log.note("start", ANN)
        log.close()
    assert len(lines(tmp_path / "a")) == 2


def test_a_file_that_cannot_be_written_stops_the_start_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--audit-log FILE"):
        AuditLog(tmp_path / "no" / "such" / "folder")


def test_a_disk_that_fills_up_is_told_once_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(Path("/dev/full"), max_bytes=10**9)
    for _ in range(3):
        log.note("start", ANN)
    log.close()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the audit log cannot be written, and lines are lost"
    ]
