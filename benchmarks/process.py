"""CPU time and memory of a process and its threads, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    cpu_s: float
    rss_mb: float
    threads: int


def usage(pid: int) -> Usage:
    """Read a process's CPU seconds (user and system, all threads), resident megabytes and threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return Usage((int(fields[11]) + int(fields[12])) * _TICK_S, resident / 1e6, int(fields[17]))


def machine_cpu_s() -> float:
    """CPU seconds that the whole machine has spent since it started, idle and waiting excluded."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * _TICK_S
