"""Who did what on a server: JSON lines for operators, without anything that was said or shown.

    guard, Sessions, Session ──note──▶ Audit ──a line──▶ FILE, and FILE.1 before it

A line has the time, the deed, who (`sub`, `role`, `jti` and address, as the grant has them) and the session: never a
token, an argument, a prompt or a picture. One per server, on its event loop; each line is one write, so what was
written survives a kill.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from .. import limits
from ..errors import SettingError
from .grants import Grant
from .rate import TokenBucket

log = logging.getLogger(__name__)

Deed: TypeAlias = Literal[
    "start", "join", "drive", "leave", "stop", "moderate", "kick", "drain", "refuse", "expire", "issue"
]


class Audit(Protocol):
    def note(
        self,
        deed: Deed,
        grant: Grant,
        *,
        session_id: str = "",
        code: str = "",
        whom: str = "",
        reason: str = "",
    ) -> None:
        """Write down that the grant's bearer did this. `whom` it was done to: a `sub`, or a connection's number."""

    def close(self) -> None: ...


class Silent:
    """Keeps nothing."""

    def note(
        self,
        deed: Deed,
        grant: Grant,
        *,
        session_id: str = "",
        code: str = "",
        whom: str = "",
        reason: str = "",
    ) -> None: ...

    def close(self) -> None: ...


class AuditLog:
    """Appends to a file that only this user reads. Raises SettingError where it cannot be opened."""

    def __init__(
        self,
        path: Path,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = limits.AUDIT_MAX_BYTES,
    ) -> None:
        self._path = path
        self._wall = wall
        self._clock = clock
        self._max_bytes = max_bytes
        self._refusals = TokenBucket(limits.AUDIT_REFUSALS_PER_S, limits.AUDIT_REFUSALS_BURST)
        self._unlisted = 0
        self._broken = False
        try:
            self._file: int | None = self._open()
        except OSError as error:
            raise SettingError(
                f"the audit log {path} cannot be written: {error.strerror or error}.\n"
                "  Fix: name a file in a folder that exists and is yours: --audit-log FILE."
            ) from None

    def note(
        self,
        deed: Deed,
        grant: Grant,
        *,
        session_id: str = "",
        code: str = "",
        whom: str = "",
        reason: str = "",
    ) -> None:
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        line = {
            "ts": now.replace("+00:00", "Z"),
            "deed": deed,
            "role": grant.role.value if grant.role is not None else "",
            "sub": grant.sub,
            "jti": grant.jti,
            "address": grant.address,
            "session_id": session_id,
            "code": code,
            "whom": whom,
            "reason": reason,
        }
        if deed == "refuse":
            if not self._refusals.take(self._clock()):
                self._unlisted += 1
                return
            line["unlisted"] = str(self._unlisted or "")
            self._unlisted = 0
        # ASCII: one line each, whatever a name holds.
        self._write(json.dumps({name: value for name, value in line.items() if value}).encode() + b"\n")

    def close(self) -> None:
        """Write no more. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: bytes) -> None:
        if self._file is None:
            return
        try:
            if os.fstat(self._file).st_size + len(line) > self._max_bytes:
                self._turn_over()
            os.write(self._file, line)
            self._broken = False
        except OSError as error:
            if not self._broken:
                log.error("the audit log cannot be written, and lines are lost: %s", error)
            self._broken = True

    def _turn_over(self) -> None:
        os.replace(self._path, f"{self._path}.1")
        fresh = self._open()
        assert self._file is not None  # it is written to
        os.close(self._file)
        self._file = fresh

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
