"""Where a session's log is kept, and who may read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.host_events import settings

from reactor_runtime import limits
from reactor_runtime.errors import SessionRefused
from reactor_runtime.session_log.lines import Began, Ended, Ran, Saw, read_log
from reactor_runtime.session_log.logbook import Logbook


def began(session_id: str, *, redacted: bool = False) -> Began:
    return Began(
        session_id=session_id, started="", runtime="0.1.0", model="m", version="1", seed=7,
        model_class="model:Model", args={}, weights={}, fps=30.0, digest_every=10, redacted=redacted,
    )  # fmt: skip


def key_of(book: Logbook, session_id: str) -> str:
    ticket = book.ticket(session_id)
    assert ticket is not None
    return str(ticket["path"]).rpartition("/")[2]


def test_a_log_is_read_while_it_is_written_and_after_its_end(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path / "logs")):
        book = Logbook(settings(log_session=folder))
        lines = book.begin(began("one"))
        lines.write(Ran(frame=3, waits=0, name="a", arguments={}))
        assert book.ticket("one") == {"path": f"sessions/one/log/{key_of(book, 'one')}", "redacted": False}
        assert read_log(book.read("one", key_of(book, "one")).decode().splitlines(), file="").last_frame == 2
        lines.write(Ended(frames=9))
        lines.close()
        lines.close()
        lines.write(Ended(frames=10))
        assert read_log(book.read("one", key_of(book, "one")).decode().splitlines(), file="").last_frame == 9


def test_only_the_key_of_this_session_opens_its_log() -> None:
    book = Logbook(settings())
    with pytest.raises(SessionRefused):
        book.read("one", "")
    book.begin(began("one"))
    key = key_of(book, "one")
    assert len(key) >= 20
    assert book.ticket("two") is None
    for session_id, wrong in (("one", ""), ("one", key[:-1]), ("one", "ключ"), ("two", key)):
        with pytest.raises(SessionRefused) as refused:
            book.read(session_id, wrong)
        assert refused.value.status == 404
    # The same id again is another session: ids are the client's to choose.
    book.begin(began("one"))
    with pytest.raises(SessionRefused):
        book.read("one", key)


def test_memory_holds_no_pictures_and_ends_at_its_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "SESSION_LOG_MEMORY_BYTES", 2000)
    book = Logbook(settings())
    lines = book.begin(began("one"))
    assert not lines.has_pictures
    for frame in range(1, 100):
        lines.write(Saw(frame=frame, size=(1, 1), digest="ab"))
    content = book.read("one", key_of(book, "one"))
    assert len(content) <= 2000
    assert not lines.is_open
    assert 2 < len(read_log(content.decode().splitlines(), file="").frames) < 99
    assert "the log of the session ends here" in caplog.text


def test_a_file_that_somebody_removed_is_refused_and_not_an_error_of_the_server(tmp_path: Path) -> None:
    book = Logbook(settings(log_session=str(tmp_path)))
    lines = book.begin(began("one", redacted=True))
    assert not lines.has_pictures
    ticket = book.ticket("one")
    assert ticket is not None
    assert ticket["redacted"] is True
    key = key_of(book, "one")
    (file,) = tmp_path.iterdir()
    file.unlink()
    with pytest.raises(SessionRefused, match="cannot be read"):
        book.read("one", key)
    lines.close()


def test_each_slot_s_last_log_is_kept_and_read_with_its_own_key(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        book = Logbook(settings(log_session=folder))
        for slot, session_id in enumerate(("one", "two")):
            book.begin(began(session_id), slot=slot).close()
        keys = {session_id: key_of(book, session_id) for session_id in ("one", "two")}
        for session_id, key in keys.items():
            assert session_id.encode() in book.read(session_id, key)
            with pytest.raises(SessionRefused):
                book.read(session_id, next(other for other in keys.values() if other != key))
        book.begin(began("three"), slot=0).close()
        with pytest.raises(SessionRefused):
            book.read("one", keys["one"])
        assert book.read("two", keys["two"])


def test_of_two_logs_of_one_id_the_newest_is_meant() -> None:
    book = Logbook(settings())
    book.begin(began("one"), slot=1)
    newest = book.begin(began("one"), slot=0)
    assert key_of(book, "one") == newest.key


def test_sessions_that_begin_in_one_second_under_one_beginning_are_all_logged(tmp_path: Path) -> None:
    book = Logbook(settings(log_session=str(tmp_path)))
    for slot in range(4):
        lines = book.begin(began(f"visitor-{slot}"), slot=slot)
        assert lines.is_open
        lines.close()
    assert len(list(tmp_path.iterdir())) == 4
