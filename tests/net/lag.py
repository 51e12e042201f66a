"""`reactor` with an event loop that notes how late it is: `python lag.py FILE run MODEL …`, as `reactor run MODEL …`.

FILE gets a JSON list of [wall clock seconds, seconds late] at the end, a pair for each EVERY_S. Nothing else differs.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.01


@dataclass(frozen=True)
class Noting:
    """`program` is called as `reactor` is, and leaves what it noted in `file`."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "late.json"

    @property
    def program(self) -> Path:
        path = self.folder / "reactor-noting-lag"
        command = [sys.executable, __file__, str(self.file)]
        path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        path.chmod(0o700)
        return path

    def p99_ms(self, from_s: float, until_s: float) -> float:
        """Return how late the loop was between two moments of the wall clock, after its end."""
        noted = json.loads(self.file.read_text())
        late_s = sorted(late_s for at_s, late_s in noted if from_s <= at_s < until_s)
        return 1000 * float(late_s[int(len(late_s) * 0.99)])


class NotingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.late: list[tuple[float, float]] = []

    def run_forever(self) -> None:
        self._next(self.time())
        super().run_forever()

    def _next(self, due_s: float) -> None:
        now_s = self.time()
        self.late.append((time.time(), now_s - due_s))
        self.call_at(now_s + EVERY_S, self._next, now_s + EVERY_S)


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self) -> None:
        super().__init__()
        self.first: NotingLoop | None = None

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        if self.first is not None:
            return super().new_event_loop()
        self.first = NotingLoop()
        return self.first


def main() -> None:
    from framehelm import main as reactor

    file = Path(sys.argv.pop(1))
    policy = _Policy()
    asyncio.set_event_loop_policy(policy)
    try:
        reactor()
    finally:
        file.write_text(json.dumps(policy.first.late if policy.first else []))


if __name__ == "__main__":
    main()
