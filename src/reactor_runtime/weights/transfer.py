"""How far a download or an upload is: numbers for programs, one line for people. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["waiting", "downloading", "retrying", "verifying", "uploading", "done"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One moment of one transfer.

    waiting: another process downloads the same; retrying: the store does not answer, `detail` says why.
    `bytes_per_s` and `remaining_s` are None until they are known.
    """

    ref: str
    phase: Phase
    done_bytes: int
    total_bytes: int
    bytes_per_s: float | None = None
    remaining_s: float | None = None
    detail: str = ""

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else None

    def line(self) -> str:
        """Return one line: "downloading LongLive 3.1 of 11.4 GB, 210 MB/s, 40 s left"."""
        words = f"{self.phase} {self.ref}"
        if self.phase == "waiting":
            return f"waiting for another process that downloads {self.ref}"
        if self.total_bytes:
            words += f" {amount(self.done_bytes, self.total_bytes)}"
        if self.bytes_per_s:
            words += f", {size(self.bytes_per_s)}/s"
        if self.remaining_s is not None:
            words += f", {duration(self.remaining_s)} left"
        return f"{words} ({self.detail})" if self.detail else words


TransferSink: TypeAlias = Callable[[Transfer], None]


def ignore(progress: Transfer) -> None:
    """Take progress that nobody watches."""


class Rate:
    """Bytes per second over the last few seconds."""

    def __init__(self, *, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now_s: float, done_bytes: int) -> float | None:
        """Note how much is done now and return the rate, or None while it is too early to tell."""
        self._marks.append((now_s, done_bytes))
        while len(self._marks) > 2 and self._marks[0][0] < now_s - self._window_s:
            self._marks.popleft()
        first_s, first_bytes = self._marks[0]
        if now_s - first_s < 0.5 or done_bytes < first_bytes:
            return None
        return (done_bytes - first_bytes) / (now_s - first_s)


_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size(count: float) -> str:
    """Return "11.4 GB". Decimal units, as disks and providers count."""
    for unit, factor in _UNITS:
        if count >= factor:
            return f"{_three(count / factor)} {unit}"
    return f"{count:.0f} B"


def amount(done: float, total: float) -> str:
    """Return "3.1 of 11.4 GB": both in the unit of the total."""
    for unit, factor in _UNITS:
        if total >= factor:
            return f"{_three(done / factor)} of {_three(total / factor)} {unit}"
    return f"{done:.0f} of {total:.0f} B"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _three(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"
