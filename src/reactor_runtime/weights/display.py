"""Downloads and uploads as a person sees them: bars on a terminal, a line now and then in a log.

Everything goes to stderr. One Display at a time; `report` may be called from any one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from .transfer import Transfer

#: A log gets a line when the phase changes, and at most this often in between.
LINE_EVERY_S = 5.0


class Display:
    """Shows the progress of one command. Use as a context manager."""

    def __init__(
        self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="yellow"),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def report(self, progress: Transfer) -> None:
        """Show one moment of a transfer."""
        if self._console.is_terminal:
            self._bar(progress)
        else:
            self._line(progress)

    def _bar(self, progress: Transfer) -> None:
        task = self._tasks.get(progress.ref)
        if task is None:
            task = self._tasks[progress.ref] = self._bars.add_task(progress.ref, total=None, detail="")
        words = "waiting for another process" if progress.phase == "waiting" else progress.detail
        self._bars.update(
            task,
            description=f"{progress.phase} {progress.ref}",
            completed=progress.done_bytes,
            total=progress.total_bytes or None,
            detail=words,
        )

    def _line(self, progress: Transfer) -> None:
        phase, shown_s = self._last.get(progress.ref, ("", 0.0))
        now_s = self._clock()
        if phase == progress.phase and now_s - shown_s < LINE_EVERY_S:
            return
        self._last[progress.ref] = (progress.phase, now_s)
        self._console.print(progress.line(), soft_wrap=True, markup=False, highlight=False)
