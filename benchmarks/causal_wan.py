"""Measure LongLive and Matrix-Game at random weights: `python -m benchmarks.causal_wan`, JSON out.

    python -m benchmarks.causal_wan                            tiny, on this CPU: a smoke test of the script
    python -m benchmarks.causal_wan --profile full --device cuda       the published sizes on a GPU
    … --size 480 640 --only longlive --out result.json

Per model: one pass of the network with a growing and with the full window, a prompt switch's re-cache, one latent
through the decoder as it is and compiled, blocks played with the two overlapped, the same through the runtime's
model process, and the peak of the GPU's memory. Each is a median of repeated runs, each run waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from support.audience import watching

from reactor_runtime.worker.parent import ProcessHost

from .random_wan import random_wan

# random_wan has put examples/ on the path.
from causal_wan.action_ring import ActionRing  # isort: skip
from causal_wan.config import TEMPORAL  # isort: skip
from causal_wan.keys import idle  # isort: skip

FOLDER = Path(__file__).parent / "random_wan"


def median_ms(run: Callable[[], object], device: torch.device, times: int) -> float:
    """Return what one run takes, the first left out."""
    taken = []
    for _ in range(times + 1):
        wait(device)
        started_s = time.perf_counter()
        run()
        wait(device)
        taken.append((time.perf_counter() - started_s) * 1000)
    return round(statistics.median(taken[1:]), 3)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def passes(pipeline: Any, times: int) -> dict[str, Any]:
    """Time one pass over a block at each fill of the window, and the re-cache at a full one."""
    stream = pipeline.stream
    model, past, block = stream.model, stream.past, stream.config.block
    wan = model.config
    tokens = torch.randn(1, 257 if wan.image_dim else wan.text_len, wan.image_dim or wan.text_dim)
    with torch.inference_mode():
        context = model.context(tokens.to(stream.device, stream.dtype))
        x = torch.randn(1, wan.in_channels, block, *stream.latent_size, device=stream.device).to(stream.dtype)
        t = torch.full((1, block), 937.5, device=stream.device)
        actions = None
        if wan.action is not None:
            ring = ActionRing(wan.action, block)
            actions = ring.next_block(idle("universal"), device=stream.device, dtype=stream.dtype)
        stream.begin(0)
        by_window = {}
        for start in range(0, past.window.capacity, block):
            run = lambda start=start: model(x, t, context, past=past, start=start, actions=actions)  # noqa: E731
            milliseconds = median_ms(run, stream.device, times)
            by_window[min(start + block, past.window.capacity)] = milliseconds
        found: dict[str, Any] = {"pass_ms_by_frames_in_window": by_window}
        if wan.text_dim:
            clean = x[:, :16].split(1, 2)
            stream._clean.extend(frame for _ in range(past.window.capacity // block) for frame in clean)
            found["recache_ms"] = median_ms(lambda: stream.recache(context), stream.device, times)
    return found


def decoding(pipeline: Any, times: int) -> float:
    """Time one latent through the decoder in its steady state."""
    vae, stream = pipeline._decoder, pipeline.stream
    latent = torch.randn(1, 16, 1, *stream.latent_size, device=stream.device)
    vae.begin()
    for _ in range(3):
        vae.decode(latent)
    return median_ms(lambda: vae.decode(latent), stream.device, times)


def playing(pipeline: Any, wishes: Any, blocks: int) -> float:
    """Return frames per second of blocks played one after the other, nobody holding them back."""
    blocks_played = pipeline.play(wishes)
    for _ in range(4):
        next(blocks_played)
    started_s = time.perf_counter()
    frames = sum(len(next(blocks_played).pixels) for _ in range(blocks))
    taken_s = time.perf_counter() - started_s
    blocks_played.close()
    frames_per_s: float = round(frames / taken_s, 2)
    return frames_per_s


async def through_runtime(which: str, options: argparse.Namespace, *, compiled: bool) -> float:
    """Return frames per second out of a model process, to someone who takes every one at once."""
    block = 3 * TEMPORAL
    args = {"which": which, "profile": options.profile, "device": options.device, "compile": compiled}
    if options.size:
        args["size"] = options.size
    async with watching(FOLDER, host=ProcessHost, **args) as user:
        await user.look(4 * block - 3)
        started_s = time.perf_counter()
        await user.look(options.blocks * block)
        frames_per_s: float = round(options.blocks * block / (time.perf_counter() - started_s), 2)
    return frames_per_s


def measure(which: str, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    size = tuple(options.size or random_wan.SIZES[which, options.profile])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found: dict[str, Any] = {"size": size}
    for name, compiled in [("eager", False)] + ([("compiled", True)] if options.compile else []):
        pipeline, wishes = random_wan.build(
            which, options.profile, size=size, device=options.device, compiled=compiled
        )
        if not compiled:
            found |= passes(pipeline, options.times)
        found[f"decode_ms_per_latent_{name}"] = decoding(pipeline, options.times)
        found[f"played_fps_{name}"] = playing(pipeline, wishes, options.blocks)
        del pipeline
        if device.type == "cuda":
            torch.cuda.empty_cache()
        found[f"runtime_fps_{name}"] = asyncio.run(through_runtime(which, options, compiled=compiled))
    if device.type == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 1024**3, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=["tiny", "full"], default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["longlive", "matrix"])
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--times", type=int, default=5, help="runs per figure")
    parser.add_argument("--blocks", type=int, default=8, help="blocks per rate")
    parser.add_argument("--compile", action="store_true", help="also with the decoder compiled")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = options.device
    result: dict[str, Any] = {
        "profile": options.profile,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor(),
        "weights": "random",
    }
    for which in [options.only] if options.only else ["longlive", "matrix"]:
        result[which] = measure(which, options)
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
