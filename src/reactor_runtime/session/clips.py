"""A session's recording, where recording is switched on, and the clips that its viewers ask of it.

Here alone a recording's values become messages, with the address under which the server serves a clip.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

from .. import limits
from ..recording.recorder import NoClip, Recorder
from ..recording.recordings import Recordings
from ..types import JsonObject, Pixels
from ..wire import messages as say
from .fanout import default_bitrate


class Clips:
    """`on_stopped` is told, on the event loop, that the recording ended early and why; `note` is the journal's."""

    def __init__(
        self,
        recordings: Recordings,
        *,
        fps: float | None,
        on_stopped: Callable[[say.ServerMessage], None],
        note: Callable[[str, JsonObject], None],
    ) -> None:
        self._note = note
        self._recordings = recordings
        self._fps = fps or limits.FPS_MAX
        self._on_stopped = on_stopped
        self._loop = asyncio.get_running_loop()
        self._before: list[Recorder] = []
        """Those of runs that are over, whose last segments are on their way to the disk."""
        self._recorder = self._begin() if recordings.enabled else None

    def _begin(self) -> Recorder:
        def stopped(code: str, message: str) -> None:
            recording = recorder.recording
            # Of which nothing could be written, the folder goes too.
            where = str(recording.folder) if recording.segments else ""
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._on_stopped, say.RuntimeNotice(code, message, where))

        recorder = Recorder(
            self._recordings,
            fps=self._fps,
            # Twice what viewers get at most: the recorder aims for a quality, and stays below that for most.
            rate=lambda width, height: 2 * default_bitrate(width, height),
            on_stopped=stopped,
        )
        return recorder

    @property
    def show(self) -> Callable[[Pixels, float], None] | None:
        """Where the pictures go, or None; see `fanout.FanOutFactory`."""
        return None if self._recorder is None else self._show

    def _show(self, picture: Pixels, shown_s: float) -> None:
        if self._recorder is not None:
            self._recorder.show(picture, shown_s)

    def start_over(self) -> None:
        """End the recording, and begin another one: what is to come is another driver's."""
        if self._recorder is not None:
            self._recorder.finish()
            self._before.append(self._recorder)
            self._recorder = self._begin()

    async def settle(self) -> None:
        """Bring the last segments of the recordings before to the disk."""
        while self._before:
            await asyncio.to_thread(self._before.pop().close)

    @property
    def running(self) -> bool:
        return self._recorder is not None and not self._recorder.failed

    def numbers(self) -> JsonObject:
        return {} if self._recorder is None else {"recording_dropped": self._recorder.dropped}

    def promise(self, request_id: str | None, duration_s: float | None) -> say.ServerMessage:
        """Say where the last seconds can be fetched, or all of the session for None."""
        if self._recorder is None:
            # The exact words: clients map them to RECORDER_DISABLED.
            return say.ClipFailed(request_id, "recorder disabled")
        clip = self._recorder.promise(duration_s)
        if isinstance(clip, NoClip):
            return say.ClipFailed(request_id, clip.reason)
        kind: Literal["snap", "recording"] = "recording" if duration_s is None else "snap"
        # Without the recording's id, which lets whoever knows it fetch the clip.
        self._note("clip_ready", {"kind": kind, "start": clip.start_s, "end": clip.end_s})
        name = clip.recording_id
        return say.ClipReady(
            request_id,
            session_id=name,
            kind=kind,
            start_s=clip.start_s,
            end_s=clip.end_s,
            now_s=clip.now_s,
            predicted_ready_at_ms=int(clip.ready_at_s * 1000),
            playlist_url=f"/clips?session_id={name}&start={clip.start_s:.3f}&end={clip.end_s:.3f}",
        )

    def finish(self) -> None:
        """Take no more pictures."""
        if self._recorder is not None:
            self._recorder.finish()

    async def close(self) -> None:
        """Bring the last segment to the disk."""
        await self.settle()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
