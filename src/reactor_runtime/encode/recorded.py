"""H.264 for files: Main profile at constant quality, parameter sets apart, every time as it was given.

Unlike the live encoders it decides itself how many bits a picture needs, below a ceiling. One picture in, one
out, so that a segment can be closed at any moment.
"""

from __future__ import annotations

from fractions import Fraction

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from ..errors import EncoderFailed
from ..types import Pixels
from .bitstream import CLOCK_HZ, frame_of, new_context
from .h264 import KEYFRAME_DISTANCE


class RecordingEncoder:
    """x264 for pictures of one size; those of another are scaled to it. Used by one thread at a time.

    `ultrafast` as the live encoder, but with CABAC: a tenth more time for a third fewer bytes. `superfast` saves
    another eighth of the bytes for another eighth of the time, `veryfast` nothing for twice the time.
    """

    def __init__(self, width: int, height: int, *, fps: float, bits_per_s: int) -> None:
        self.width, self.height = width, height
        try:
            self._context = self._open(fps, bits_per_s)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderFailed(f"the recording's encoder could not be opened: {error}") from error

    @property
    def parameter_sets(self) -> bytes:
        """SPS and PPS, Annex B."""
        return bytes(self._context.extradata or b"")

    def encode(self, i420: Pixels, at: int, *, keyframe: bool) -> tuple[bytes, bool]:
        """Encode a picture shown at `at` (90 kHz, later than the last); return it and whether it is a keyframe.

        Annex B, without parameter sets. Raises EncoderFailed.
        """
        try:
            frame = frame_of(i420)
            if (frame.width, frame.height) != (self.width, self.height):
                frame = frame.reformat(self.width, self.height)
            frame.pts, frame.time_base = at, Fraction(1, CLOCK_HZ)
            frame.pict_type = PictureType.I if keyframe else PictureType.NONE
            (packet,) = self._context.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise EncoderFailed(f"the recording's encoder failed on a picture: {error}") from error
        return bytes(packet), packet.is_keyframe

    def _open(self, fps: float, bits_per_s: int) -> VideoCodecContext:
        context = new_context("libx264", self.width, self.height, fps, 0)
        context.flags |= Flags.global_header
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "main",
            "crf": "23",
            "maxrate": str(bits_per_s),
            "bufsize": str(2 * bits_per_s),
            "g": str(KEYFRAME_DISTANCE),
            "bf": "0",
            "forced_idr": "1",
            "x264-params": "cabac=1:scenecut=0:annexb=1:colormatrix=smpte170m",
        }
        context.open()
        return context
