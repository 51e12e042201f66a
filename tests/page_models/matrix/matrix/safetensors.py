"""Read a .safetensors file: an 8-byte length, a JSON header, raw little-endian arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}


def load_file(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, entry in json.loads(data[8:start]).items():
        begin, end = entry["data_offsets"]
        arrays[name] = np.frombuffer(data[start + begin : start + end], _DTYPES[entry["dtype"]]).reshape(
            entry["shape"]
        )
    return arrays


def save_file(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    header, body = {}, b""
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    for name, array in arrays.items():
        raw = array.tobytes()
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
