"""Prompts to embeddings: umt5-xxl's encoder, from transformers, with the file of the Wan 2.1 release."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ftfy
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from . import checkpoint, names
from .config import TextConfig


def clean(prompt: str) -> str:
    """Return the prompt as the network's training texts were cleaned: mojibake, HTML escapes, white space."""
    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()


def make(config: TextConfig) -> nn.Module:
    """Return the encoder without weights, on the meta device."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        return UMT5EncoderModel(
            UMT5Config(
                vocab_size=config.vocabulary,
                d_model=config.width,
                d_kv=config.head_dim,
                d_ff=config.ffn,
                num_layers=config.layers,
                num_heads=config.heads,
                relative_attention_num_buckets=config.buckets,
                feed_forward_proj="gated-gelu",
            )
        )


def load(encoder: nn.Module, file: Path, *, device: torch.device, dtype: torch.dtype) -> None:
    """Fill it from models_t5_umt5-xxl-enc-bf16.pth."""
    tensors = checkpoint.read(file)
    checkpoint.check(checkpoint.shapes_of(encoder, names.umt5), tensors, file)
    renamed = {name: tensors[names.umt5(name)] for name in encoder.state_dict()}
    checkpoint.fill(encoder, renamed, device=device, dtype=dtype)


@dataclass(frozen=True, slots=True)
class Reading:
    """How much of a prompt the network takes in."""

    cleaned: str
    ids: list[int]
    """What is run: the end of the prompt is always there."""
    tokens: int
    """What the whole prompt would take."""
    reach: int
    """Characters of `cleaned` that are read."""

    @property
    def is_cut(self) -> bool:
        return len(self.ids) < self.tokens


class TextEncoder:
    """`length` is how many positions the network attends to; a longer prompt is cut there."""

    def __init__(self, encoder: Any, tokenizer_file: Path, *, length: int) -> None:
        self._encoder = encoder
        self._length = length
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def read(self, prompt: str) -> Reading:
        """Return the prompt's tokens, cut to `length` with the end token last."""
        cleaned = clean(prompt)
        encoded = self._tokenizer.encode(cleaned)
        ids, whole = encoded.ids, len(cleaned)
        if len(ids) <= self._length:
            return Reading(cleaned, ids, len(ids), whole)
        return Reading(
            cleaned,
            ids[: self._length - 1] + ids[-1:],
            len(ids),
            encoded.offsets[self._length - 2][1],
        )

    @torch.inference_mode()
    def encode(self, prompt: str) -> Tensor:
        """Return [1, length, width], zero after the prompt's end.

        Only the prompt's own tokens are run: attention has no absolute positions and padding is masked, so
        the others could not change them.
        """
        ids = self.read(prompt).ids
        device = self._encoder.shared.weight.device
        known = self._encoder(input_ids=torch.tensor([ids], device=device)).last_hidden_state
        return torch.nn.functional.pad(known, (0, 0, 0, self._length - len(ids)))
