"""Asks a server for /health every few milliseconds, from a process of its own, and keeps how long it took.

with probing(server.url) as probe:
    ...
assert probe.worst_s < 0.5
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

INTERVAL_S = 0.02


@dataclass
class Probe:
    """The answers: how long each took, and whether it was 200. Filled when the block ends."""

    took_s: list[float] = field(default_factory=list)
    healthy: list[bool] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return median(self.took_s)

    @property
    def worst_s(self) -> float:
        return max(self.took_s)

    def __str__(self) -> str:
        late = sum(took > 0.1 for took in self.took_s)
        return (
            f"/health: {len(self.took_s)} answers, median {self.median_s * 1000:.1f} ms, "
            f"worst {self.worst_s * 1000:.0f} ms, {late} over 100 ms"
        )


@contextmanager
def probing(url: str) -> Iterator[Probe]:
    """Probe until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", str(Path(__file__)), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    probe = Probe()
    try:
        process.stdout.readline()
        yield probe
    finally:
        answers, _ = process.communicate()
        with suppress(ValueError):  # it found no server
            for took_s, status in json.loads(answers):
                probe.took_s.append(took_s)
                probe.healthy.append(status == 200)


def _main(url: str) -> None:
    done = threading.Event()

    def read_to_the_end() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=read_to_the_end, daemon=True).start()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    answers: list[tuple[float, int]] = []
    print("probing", flush=True)
    while not (answers and done.wait(INTERVAL_S)):
        began_s = time.perf_counter()
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        answers.append((time.perf_counter() - began_s, answer.status))
    connection.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    _main(sys.argv[1])
