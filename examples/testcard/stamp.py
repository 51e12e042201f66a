"""A machine-readable stamp inside a picture: when it was emitted, which frame it is, which command it saw.

A benchmark wants to know how old a picture is when a browser displays it, and nothing but the picture
itself travels the whole way. The stamp is 3 rows of 24 square cells, 20 px each, 16 px from the top left
corner, so 480 x 60 px. A bright cell is 1, bits run from left to right and from top to bottom:

    row 0   time, high 24 bits                    time     1/8 ms units of the wall clock, modulo 2**32
    row 1   time, low 8 bits | frame              frame    a counter, modulo 2**16
    row 2   command | check                       command  the last command's number, modulo 2**16
                                                  check    CRC-8 of the eight bytes before it

The cells carry a fixed fine texture: codecs tend to leave flat cells stale for a few frames. Pure: needs
numpy only, any thread. `benchmarks/stamp.js` is the same reader for a browser's canvas.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROWS, COLUMNS, CELL = 3, 24, 20
LEFT = TOP = 16
WIDTH, HEIGHT = COLUMNS * CELL, ROWS * CELL
#: Pixels left out at each side of a cell when reading: blur and block edges of the codec.
MARGIN = 5
#: A cell between these means is neither dark nor bright: the picture holds no stamp.
DARK_MAX, BRIGHT_MIN = 112, 144

_DARK, _BRIGHT, _TEXTURE = 44, 212, 14
_TIME_MODULUS = 2**32


@dataclass(frozen=True, slots=True)
class Stamp:
    time_eighths: int
    frame: int
    command: int

    @classmethod
    def at(cls, wall_s: float, *, frame: int, command: int) -> Stamp:
        """Stamp the wall clock time `wall_s` (`time.time()`)."""
        return cls(int(wall_s * 8000) % _TIME_MODULUS, frame % 2**16, command % 2**16)

    def age_ms(self, wall_s: float) -> float:
        """Return how long ago the stamp was made, as seen from `wall_s`; right for ages within 3 days."""
        eighths = (int(wall_s * 8000) - self.time_eighths) % _TIME_MODULUS
        return (eighths if eighths < _TIME_MODULUS // 2 else eighths - _TIME_MODULUS) / 8


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x07, started at 0xFF so that neither a black nor a white picture passes."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def draw(picture: npt.NDArray[np.uint8], stamp: Stamp) -> None:
    """Draw the stamp into an RGB picture of at least 496 x 76 px, in place."""
    height, width = picture.shape[:2]
    if width < LEFT + WIDTH or height < TOP + HEIGHT:
        raise ValueError(f"a stamp needs {LEFT + WIDTH}x{TOP + HEIGHT} px, the picture has {width}x{height}")
    fields = (
        stamp.time_eighths.to_bytes(4, "big")
        + stamp.frame.to_bytes(2, "big")
        + stamp.command.to_bytes(2, "big")
    )
    bits = np.unpackbits(np.frombuffer(fields + bytes([crc8(fields)]), np.uint8)).reshape(ROWS, COLUMNS)
    cells = np.repeat(np.repeat(bits.astype(bool), CELL, axis=0), CELL, axis=1)
    picture[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] = np.where(cells, _BRIGHT_CELLS, _DARK_CELLS)[..., None]


def read(picture: npt.NDArray[np.uint8]) -> Stamp | None:
    """Read the stamp of an RGB or RGBA picture, or None where there is none that is whole."""
    area = picture[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH, :3]
    if area.shape != (HEIGHT, WIDTH, 3):
        return None
    cells = area.reshape(ROWS, CELL, COLUMNS, CELL, 3)[:, MARGIN:-MARGIN, :, MARGIN:-MARGIN]
    means = cells.mean(axis=(1, 3, 4))
    if bool(((means > DARK_MAX) & (means < BRIGHT_MIN)).any()):
        return None
    data = np.packbits(means > (DARK_MAX + BRIGHT_MIN) / 2).tobytes()
    if crc8(data[:8]) != data[8]:
        return None
    return Stamp(*struct.unpack(">IHH", data[:8]))


def _texture() -> npt.NDArray[np.int16]:
    random = np.random.default_rng(7)
    return random.integers(-_TEXTURE, _TEXTURE + 1, (HEIGHT, WIDTH), dtype=np.int16)


_DARK_CELLS = (_DARK + _texture()).astype(np.uint8)
_BRIGHT_CELLS = (_BRIGHT + _texture()).astype(np.uint8)
