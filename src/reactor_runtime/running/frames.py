"""Whatever a model emits → (height, width, 3) uint8 RGB pictures.

    numpy, torch, PIL, list of them ──normalize()──▶ [Pixels, ...]    on the emitting thread, per emit

One `FrameNormalizer` belongs to one session: it remembers the value range (`value_range.py`) and the last size.
Floats become uint8 on the tensor's own device, and then are copied to the host once. A uint8 picture that is
right already is passed through without a copy, so what is returned may share memory with what was given.

Layouts: (H, W) is grey; otherwise one axis has 1, 3 or 4 channels (the fourth is dropped), last or before
(H, W), and what stands before a picture is time or batch: N frames. (3, T, H, W) and (B, 3, T, H, W), as
video decoders return them, work too. Where a shape can be read in two ways, a picture of at least 16 by 16
pixels wins over a smaller one, then 3 channels over 4 over 1, then numpy's habit of channels last and torch's
of channels first. A bare (N, H, W) is refused: it is more often a latent than N grey frames.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from .. import limits
from ..errors import FrameRejected
from ..types import Pixels
from .value_range import ValueRange

ACCEPTED = (
    "accepted are numpy arrays, torch tensors and PIL images: (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 "
    "channels, with leading axes for several frames, uint8 or float in [0, 1] or [-1, 1]"
)
#: Size of a black frame before any other frame was emitted.
_FIRST_SIZE = (480, 640)
#: A side that is shorter is taken for something else when the shape can be read in another way.
_PLAUSIBLE_SIDE = 16


@dataclass(frozen=True, slots=True)
class _Layout:
    """How to read a shape: its channel axis counted from the end (0: grey without one)."""

    channel_axis: int
    channels: int
    height: int
    width: int


class FrameNormalizer:
    """Turns emitted objects into pictures for one session. Used by one thread at a time.

    `value_range` declares what floats mean, as (black, white); without it the first float frame decides.
    """

    def __init__(self, value_range: tuple[float, float] | None = None) -> None:
        self._range = ValueRange(value_range)
        self._size = _FIRST_SIZE
        self._black: Pixels | None = None

    def normalize(self, frame: object) -> list[Pixels]:
        """Return the pictures of one emitted object, in order; None is one black picture.

        Raises FrameRejected saying what was got and what is accepted.
        """
        if type(frame) is np.ndarray and frame.ndim == 3 and frame.dtype == np.uint8:
            height, width, channels = frame.shape
            if (
                channels == 3
                and _PLAUSIBLE_SIDE <= height <= limits.FRAME_MAX_SIDE
                and _PLAUSIBLE_SIDE <= width <= limits.FRAME_MAX_SIDE
                and frame.flags.c_contiguous
            ):
                self._size = (height, width)
                return [frame]
        if frame is None:
            return [self._black_frame()]
        if isinstance(frame, list | tuple):
            return [picture for item in frame for picture in self.normalize(item)]
        if _is_torch(frame):
            pictures = self._from_torch(frame)
        elif _is_pil(frame):
            pictures = self._from_pil(frame)
        elif isinstance(frame, np.ndarray) or hasattr(frame, "__array__"):
            array = np.asarray(frame)
            got = f"a numpy array of shape {array.shape} and dtype {array.dtype}"
            pictures = self._from_numpy(array, _layout(array.shape, channels_last=True, got=got), got)
        else:
            raise FrameRejected(f"got {type(frame).__name__}; {ACCEPTED}")
        height, width, _ = pictures[-1].shape
        self._size = (height, width)
        return pictures

    def _black_frame(self) -> Pixels:
        if self._black is None or self._black.shape[:2] != self._size:
            self._black = np.zeros((*self._size, 3), np.uint8)
            self._black.flags.writeable = False
        return self._black

    def _from_numpy(self, array: np.ndarray[Any, Any], layout: _Layout, got: str) -> list[Pixels]:
        if array.dtype.kind == "f":
            array = self._uint8_from_float(array, got)
        elif array.dtype != np.uint8:
            raise FrameRejected(f"got {got}; {ACCEPTED}")
        return _pictures(array, layout)

    def _uint8_from_float(self, array: np.ndarray[Any, Any], got: str) -> Pixels:
        import cv2

        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float32)
        scale, shift = self._range.scale(float(array.min()), float(array.max()), got=got, accepted=ACCEPTED)
        flat = np.ascontiguousarray(array).reshape(-1, array.shape[-1])
        # One pass that scales, rounds and saturates; numpy needs four and three temporaries.
        converted = cv2.addWeighted(flat, scale, flat, 0.0, shift, dtype=cv2.CV_8U)
        return _pixels(converted).reshape(array.shape)

    def _from_pil(self, image: Any) -> list[Pixels]:
        got = f"a PIL image of mode {image.mode} and size {image.size}"
        _check_size(image.height, image.width, got)
        mode: str = image.mode
        try:
            if mode == "F":
                values = np.asarray(image)
                return self._from_numpy(values, _layout(values.shape, channels_last=True, got=got), got)
            if mode.startswith("I;16"):  # Pillow would clip what is above 255
                values = np.right_shift(np.asarray(image), 8).astype(np.uint8)
                return _pictures(values, _layout(values.shape, channels_last=True, got=got))
            if mode in ("La", "RGBa"):
                image = image.convert("LA" if mode == "La" else "RGBA")
            elif mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            if mode != "I":  # whose white may be 255, 65535 or anything
                return [np.asarray(image.convert("RGB"))]
        except (ValueError, OSError) as error:
            raise FrameRejected(f"got {got}, which Pillow cannot convert ({error}); {ACCEPTED}") from None
        raise FrameRejected(f"got {got}, whose white is not known; convert it to L or RGB. {ACCEPTED}")

    def _from_torch(self, tensor: Any) -> list[Pixels]:
        torch = sys.modules["torch"]
        if tensor.is_nested:
            raise FrameRejected(f"got a nested torch tensor, which is no picture; {ACCEPTED}")
        shape = tuple(tensor.shape)
        got = f"a torch tensor of shape {shape} and dtype {tensor.dtype} on {tensor.device}"
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
            raise FrameRejected(f"got {got}, which has no plain values; {ACCEPTED}")
        layout = _layout(shape, channels_last=False, got=got)
        with torch.no_grad():
            tensor = tensor.detach().resolve_neg()
            if tensor.is_floating_point():
                if tensor.device.type == "cpu":
                    return self._from_numpy(tensor.to(torch.float32).numpy(), layout, got)
                values = tensor.to(torch.float32, copy=True)
                low, high = torch.stack(torch.aminmax(values)).tolist()
                scale, shift = self._range.scale(low, high, got=got, accepted=ACCEPTED)
                tensor = values.mul_(scale).add_(shift + 0.5).clamp_(0, 255).to(torch.uint8)
            elif tensor.dtype != torch.uint8:
                raise FrameRejected(f"got {got}; {ACCEPTED}")
            return _pictures(tensor.cpu().numpy(), layout)


def _is_torch(frame: object) -> TypeGuard[Any]:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(frame, torch.Tensor)


def _is_pil(frame: object) -> TypeGuard[Any]:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(frame, pil.Image)


def _check_size(height: int, width: int, got: str) -> None:
    low, high = limits.FRAME_MIN_SIDE, limits.FRAME_MAX_SIDE
    if not (low <= height <= high and low <= width <= high):
        raise FrameRejected(f"got {got}, a picture of {width}x{height} pixels; a side has {low} to {high}")


def _layout(shape: Sequence[int], *, channels_last: bool, got: str) -> _Layout:
    if len(shape) == 2:
        found = _Layout(0, 1, shape[0], shape[1])
    else:
        axes = (1, 3, 4) if channels_last else (3, 1, 4)
        readings = [_reading(shape, axis) for axis in axes if 3 <= len(shape) <= 5 and axis <= len(shape)]
        possible = [reading for reading in readings if reading is not None]
        if not possible:
            raise FrameRejected(f"got {got}; {ACCEPTED}")
        found = min(possible, key=_preference)
    _check_size(found.height, found.width, got)
    if 0 in shape:
        raise FrameRejected(f"got {got}, which is empty; {ACCEPTED}")
    return found


def _reading(shape: Sequence[int], axis: int) -> _Layout | None:
    channels = shape[-axis]
    if channels not in ((3,) if axis == 4 else (1, 3, 4)):
        return None
    height, width = (shape[-3], shape[-2]) if axis == 1 else (shape[-2], shape[-1])
    return _Layout(axis, channels, height, width)


def _preference(layout: _Layout) -> tuple[bool, int]:
    return min(layout.height, layout.width) < _PLAUSIBLE_SIDE, (3, 4, 1).index(layout.channels)


def _pictures(array: Pixels, layout: _Layout) -> list[Pixels]:
    """Bring uint8 values into (H, W, 3), copying only where the memory is laid out otherwise."""
    import cv2  # its interleaving is thirty times faster than numpy's

    height, width, channels = layout.height, layout.width, layout.channels
    if channels == 1:
        planes = np.ascontiguousarray(array).reshape(-1, height, width)
        return [_pixels(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB)) for plane in planes]
    if layout.channel_axis > 1:
        split = np.moveaxis(array, -layout.channel_axis, -3).reshape(-1, channels, height, width)
        return [_pixels(cv2.merge([np.ascontiguousarray(plane) for plane in frame[:3]])) for frame in split]
    block = np.ascontiguousarray(array).reshape(-1, height, width, channels)
    if channels == 4:
        return [_pixels(cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB)) for frame in block]
    return list(block)


def _pixels(converted: Any) -> Pixels:
    return np.asarray(converted, np.uint8)
