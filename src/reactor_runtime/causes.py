"""The author's exceptions in the operator's log: a traceback once per cause, then a count.

A cause is a place, an exception's type and the line that raised it. The first time its traceback is
logged; repeats are one line per second and cause that says how many there were (a fault that repeats
a thousand times per second must not fill a disk, nor hide the one that came before it).
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

REPEAT_S: Final = 1.0
#: Causes remembered. More: forgotten oldest first, so an old cause is logged in full again.
CAUSES: Final = 64


@dataclass(slots=True)
class _Seen:
    logged_s: float
    repeats: int = 0


class CauseLog:
    """Write exceptions to a log, any thread."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, type[BaseException], str, int], _Seen] = {}

    def exception(self, error: BaseException, place: str) -> None:
        """Log an exception that an author's code raised at a place, such as "command 'boom'"."""
        *_, last = traceback.extract_tb(error.__traceback__) or [None]
        where = (last.filename, last.lineno or 0) if last is not None else ("", 0)
        cause = (place, type(error), *where)
        now_s = self._clock()
        with self._lock:
            seen = self._seen.get(cause)
            if seen is None:
                while len(self._seen) >= CAUSES:
                    del self._seen[next(iter(self._seen))]
                self._seen[cause] = _Seen(now_s)
                repeats = 0
            else:
                seen.repeats += 1
                if now_s - seen.logged_s < REPEAT_S:
                    return
                seen.logged_s, repeats, seen.repeats = now_s, seen.repeats, 0
        if repeats:
            what = "".join(traceback.format_exception_only(error)).partition("\n")[0]
            self._write(f"{place} raised {repeats} times more: {what}")
        else:
            self._write(f"{place} raised:\n" + "".join(traceback.format_exception(error)).rstrip())
