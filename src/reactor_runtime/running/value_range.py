"""What floats in frames mean: declared, or guessed from the first frame and corrected where a later one is clear.

A guess from a black frame says nothing: zeros are black in [0, 1] and in [0, 255], grey in [-1, 1]. So a guess
is only firm once a frame with contrast fitted it; until then a frame that contradicts it corrects it. After
that it is kept, and an outlier is cut off. Either is told once a session. Pure; one per session, used by one
thread.
"""

from __future__ import annotations

import logging
import math

from ..errors import FrameRejected

log = logging.getLogger(__name__)

#: A float below this means [-1, 1]; decoders for [0, 1] undershoot by less.
_NEGATIVE = -0.1
#: A float above this is neither [0, 1] nor [-1, 1]; decoders overshoot by less.
_TOO_LARGE = 2.0
#: Between the darkest and the brightest value of a picture that can be told from one colour with noise.
_CONTRAST = 0.25
#: Bytes as floats, with the overshoot of a sharp resize.
_BYTES_MAX = 280.0


class ValueRange:
    """The range of one session's float frames, as (black, white)."""

    def __init__(self, declared: tuple[float, float] | None = None) -> None:
        if declared is not None and not declared[0] < declared[1]:
            raise FrameRejected(f"value_range is (black, white) with black < white, got {declared}")
        self._declared = declared is not None
        self._range = declared
        self._firm = self._declared
        self._told = False

    def scale(self, low: float, high: float, *, got: str, accepted: str) -> tuple[float, float]:
        """Return (factor, offset) to 0..255 for a frame with these extremes. Raises FrameRejected."""
        if not (math.isfinite(low) and math.isfinite(high)):
            raise FrameRejected(f"got {got} with NaN or infinity in it; {accepted}")
        if self._range is None:
            self._range = _guess(low, high, got, accepted)
            log.info(
                "Frames are taken to be in [%g, %g], because the first has values from %.3g to %.3g. "
                "Declare value_range if that is wrong.",
                *self._range,
                low,
                high,
            )
        elif self._contradicted(self._range, low, high):
            self._range = self._correct(self._range, low, high)
        black, white = self._range
        self._firm = self._firm or (high - low >= _CONTRAST * (white - black))
        factor = 255.0 / (white - black)
        return factor, -black * factor

    def _contradicted(self, given: tuple[float, float], low: float, high: float) -> bool:
        black, white = given
        if self._declared:
            width = white - black
            return low < black - width or high > white + width
        return low < (_NEGATIVE if black == 0 else -_TOO_LARGE) or high > (
            _TOO_LARGE if white == 1 else _BYTES_MAX
        )

    def _correct(self, given: tuple[float, float], low: float, high: float) -> tuple[float, float]:
        right = None if self._firm else _certain(low, high)
        if not self._told:
            self._told = True
            wrong = (
                f"Frames were taken to be in [{given[0]:g}, {given[1]:g}]"
                if not self._declared
                else (f"value_range says that frames are in [{given[0]:g}, {given[1]:g}]")
            )
            log.warning(
                "%s, and one has values from %.3g to %.3g. %s",
                wrong,
                low,
                high,
                "What lies beyond is cut off: scale the frames, or declare the value_range that they have."
                if right is None
                else f"From it on they are taken to be in [{right[0]:g}, {right[1]:g}]. Declare "
                f"value_range = ({right[0]:g}, {right[1]:g}), so that the first ones are right too.",
            )
        if right is not None:
            self._firm = True
        return right or given


def _guess(low: float, high: float, got: str, accepted: str) -> tuple[float, float]:
    if high > _TOO_LARGE or low < -_TOO_LARGE:
        raise FrameRejected(
            f"got {got} with values from {low:.3g} to {high:.3g}; {accepted}. "
            "Scale it, convert it to uint8, or declare value_range=(black, white)"
        )
    return (-1.0, 1.0) if low < _NEGATIVE else (0.0, 1.0)


def _certain(low: float, high: float) -> tuple[float, float] | None:
    """Return the one range that such extremes can belong to, or None."""
    if -_TOO_LARGE <= low < _NEGATIVE and high <= _TOO_LARGE:
        return (-1.0, 1.0)
    if _TOO_LARGE < high <= _BYTES_MAX and low >= _NEGATIVE * high:
        return (0.0, 255.0)
    return None
