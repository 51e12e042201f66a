"""Write weights/Matrix-Game-2_0-base/base_distill.safetensors: the landscape. Run by hand, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matrix.safetensors import save_file

SIZE = 128
#: height 0..255: colour
PALETTE = (
    (0, (18, 60, 112)),
    (70, (30, 110, 150)),
    (78, (208, 190, 140)),
    (100, (74, 132, 52)),
    (150, (46, 92, 40)),
    (190, (112, 96, 82)),
    (225, (150, 142, 138)),
    (240, (244, 246, 250)),
    (255, (255, 255, 255)),
)
SKY = ((64, 122, 204), (206, 222, 236))


def heights() -> npt.NDArray[np.uint8]:
    """Endless hills: 1/f noise made in the frequency domain, which repeats by construction."""
    random = np.random.default_rng(12)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIZE, 1 / SIZE)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((SIZE, SIZE))) / np.maximum(frequency, 1.5) ** 2.1
    hills = np.fft.ifft2(spectrum).real
    hills = (hills - hills.min()) / np.ptp(hills)
    hills = np.maximum(hills, 0.29)  # water is flat
    return np.asarray(hills * 255).astype(np.uint8)


def main() -> None:
    path = Path(__file__).parent / "weights" / "Matrix-Game-2_0-base" / "base_distill.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    stops = [height for height, _ in PALETTE]
    channels = [np.interp(range(256), stops, [colour[c] for _, colour in PALETTE]) for c in range(3)]
    save_file(
        {
            "landscape.heights": heights(),
            "landscape.palette": np.stack(channels, axis=-1).astype(np.uint8),
            "landscape.sky": np.array(SKY, np.uint8),
        },
        path,
    )
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
