"""A model's output as lines for the operator's log: cut, limited per second, and counted. Pure.

Noise must cost next to nothing: beyond the limit lines are counted by their newlines and not looked at.

A progress bar draws over its line with carriage returns. What stands there now is the line, and while it is
drawn it is shown now and then, because loading a model may be nothing but one long bar.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Final

from .. import limits
from ..types import LogLine

#: Lines of one printed traceback; what goes beyond is lines of its own.
TRACEBACK_LINES: Final = 200
#: Python's own words at the head of a traceback, and of faulthandler's.
_BEGINS: Final = re.compile(
    r"Traceback \(most recent call last\):|Fatal Python error: |(Current thread|Thread) 0x.*\(most recent call first\):"
)
_GOES_ON: Final = re.compile(r"\s|$|(Current thread|Thread) 0x|Extension modules: |Python runtime state: ")
#: How often a line that is drawn over and over is shown.
PROGRESS_S: Final = 5.0


class LogLines:
    """One stream of bytes → lines. Policy when there are too many: drop the newest, say how many."""

    def __init__(
        self, *, line_max: int = limits.LOG_LINE_MAX, lines_per_s: int = limits.LOG_LINES_PER_S
    ) -> None:
        self._line_max = line_max
        self._lines_per_s = lines_per_s
        self._rest = b""
        self._cutting = False
        self._drawn = b""
        """What was shown last of a line that is drawn over."""
        self._drawn_s: float | None = None
        self._window_s = float("-inf")
        self._lines = 0
        self._dropped_now = 0
        self.dropped = 0

    def feed(self, data: bytes, now_s: float) -> list[str]:
        """Return the lines that are complete now and allowed."""
        lines = self._new_window(now_s)
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if self._lines >= self._lines_per_s:
                self._drop(data.count(b"\n", start))
                start = data.rfind(b"\n") + 1
                self._rest, self._cutting = b"", False
                break
            if not self._cutting:
                line = _standing(self._rest + data[start:end])
                if line != self._drawn or self._drawn_s is None:
                    lines.append(self._line(line))
            self._rest, self._cutting, self._drawn_s = b"", False, None
            start = end + 1
        lines += self._draw(self._rest + data[start:], now_s)
        # A line without an end is shown once it is too long to wait for.
        if len(self._rest) >= self._line_max and self._lines < self._lines_per_s:
            lines.append(self._line(self._rest))
            self._rest, self._cutting = b"", True
        return lines

    def end(self) -> list[str]:
        """Return what was left when the stream ended."""
        lines = [self._line(self._rest)] if self._rest else []
        self._rest = b""
        return lines + self._report()

    def _draw(self, line: bytes, now_s: float) -> list[str]:
        """Keep a line that has no end yet; return it if it is drawn over and was not shown for a while."""
        if self._cutting:
            return []
        self._rest = _standing(line)[: self._line_max]
        if b"\r" not in line:
            return []
        if self._drawn_s is None:
            self._drawn, self._drawn_s = b"", now_s
        due = now_s - self._drawn_s >= PROGRESS_S and self._lines < self._lines_per_s
        if not due or self._rest in (b"", self._drawn):
            return []
        self._drawn, self._drawn_s = self._rest, now_s
        return [self._line(self._rest)]

    def _line(self, line: bytes) -> str:
        self._lines += 1
        return line[: self._line_max].rstrip(b"\r").decode("utf-8", "replace")

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._dropped_now += count

    def _new_window(self, now_s: float) -> list[str]:
        if now_s - self._window_s < 1.0:
            return []
        self._window_s, self._lines = now_s, 0
        return self._report()

    def _report(self) -> list[str]:
        count, self._dropped_now = self._dropped_now, 0
        return [f"({count} more lines of the model's output were dropped)"] if count else []


def _standing(line: bytes) -> bytes:
    """Return what stands on a terminal's line after its carriage returns; those at the end change nothing."""
    shown = line.rstrip(b"\r")
    return line[shown.rfind(b"\r") + 1 :]


class Tracebacks:
    """Puts the lines of a printed traceback together again, so that it is one record, and an error."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def feed(self, lines: list[str]) -> Iterator[LogLine]:
        for line in lines:
            if not self._open:
                if _BEGINS.match(line):
                    self._open.append(line)
                else:
                    yield LogLine(line)
            elif _GOES_ON.match(line) and len(self._open) < TRACEBACK_LINES:
                self._open.append(line)
            elif self._open[0].startswith("Traceback") and not _BEGINS.match(line):
                self._open.append(line)  # the exception itself
                yield from self.end()
            else:
                yield from self.end()
                yield from self.feed([line])

    @property
    def is_open(self) -> bool:
        """Whether lines are kept for more: of stacks, only silence tells the end."""
        return bool(self._open)

    def end(self) -> Iterator[LogLine]:
        """Yield what is still open."""
        if self._open:
            text, self._open = "\n".join(self._open), []
            yield LogLine(text, logging.ERROR).cut()
