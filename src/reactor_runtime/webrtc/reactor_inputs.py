"""Pictures that one viewer sends, over libwebrtc: decoded by it, made RGB here, on its own threads."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import reactor_webrtc as rw

from ..types import Pixels
from . import sdp
from .offer import Plan


class Inputs:
    """`show(track, pixels)` is called on the engine's threads, until `close`."""

    def __init__(self, show: Callable[[str, Pixels], None]) -> None:
        self._show = show
        self._expected: list[str | None] = []
        self._tracks: list[rw.Track] = []
        self._closed = False

    def expect(self, plan: Plan) -> None:
        """Name the track of each video section on which the client sends, in order; None for an unwanted one."""
        self._expected = [
            plan.tracks[section.mid].name if section.mid in plan.tracks else None
            for section in sdp.parse(plan.offer_sdp).sections
            if section.kind == "video"
            and section.direction in ("sendonly", "sendrecv")
            and not section.rejected
        ]

    def take(self, kind: rw.MediaKind, track: rw.Track) -> None:
        """Engine thread, in the order of the client's sending sections."""
        if str(kind) != str(rw.MediaKind.Video) or not self._expected:
            return
        name = self._expected.pop(0)
        if name is None:
            return
        self._tracks.append(track)
        if self._closed:
            self._tracks.clear()
            return

        def deliver(bgra: bytes, width: int, height: int, _: rw.FrameMetadata | None = None) -> None:
            if not self._closed:
                pixels = np.frombuffer(bgra, np.uint8).reshape(height, width, 4)
                rgb = np.empty((height, width, 3), np.uint8)
                cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB, dst=rgb)
                self._show(name, rgb)

        track.on_video_frame(deliver)

    def close(self) -> None:
        """Let go of the engine's objects."""
        self._closed = True
        self._tracks.clear()
