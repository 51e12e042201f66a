"""Pictures that one viewer sends: decoded in order on a thread of the link's own, or not at all.

    event loop ─put()─▶ INPUTS_WAITING pieces ─▶ thread: decode ─▶ show(track, pixels)

A delta needs everything since its keyframe, so what overflows or cannot be decoded costs all up to the next
keyframe, which is asked for. The thread begins with the first picture, and ends with `close`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from .. import limits
from ..encode.decode import Decoder
from ..errors import EncoderFailed
from ..types import Pixels
from .header import Header


class Inputs:
    """`names` are the input tracks by their place, "" where there is none; `want` asks for a keyframe, from any
    thread."""

    def __init__(
        self, names: Sequence[str], show: Callable[[str, Pixels], None], want: Callable[[int], None]
    ) -> None:
        self._names = tuple(names)
        self._show = show
        self._want = want
        self._waiting: queue.Queue[tuple[Header, bytes] | None] = queue.Queue(limits.INPUTS_WAITING)
        self._broken: set[int] = set(range(len(names)))
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0

    @property
    def began(self) -> bool:
        """Whether there is a thread to wait for."""
        return self._thread is not None

    def takes(self, track: int) -> bool:
        """Whether there is an input track at this place."""
        return track < len(self._names) and bool(self._names[track])

    def put(self, header: Header, data: bytes) -> None:
        """Take one encoded picture. Event loop; never blocks."""
        track = header.track
        if not self._follows(header):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reactor-input", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((header, data))
        except queue.Full:
            self._break(track)

    def _follows(self, header: Header) -> bool:
        """Whether it can be decoded after what has come before it."""
        with self._lock:
            if header.keyframe:
                self._broken.discard(header.track)
            missing = header.track in self._broken
            self.dropped += missing
        return not missing

    def _break(self, track: int) -> None:
        with self._lock:
            self.dropped += 1
            asked = track in self._broken
            self._broken.add(track)
        if not asked:
            self._want(track)

    def _run(self) -> None:
        decoders: dict[int, Decoder] = {}
        while (piece := self._waiting.get()) is not None and not self._closed:
            header, data = piece
            decoder = decoders.get(header.track)
            if decoder is None or (header.keyframe and decoder.codec != header.codec):
                decoder = decoders[header.track] = Decoder(header.codec)
            try:
                pictures = decoder.decode(data)
            except EncoderFailed:
                del decoders[header.track]
                self._break(header.track)
                continue
            for pixels in pictures:
                if not self._closed:
                    self._show(self._names[header.track], pixels)

    def close(self) -> None:
        """Stop; the thread ends with the picture that it is at. May be called twice."""
        self._closed = True
        while True:
            try:
                self._waiting.put_nowait(None)
                return
            except queue.Full:
                try:
                    self._waiting.get_nowait()
                except queue.Empty:
                    continue

    def join(self) -> None:
        """Wait for the thread, after `close`. Blocks."""
        if self._thread is not None:
            self._thread.join()
