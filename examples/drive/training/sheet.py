"""Picture sheets: what the game shows, and under it what the network makes of the same keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from world import CONTEXT, LARGER

from training.history import Pictures, Told
from training.looks import LOOKS
from training.network import Drive
from training.plays import play

#: Held-out seeds begin here; training seeds are far below or above.
HELD_OUT = 500_000


@torch.no_grad()
def write_sheet(network: Drive, path: Path, *, frames: int = 64, every: int = 8) -> None:
    """One free drive of each look: the game above, the network below as it is shown, every 8th of 64 frames."""
    looks = list(LOOKS)
    moments = play(HELD_OUT, len(looks), looks=looks)
    device = next(network.parameters()).device

    def tensor(values: object) -> Tensor:
        return torch.as_tensor(values, device=device)

    first = next(moments)
    pictures = Pictures(tensor(first.frames).float() / 255)
    told = Told(len(looks), device)
    memory = network.reader(tensor(first.frames).float() / 255)
    rows: list[list[npt.NDArray[np.uint8]]] = [[] for _ in range(2 * len(looks))]
    for number in range(max(CONTEXT) + frames):
        moment = next(moments)
        real = tensor(moment.frames).float() / 255
        told.add(tensor(moment.actions), tensor(moment.course), tensor(moment.begun))
        made = network(pictures.context(), told.condition(), memory)
        own, memory = made.picture.clamp(0, 1), made.memory
        # Until the context is full of a drive, the real one is seen.
        pictures.add(real if number < max(CONTEXT) else own)
        larger = network.enlarger(own).clamp(0, 1)
        if number >= max(CONTEXT) and (number - max(CONTEXT) + 1) % every == 0:
            for game in range(len(looks)):
                rows[2 * game].append(moment.frames[game].repeat(LARGER, 1).repeat(LARGER, 2))
                rows[2 * game + 1].append((larger[game] * 255).round().byte().cpu().numpy())
    sheet = np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1).transpose(1, 2, 0)
    image = Image.fromarray(sheet)
    image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX).save(path)
