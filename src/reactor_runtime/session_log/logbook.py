"""The logs of one server's sessions: where each is written, and who may read it.

    LoggedHost ──records──▶ OpenLog ──lines──▶ a file below `log_session`, or this process's memory
    page ──session id, key──▶ Logbook.read()

One `Logbook` per server. It knows one log of each slot, that of the session that runs or ran last: also if the model's
process was lost with it. Whoever starts a session is told the key to its log, and nobody else: what others of its
viewers typed is in there as well. Records come from any thread; one lock orders the lines.

Each line of a file is one write, so that what was written survives a kill of this process. A log that would
grow beyond its bound, or that cannot be written, ends with a warning, and the session goes on.
"""

from __future__ import annotations

import hmac
import io
import logging
import os
import secrets
import threading
import time
from pathlib import Path

from .. import limits
from ..config import SessionLogSettings
from ..errors import SessionRefused
from ..types import JsonObject
from .lines import Began, Camera, Ended, Ran, Saw

log = logging.getLogger(__name__)


class Logbook:
    """Makes the log of each session. On the event loop, but for `read`."""

    def __init__(self, settings: SessionLogSettings) -> None:
        self._folder = settings.log_session
        self._last: dict[int, OpenLog] = {}
        """Of each slot, the newest last."""

    def begin(self, began: Began, *, slot: int = 0) -> OpenLog:
        """Begin the log of a session. That of its slot's before is forgotten; its file, if it has one, stays."""
        self._last.pop(slot, None)
        self._last[slot] = OpenLog(began, Path(self._folder) if self._folder else None)
        return self._last[slot]

    def ticket(self, session_id: str) -> JsonObject | None:
        """Return what the one who started this session may know: where its log is to be fetched."""
        found = self._of(session_id)
        if found is None or not found.content():
            return None
        return {"path": f"sessions/{session_id}/log/{found.key}", "redacted": found.began.redacted}

    def read(self, session_id: str, key: str) -> bytes:
        """Return the log so far. Raises SessionRefused 404 for another session, or another key."""
        found = self._of(session_id)
        if found is None or not hmac.compare_digest(found.key.encode(), key.encode()):
            raise SessionRefused("this session's log is not kept", status=404)
        try:
            return found.content()
        except OSError as error:  # somebody removed the file
            log.warning("the log of the session cannot be read: %s", error)
            raise SessionRefused("this session's log cannot be read", status=404) from None

    def _of(self, session_id: str) -> OpenLog | None:
        # A client may name its session as one was named that ran on another slot before: the newest is meant.
        logs = [each for each in self._last.values() if each.began.session_id == session_id]
        return logs[-1] if logs else None


class OpenLog:
    """One session's log: a file that only this user reads, or up to 16 MiB of memory."""

    def __init__(self, began: Began, folder: Path | None) -> None:
        self.began = began
        self.key = secrets.token_urlsafe(16)
        self._lock = threading.Lock()
        self._size_bytes = 0
        self._path: Path | None = None
        self._sink: io.BytesIO | io.FileIO = io.BytesIO()
        self._open = True
        self._limit_bytes = limits.SESSION_LOG_MEMORY_BYTES
        if folder is not None:
            self._limit_bytes = limits.SESSION_LOG_MAX_BYTES
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._path, self._sink = _new_file(folder, began.session_id)
            except OSError as error:
                log.warning("the session is not logged: %s: %s", folder, error)
                self._open = False
                return
            log.info("session log: %s", self._path)
        self.write(began)

    @property
    def has_pictures(self) -> bool:
        """Whether small pictures go into it: into a file, unless it is redacted."""
        return self._path is not None and not self.began.redacted

    @property
    def is_open(self) -> bool:
        return self._open

    def write(self, record: Began | Ran | Saw | Camera | Ended) -> None:
        """Add a line; without effect once the log has ended."""
        with self._lock:
            if not self._open:
                return
            line = record.line().encode()
            self._size_bytes += len(line)
            try:
                if self._size_bytes > self._limit_bytes:
                    raise OSError(f"it would be larger than {self._limit_bytes} bytes")
                self._sink.write(line)
            except OSError as error:
                log.warning("the log of the session ends here: %s: %s", self._path or "in memory", error)
                self._close()

    def content(self) -> bytes:
        """Return what was written so far: whole lines."""
        with self._lock:
            if isinstance(self._sink, io.BytesIO):
                return self._sink.getvalue()
            assert self._path is not None
            return self._path.read_bytes()

    def close(self) -> None:
        """Nothing more comes. May be called twice."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._open = False
        if isinstance(self._sink, io.FileIO):
            self._sink.close()


def _new_file(folder: Path, session_id: str) -> tuple[Path, io.FileIO]:
    """Make a session's file: two of one second may be called alike."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{session_id[:8]}"
    path = folder / f"{stem}.jsonl"
    if path.exists():
        path = folder / f"{stem}-{secrets.token_hex(4)}.jsonl"
    # Prompts are private: only this user reads them.
    return path, io.FileIO(path, "xb", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
