"""Which actions each latent frame looks at.

pixel frame    0 │ 1 2 3 4 │ 5 6 7 8 │ 9 …
latent frame   0 │    1    │    2    │ 3 …      latent L looks at the rows of pixel frames 4L-12 … 4L-1,
                                                so that of frame 4L counts from latent L+1 on
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from .actions import ActionRows
from .config import ACTION_ROWS, TEMPORAL, ActionConfig
from .keys import Action


class ActionRing:
    """The actions of the newest pixel frames: as many as the next block can look at."""

    def __init__(self, config: ActionConfig, block: int) -> None:
        self._config = config
        self._block = block
        self._rows: deque[Action] = deque(maxlen=ACTION_ROWS + TEMPORAL * block)
        self._latents = 0

    def begin(self) -> None:
        self._rows.clear()
        self._latents = 0

    def next_block(self, held: Action, *, device: torch.device, dtype: torch.dtype) -> ActionRows:
        """Let `held` act on all pixel frames of the next block, and return what its latents look at."""
        if not self._rows:
            # Nothing came before, so the past is what is held at the start.
            self._rows.extend([held] * self._rows.maxlen)  # type: ignore[operator]
        new = TEMPORAL * self._block - (TEMPORAL - 1 if self._latents == 0 else 0)
        self._rows.extend([held] * new)
        self._latents += self._block
        # The newest row is of pixel frame 4 * (latents - 1), which none of these latents looks at yet.
        rows = list(self._rows)[:-1]
        ends = [len(rows) - TEMPORAL * back for back in reversed(range(self._block))]
        windows = [rows[end - ACTION_ROWS : end] for end in ends]

        def table(values: list[list[tuple[float, ...]]]) -> Tensor:
            return torch.tensor(values, device=device, dtype=dtype)

        return ActionRows(
            keyboard=table([[row.keyboard for row in window] for window in windows]),
            mouse=table([[row.mouse for row in window] for window in windows])
            if self._config.mouse_dim
            else None,
        )
