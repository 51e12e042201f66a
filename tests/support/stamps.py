"""A frame number drawn into a picture so that it survives encoding, and read back from a decoded one.

32 black or white blocks in one row across the top: 24 bits of number, most significant first, and 8 bits of
checksum. `READ_STAMP_JS` is the same reader for a page.
"""

from __future__ import annotations

import numpy as np

from reactor_runtime.types import Pixels

BLOCKS = 32


def _checksum(number: int) -> int:
    return (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF


def draw_stamp(rgb: Pixels, number: int) -> None:
    """Draw a number below 2**24 into the top rows of a (height, width, 3) picture, at least 256 px wide."""
    side = rgb.shape[1] // BLOCKS
    bits = number << 8 | _checksum(number)
    row = [255 if bits >> (BLOCKS - 1 - block) & 1 else 0 for block in range(BLOCKS)]
    rgb[:side, : side * BLOCKS] = np.repeat(np.array(row, np.uint8), side)[None, :, None]


def read_stamp(rgb: Pixels) -> int | None:
    """Read the number of a decoded picture; None if the checksum says that it is not readable."""
    side = rgb.shape[1] // BLOCKS
    middles = (np.arange(BLOCKS) * side + side // 2).astype(int)
    bits = 0
    for level in rgb[side // 2, middles].mean(axis=1):
        bits = bits << 1 | int(level > 127)
    number = bits >> 8
    return number if _checksum(number) == bits & 0xFF else None


READ_STAMP_JS = """
function readStamp(pixels, width) {
  const side = Math.floor(width / 32), y = side >> 1;
  let number = 0, sum = 0;
  for (let block = 0; block < 32; block++) {
    const at = (y * width + block * side + (side >> 1)) * 4;
    const bit = pixels[at] + pixels[at + 1] + pixels[at + 2] > 381 ? 1 : 0;
    if (block < 24) number = number * 2 + bit; else sum = sum * 2 + bit;
  }
  const expected = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF;
  return sum === expected ? number : null;
}
"""
