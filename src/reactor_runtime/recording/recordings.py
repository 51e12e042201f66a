"""Every recording that is kept: where it lies, clips of it, and for how long.

One per server. Recorders add segments from their threads, HTTP asks from the event loop; a lock is held for
moments only and never while a segment is read. Two bounds hold for all recordings together, also for the one
that runs: segments older than `record_keep_s` go, and the oldest go while there are more than `record_max_mb`.
Without a folder of the operator's own, everything is in a temporary one, which goes with the server.

A recording's id is unguessable, and only who asked for a clip of it is told: it is the permission to fetch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .. import limits
from ..config import RecordSettings
from ..errors import ClipRefused, SettingError
from .fmp4 import TIMESCALE, earlier
from .playlist import INIT_NAME, Segment, covering, segment_index, segment_name

log = logging.getLogger(__name__)

#: How often recordings that grew old are looked for while nothing is recorded.
TEND_S: Final = 30.0
_FOLDER: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{32}")
_TEMPORARY: Final = "reactor-recordings-"


@dataclass(slots=True, eq=False)
class Recording:
    """What is known of one. Guarded by the lock of its Recordings."""

    recording_id: str
    folder: Path
    segments: list[Segment] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)
    """When each segment was closed, epoch seconds."""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Leftover:
    """A recording of an earlier server. It is not served, but what is kept of it counts."""

    folder: Path
    newest_s: float
    size_bytes: int


class Recordings:
    """The store. With recording switched off it is empty and makes no folder."""

    def __init__(self, settings: RecordSettings) -> None:
        self.enabled: Final = settings.record
        self._keep_s = settings.record_keep_s
        self._max_bytes = settings.record_max_mb * limits.MIB
        self._lock = threading.Lock()
        self._recordings: dict[str, Recording] = {}
        self._leftovers: list[_Leftover] = []
        """Oldest first."""
        self._temporary = settings.record and not settings.record_dir
        self._folder = Path(settings.record_dir)
        self._held: int | None = None
        if not settings.record:
            return
        try:
            if self._temporary:
                self._folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-"))
            else:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._held = _only_server_of(self._folder)
                if self._held is None:
                    raise SettingError(
                        f"record_dir (--record-dir, REACTOR_RECORD_DIR): another server keeps its recordings in "
                        f"{self._folder}.\n  Fix: give each server a folder of its own."
                    )
            owners = _killed() if self._temporary else [self._folder]
            found = [leftover for owner in owners for leftover in _leftovers(owner)]
        except OSError as error:
            raise SettingError(
                f"record_dir (--record-dir, REACTOR_RECORD_DIR): {self._folder} cannot be used: {error.strerror}"
            ) from error
        self._leftovers = sorted(found, key=lambda leftover: leftover.newest_s)
        self.expire()

    # Recorders ----------------------------------------------------------------------------------------

    def begin(self) -> Recording:
        """Make a recording. Its folder is made with its first picture."""
        recording_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex}"
        recording = Recording(recording_id, self._folder / recording_id)
        with self._lock:
            self._recordings[recording_id] = recording
        return recording

    def add(self, recording: Recording, segment: Segment) -> None:
        """Take a segment that was closed, and remove what is beyond the bounds."""
        with self._lock:
            recording.segments.append(segment)
            recording.closed_s.append(time.time())
        self.expire()

    def end(self, recording: Recording) -> None:
        """Nothing more comes."""
        with self._lock:
            recording.ended = True
            empty = not recording.segments
            if empty:
                self._recordings.pop(recording.recording_id, None)
        if empty:
            shutil.rmtree(recording.folder, ignore_errors=True)

    def kept_from_s(self, recording: Recording) -> float:
        """Return the time of its oldest picture that is kept."""
        with self._lock:
            return recording.segments[0].start / TIMESCALE if recording.segments else 0.0

    # Clips --------------------------------------------------------------------------------------------

    def clip(self, recording_id: str, start_s: float, end_s: float) -> list[Segment] | None:
        """Return the segments of a clip, None while its last segment is still open.

        Raises ClipRefused 410 for a recording that is unknown or whose first second asked for is not kept.
        """
        with self._lock:
            recording = self._recordings.get(recording_id)
            if recording is None:
                raise ClipRefused("unknown or expired recording", status=410)
            segments = list(recording.segments)
            ended = recording.ended
        closed_s = segments[-1].end / TIMESCALE if segments else 0.0
        if segments and start_s < segments[0].start / TIMESCALE - 0.001:
            raise ClipRefused("the beginning of this clip is not kept any more", status=410)
        if closed_s < end_s and not ended:
            return None
        wanted = covering(segments, start_s, end_s)
        if not wanted:
            raise ClipRefused("the recording ended before this clip", status=410)
        return wanted

    def read(self, recording_id: str, name: str, *, begin: int = 0) -> bytes:
        """Return a file of a recording, a segment's time counted from `begin` (in ticks). Blocks on the disk.

        Raises ClipRefused: 410 for an unknown recording, 404 for a file that it does not have.
        """
        with self._lock:
            recording = self._recordings.get(recording_id)
            if recording is None:
                raise ClipRefused("unknown or expired recording", status=410)
            index = segment_index(name)
            known = any(segment.index == index for segment in recording.segments)
        if not known and name != INIT_NAME:
            raise ClipRefused("unknown segment", status=404)
        # From here on the name is one of ours, whatever the request had said.
        file = recording.folder / (INIT_NAME if index is None else segment_name(index))
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise ClipRefused("unknown segment", status=404) from None
        return earlier(data, begin) if index is not None and begin else data

    # Retention ----------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Remove what grew old, until cancelled."""
        while True:
            await asyncio.to_thread(self.expire)
            await asyncio.sleep(TEND_S)

    def expire(self) -> None:
        """Remove segments beyond the bounds, and recordings of which nothing is left."""
        with self._lock:
            doomed = self._take_doomed()
        for path in doomed:
            if path.suffix:
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            shutil.rmtree(path, ignore_errors=True)
            if self._temporary and path.parent != self._folder:
                with contextlib.suppress(OSError):  # others are in it
                    path.parent.rmdir()

    def _take_doomed(self) -> list[Path]:
        """Forget what is beyond the bounds; return its files and folders. The oldest first, leftovers before all."""
        doomed: list[Path] = []
        oldest_s = time.time() - self._keep_s
        left_bytes = sum(s.size_bytes for r in self._recordings.values() for s in r.segments)
        left_bytes += sum(leftover.size_bytes for leftover in self._leftovers)
        while self._leftovers and (self._leftovers[0].newest_s <= oldest_s or left_bytes > self._max_bytes):
            leftover = self._leftovers.pop(0)
            left_bytes -= leftover.size_bytes
            doomed.append(leftover.folder)
        while (recording := self._oldest()) is not None:
            if recording.closed_s[0] > oldest_s and left_bytes <= self._max_bytes:
                break
            segment = recording.segments.pop(0)
            recording.closed_s.pop(0)
            left_bytes -= segment.size_bytes
            if recording.ended and not recording.segments:
                del self._recordings[recording.recording_id]
                doomed.append(recording.folder)
            else:
                doomed.append(recording.folder / segment.name)
        return doomed

    def _oldest(self) -> Recording | None:
        """Return the recording with the oldest segment."""
        return min(
            (r for r in self._recordings.values() if r.segments), key=lambda r: r.closed_s[0], default=None
        )

    def close(self) -> None:
        """Remove the temporary folder, or let go of the operator's. May be called twice."""
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _only_server_of(folder: Path) -> int | None:
    """Lock a folder for as long as the descriptor is open; None: another server has it, and two would remove
    one another's recordings. The kernel lets go when a server dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        log.warning("%s cannot be locked (%s): keep other servers out of it", folder, error.strerror)
    return descriptor


def _leftovers(owner: Path) -> Iterator[_Leftover]:
    """Yield the recordings in a folder."""
    for folder in owner.iterdir():
        if _FOLDER.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            with contextlib.suppress(FileNotFoundError):  # another server removes it
                sizes = [file.stat().st_size for file in folder.iterdir()]
                yield _Leftover(folder, folder.stat().st_mtime, sum(sizes))


def _killed() -> Iterator[Path]:
    """Yield temporary folders of servers that were killed, of this user."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*-*"):
        pid = folder.name.removeprefix(_TEMPORARY).partition("-")[0]
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or not 0 < len(pid) < 10:
                continue
            os.kill(int(pid), 0)
        except ProcessLookupError:
            yield folder
        except (OSError, ValueError):
            continue
