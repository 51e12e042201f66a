"""Write weights/LongLive/models/longlive_base.pt: the stand-in's word table and waves. Run by hand, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
Entry = tuple[Colour, Colour, Colour, float, float, float, float, float]

# word: sky, horizon, ground (RGB 0..255), then sun height, sun size, cloud, waves, grain (0..1)
WORDS: dict[str, Entry] = {
    "sunset": ((58, 42, 110), (255, 132, 60), (70, 38, 62), 0.12, 0.75, 0.45, 0.5, 0.1),
    "sunrise": ((110, 150, 210), (255, 196, 140), (92, 84, 96), 0.15, 0.6, 0.3, 0.4, 0.1),
    "ocean": ((90, 160, 220), (190, 225, 240), (12, 72, 120), 0.7, 0.3, 0.3, 0.9, 0.1),
    "sea": ((96, 166, 222), (196, 226, 238), (16, 90, 132), 0.65, 0.3, 0.3, 0.9, 0.1),
    "forest": ((120, 170, 190), (196, 214, 170), (28, 84, 36), 0.6, 0.2, 0.4, 0.25, 0.9),
    "meadow": ((100, 170, 235), (214, 234, 214), (88, 160, 52), 0.75, 0.3, 0.4, 0.3, 0.8),
    "night": ((4, 6, 22), (22, 30, 66), (6, 8, 18), 0.75, 0.15, 0.2, 0.5, 0.4),
    "desert": ((120, 170, 220), (244, 214, 160), (206, 150, 84), 0.8, 0.35, 0.05, 0.35, 0.5),
    "snow": ((170, 190, 214), (226, 232, 240), (222, 230, 240), 0.45, 0.2, 0.8, 0.12, 0.9),
    "winter": ((160, 182, 208), (220, 228, 238), (206, 216, 230), 0.35, 0.2, 0.7, 0.15, 0.7),
    "storm": ((36, 42, 52), (92, 100, 108), (26, 40, 48), 0.5, 0.0, 1.0, 1.0, 0.3),
    "fire": ((32, 4, 2), (255, 92, 10), (96, 16, 4), 0.08, 0.9, 0.7, 1.0, 0.8),
    "mars": ((150, 96, 70), (214, 150, 106), (142, 62, 34), 0.55, 0.1, 0.2, 0.2, 0.9),
    "neon": ((24, 0, 60), (255, 20, 180), (0, 40, 70), 0.2, 0.85, 0.1, 0.7, 0.2),
    "spring": ((120, 190, 245), (250, 220, 230), (120, 190, 90), 0.7, 0.35, 0.35, 0.3, 0.6),
}
DEFAULT: Entry = ((90, 110, 160), (200, 190, 190), (60, 70, 80), 0.5, 0.4, 0.4, 0.5, 0.3)
WAVES = ((9.0, 2.2, 0.11, 0.0), (-14.0, 3.1, 0.17, 1.3), (21.0, 5.3, 0.23, 2.1), (4.0, 7.9, 0.31, 4.2))


def row(entry: Entry) -> list[float]:
    colours = [value / 255 for colour in entry[:3] for value in colour]
    return [*colours, *entry[3:]]


def main() -> None:
    path = Path(__file__).parent / "weights" / "LongLive" / "models" / "longlive_base.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    weights: dict[str, npt.ArrayLike] = {
        "text_encoder.words": np.array(list(WORDS)),
        "text_encoder.table": np.array([row(entry) for entry in WORDS.values()], np.float32),
        "text_encoder.default": np.array(row(DEFAULT), np.float32),
        "model.waves": np.array(WAVES, np.float32),
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **weights)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
