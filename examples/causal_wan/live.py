"""The loop that both models run: latents of one block after the other, decoded, timed, handed out.

    CPU    denoise 0 ─ decode 0 ─ show 0 ─ denoise 1 ─ decode 1 ─ show 1 ─ …
    CUDA   denoise 0 ─ denoise 1 ─────── denoise 2 ───────            one stream
                      decode 0 ─ show 0  decode 1 ─ show 1            another

Overlapping costs a block of delay for commands: while block k is shown, block k+1 is already being made, so a
command acts in block k+2. It is worth it, since the decoder takes about as long as half the denoising. A command
that starts over does not wait: the block that was made ahead belongs to the old world and is thrown away, and the
model discards the pictures that are handed out and not shown yet.

Everything here runs on the model's thread. Work on the GPU is only queued; the one wait is for the pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .vae import StreamingVae, to_pixels

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Latents:
    """What denoising one block gave."""

    clean: Tensor  # [1, 16, F, h, w]
    world: int
    """Which world or film this is a part of. Another one than before starts a new stream of pictures."""
    commanded_s: float | None
    """When the command was handled that acts first in this block; monotonic."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """One block as it is shown, and what it took."""

    pixels: Pixels  # [T, H, W, 3]
    numbers: dict[str, float]


class Span:
    """Seconds of work between `start` and `stop`: the GPU's own on CUDA, else the clock's."""

    def __init__(self, device: torch.device) -> None:
        self._events = (
            [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else None
        )
        self._at_s = [0.0, 0.0]

    def start(self) -> None:
        self._mark(0)

    def stop(self) -> None:
        self._mark(1)

    def wait(self) -> None:
        """Block until the work before `stop` is done."""
        if self._events:
            self._events[1].synchronize()

    def seconds(self) -> float:
        """Return the time; on CUDA only once the work is done."""
        if self._events:
            return self._events[0].elapsed_time(self._events[1]) / 1000
        return self._at_s[1] - self._at_s[0]

    def _mark(self, which: int) -> None:
        if self._events:
            self._events[which].record()
        else:
            self._at_s[which] = time.perf_counter()


class Decoding:
    """A block on its way to pictures, on the decoder's own CUDA stream where there is one."""

    def __init__(self, vae: StreamingVae, latents: Tensor, lane: torch.cuda.Stream | None) -> None:
        self.span = Span(vae.device)
        if lane is not None:
            lane.wait_stream(torch.cuda.current_stream(vae.device))
            # Freed by the denoiser's stream, the memory must not be reused before this one has read it.
            latents.record_stream(lane)
        on_lane: AbstractContextManager[object] = nullcontext() if lane is None else torch.cuda.stream(lane)
        with on_lane:
            self.span.start()
            pixels = to_pixels(vae.decode(latents))
            if lane is None:
                self._host = pixels
            else:
                self._host = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
                self._host.copy_(pixels, non_blocking=True)
            self.span.stop()

    def pixels(self) -> Pixels:
        """Wait for the pictures."""
        self.span.wait()
        return self._host.numpy()


def play(
    denoise: Callable[[], Latents], wished: Callable[[], int], vae: StreamingVae, *, overlap: bool
) -> Iterator[Pictures]:
    """Yield one block's pictures after the other, for ever. Between two yields commands are handled, after which
    `wished` may be another world."""
    lane = torch.cuda.Stream(vae.device) if vae.device.type == "cuda" else None
    resumed_s = time.monotonic()
    shown: int | None = None
    ahead, ahead_span = _timed(denoise, vae.device)
    try:
        while True:
            latents, dit = ahead, ahead_span
            if latents.world != shown:
                vae.begin()
                shown = latents.world
            decoding = Decoding(vae, latents.clean, lane)
            if overlap:
                ahead, ahead_span = _timed(denoise, vae.device)
            pixels = decoding.pixels()
            now_s = time.monotonic()
            numbers = {
                "dit_s": dit.seconds(),
                "vae_s": decoding.span.seconds(),
                "block_s": now_s - resumed_s,
            }
            if latents.commanded_s is not None:
                numbers["command_to_frame_s"] = now_s - latents.commanded_s
            yield Pictures(pixels, numbers)
            resumed_s = time.monotonic()
            if not overlap or ahead.world != wished():
                ahead, ahead_span = _timed(denoise, vae.device)
    finally:
        if lane is not None:
            lane.synchronize()


def _timed(denoise: Callable[[], Latents], device: torch.device) -> tuple[Latents, Span]:
    span = Span(device)
    span.start()
    latents = denoise()
    span.stop()
    return latents, span
