"""How much memory a loaded model takes, remembered by its manifest, so that the doctor can say how many slots fit.

    server: the first load, and the end of the server ──measure()──▶ footprints.json ──▶ reactor doctor PATH

Host memory is what the process alone holds: pages of mapped files, as weights often are, are shared by all slots and
may be dropped. The peak of a load counts too, because slots load one after the other. GPU memory is what the driver
says of the process, or where a container hides processes from it, what the card gained while the model loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import platformdirs

from .. import limits

#: A driver that does not answer is not waited for longer.
_SMI_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one slot's model takes. `gpu_bytes` is None where there is no GPU, or nobody could tell."""

    resident_bytes: int
    peak_bytes: int
    gpu_bytes: int | None
    measured: str
    """The day, as 2026-11-27."""

    def with_more(self, later: Footprint) -> Footprint:
        """Return the larger of each: a model that has run holds more than one that was only loaded."""
        gpu = [each.gpu_bytes for each in (self, later) if each.gpu_bytes is not None]
        return Footprint(
            max(self.resident_bytes, later.resident_bytes),
            max(self.peak_bytes, later.peak_bytes),
            max(gpu, default=None),
            later.measured,
        )


@dataclass(frozen=True, slots=True)
class Gpu:
    index: str
    uuid: str
    total_bytes: int
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        return self.total_bytes - self.used_bytes


def held_bytes(pid: int) -> int | None:
    """Return what a process alone holds of the host's memory; None where it is gone, or nobody tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kib = {name: int(value) for name, value in re.findall(r"(?m)^(\w+):\s+(\d+) kB$", status)}
    found = kib.get("RssAnon", 0) + kib.get("RssShmem", 0)
    return found * limits.KIB or None


def measure(pid: int, *, peak_bytes: int = 0, before: Sequence[Gpu] = (), gpu: str = "") -> Footprint | None:
    """Look at a model process, None where it is gone; it takes a moment.

    `before` are the GPUs as they were without it, `gpu` the only one that it sees.
    """
    held = held_bytes(pid)
    if held is None:
        return None
    on_gpu = _of_process(pid) or (_gained(before, gpus(), gpu) if before else None)
    return Footprint(held, max(held, peak_bytes), on_gpu, datetime.now(UTC).date().isoformat())


def gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs of this machine, none where the driver has no tool to ask."""
    rows = _smi("--query-gpu=index,uuid,memory.total,memory.used")
    return [
        Gpu(index, uuid, int(total) * limits.MIB, int(used) * limits.MIB)
        for index, uuid, total, used in (row for row in rows if len(row) == 4)
        if total.isdecimal() and used.isdecimal()
    ]


def _of_process(pid: int) -> int | None:
    rows = _smi("--query-compute-apps=pid,used_memory")
    mine = [int(row[1]) for row in rows if len(row) == 2 and row[0] == str(pid) and row[1].isdecimal()]
    return sum(mine) * limits.MIB if mine else None


def _gained(before: Sequence[Gpu], now: Sequence[Gpu], only: str) -> int | None:
    used = {gpu.uuid: gpu.used_bytes for gpu in before}
    gained = [
        gpu.used_bytes - used[gpu.uuid]
        for gpu in now
        if gpu.uuid in used and only in ("", gpu.index, gpu.uuid)
    ]
    return sum(max(0, each) for each in gained) or None


def _smi(query: str) -> list[list[str]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]


# What is remembered ---------------------------------------------------------------------------------------


def remember(manifest: Path, footprint: Footprint) -> None:
    """Keep what this user's model takes, of the latest `limits.FOOTPRINTS` models; not where nothing can be kept."""
    with contextlib.suppress(OSError, RuntimeError):
        file = _file()
        known = _read(file)
        known.pop(key := str(manifest.resolve()), None)
        known[key] = asdict(footprint)
        kept = dict(list(known.items())[-limits.FOOTPRINTS :])
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        with open(fd, "w") as made:
            json.dump(kept, made)
        os.replace(name, file)


def recall(manifest: Path) -> Footprint | None:
    """Return what this user's model took when it was loaded last; None where that is not known."""
    try:
        return Footprint(**_read(_file())[str(manifest.resolve())])
    except (OSError, RuntimeError, KeyError, TypeError):
        return None


def _file() -> Path:
    return platformdirs.user_state_path("reactor", appauthor=False).expanduser() / "footprints.json"


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


# How many fit ---------------------------------------------------------------------------------------------


def fitting(takes: Footprint, *, free_bytes: int, cards: Sequence[Gpu]) -> int:
    """Return how many slots there is room for: one after the other reaches the peak, and leaves what it holds."""
    room = (free_bytes - (takes.peak_bytes - takes.resident_bytes)) // max(1, takes.resident_bytes)
    if takes.gpu_bytes:
        room = min(room, sum(card.free_bytes // takes.gpu_bytes for card in cards))
    return max(0, min(room, limits.SLOTS_MAX))


def free_memory(group: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that could be used now: a container is often given less than the machine has."""
    free = 0
    with contextlib.suppress(OSError):
        found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB$", meminfo.read_text())
        free = int(found[1]) * limits.KIB if found else 0
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        # What the kernel keeps of files it gives back when memory is needed.
        cached = re.search(r"(?m)^inactive_file (\d+)$", (group / "memory.stat").read_text())
        used = int((group / "memory.current").read_text()) - (int(cached[1]) if cached else 0)
        free = min(free, max(0, limit - used))
    return free
