"""A model's log records on their way to the server: one record each, with its logger and level, whole.

Installed on the root logger of the model process before the author's code is imported, so a `basicConfig` of
theirs changes nothing. Any thread logs; the record is cut, and beyond LOG_LINES_PER_S records a second are
dropped and counted, because a flood must not hold up frames on the same pipe. A forked child of the model has
no pipe of its own: what it logs goes to its standard error.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .. import limits
from ..types import LogLine


class LogPipe(logging.Handler):
    """Sends records with `send`, which may block and must not log."""

    def __init__(self, send: Callable[[LogLine], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._send = send
        self._clock = clock
        self._pid = os.getpid()
        self._sending = threading.local()
        self._window_s = float("-inf")
        self._records = 0
        self._dropped = 0

    def install(self, *, verbose: bool) -> None:
        """Take the root logger's records, warnings, and what ends a thread of the author's."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(logging.DEBUG if verbose else logging.INFO)
        logging.captureWarnings(True)
        threading.excepthook = self._thread_failed

    def emit(self, record: logging.LogRecord) -> None:
        # A record that is made while one is sent on this thread, by a finaliser or a signal's handler.
        if os.getpid() != self._pid or getattr(self._sending, "now", False):
            print(f"{record.levelname} {record.name}: {self.format(record)}", file=sys.stderr)
            return
        try:
            line = LogLine(self.format(record).rstrip("\n"), record.levelno, record.name)
        except Exception:
            # As one record, like every other; logging's own way is twenty printed lines.
            text = f"a call of the log failed, {record.pathname}:{record.lineno}:\n{traceback.format_exc()}"
            line = LogLine(text.rstrip("\n"), logging.ERROR, record.name)
        self.tell(line)

    def tell(self, line: LogLine) -> None:
        """Send one record, if this second has room for it."""
        now_s = self._clock()
        if now_s - self._window_s >= 1.0:
            dropped, self._window_s, self._records, self._dropped = self._dropped, now_s, 0, 0
            if dropped:
                self._pass_on(
                    LogLine(f"({dropped} more records of the model's log were dropped)", logging.WARNING)
                )
        if self._records >= limits.LOG_LINES_PER_S:
            self._dropped += 1
            return
        self._records += 1
        self._pass_on(line)

    def _pass_on(self, line: LogLine) -> None:
        self._sending.now = True
        try:
            self._send(line.cut())
        finally:
            self._sending.now = False

    def _thread_failed(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        name = args.thread.name if args.thread is not None else "?"
        text = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        self.tell(LogLine(f"thread {name!r} raised:\n{text.rstrip()}", logging.ERROR))
