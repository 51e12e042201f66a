"""load_config: the pipeline's settings from a YAML file of flat `key: value` lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Config:
    prompt: str
    """What is shown before anybody said what they want."""
    denoising_steps: tuple[float, ...]
    """The noise level after each step of a latent, falling to the grain that stays."""
    morph: float
    """How far the scene moves towards a new prompt with each latent, 0..1."""


def load_config(path: str) -> Config:
    """Read a config; a relative path is relative to this project, wherever the runtime was started."""
    values = {}
    for line in (PROJECT / path).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition(":")
            values[key.strip()] = json.loads(value)
    return Config(values["prompt"], tuple(values["denoising_steps"]), values["morph"])
