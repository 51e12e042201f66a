"""Frames into files and out of them: MP4, numbered PNGs, raw bytes; a clip in place of a camera.

A sink belongs to one render, is written to in the order of the frames by one thread, and is closed once,
also after a failure: what was written until then can be watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

import cv2
import numpy as np

from ..encode.colour import to_i420
from ..errors import ScriptRejected
from ..types import Pixels

if TYPE_CHECKING:
    import av

#: Visually lossless at any size: the file is for looking closely.
CRF: Final = "17"


class FrameSink(Protocol):
    """Where the frames of a render go."""

    def write(self, pixels: Pixels) -> None:
        """Take the next frame, and be done with its memory. Raises ScriptRejected when it cannot be written."""

    def close(self) -> None: ...


def open_sink(out: str, *, fps: float, stdout: BinaryIO) -> FrameSink:
    """Return what writes to `out`: "-" for raw RGB on stdout, a name with .mp4, or else a folder for PNGs."""
    if out == "-":
        return RawFrames(stdout)
    path = Path(out)
    try:
        if path.suffix.lower() == ".mp4":
            path.parent.mkdir(parents=True, exist_ok=True)
            return Mp4File(path, fps=fps)
        if path.suffix and not path.is_dir():
            raise ScriptRejected(
                f"--out {out}: {path.suffix} is not written here.\n"
                "  Fix: name a .mp4, a folder for PNGs as in frames/, or - for raw RGB on stdout."
            )
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    return PngFolder(path)


class Mp4File:
    """H.264 in 4:2:0, so that it plays everywhere; made beside its name and moved there when complete."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._fps = Fraction(fps).limit_denominator(1001)
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.stream.VideoStream | None = None
        self._size = (0, 0)
        self._frames = 0

    def write(self, pixels: Pixels) -> None:
        import av

        height, width = pixels.shape[:2]
        try:
            if self._stream is None:
                self._size = (height, width)
                self._open(height + height % 2, width + width % 2)
            if self._size != (height, width):
                raise ScriptRejected(
                    f"frame {self._frames + 1} is {width}x{height}, and the film began with "
                    f"{self._size[1]}x{self._size[0]}.\n  Fix: render to a folder of PNGs, as in --out frames/"
                )
            assert self._stream is not None
            assert self._container is not None
            frame = av.VideoFrame.from_ndarray(to_i420(pixels), format="yuv420p")
            frame.pts = self._frames
            self._frames += 1
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except OSError as error:
            raise _unwritable(self._path, error) from None

    def _open(self, height: int, width: int) -> None:
        import av

        self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        stream = self._container.add_stream("libx264", rate=self._fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = 1 / self._fps
        # The matrix is what encode.colour converts with; a player that is not told would guess by size.
        stream.options = {"crf": CRF, "preset": "veryfast", "x264-params": "colormatrix=smpte170m:range=tv"}
        self._stream = stream

    def close(self) -> None:
        if self._container is None or self._stream is None:
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
            self._part.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from None
        finally:
            self._container = None


class PngFolder:
    """000001.png and so on, without loss."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames = 0

    def write(self, pixels: Pixels) -> None:
        self._frames += 1
        write_png(self._folder / f"{self._frames:06d}.png", pixels)

    def close(self) -> None: ...


class RawFrames:
    """Frame after frame as height x width x 3 bytes, for a program that reads a pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, pixels: Pixels) -> None:
        try:
            self._file.write(np.ascontiguousarray(pixels).data)
        except OSError as error:
            raise _unwritable(Path("stdout"), error) from None

    def close(self) -> None:
        self._file.flush()


def write_png(path: Path, pixels: Pixels) -> None:
    """Write a picture. Raises ScriptRejected when the file cannot be written."""
    # Level 1: three times as fast as the default, for files a tenth larger.
    _, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    try:
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise _unwritable(path, error) from None


class ClipFeed:
    """A film in place of the camera: frame k of the render sees the film at (k - 1) / fps seconds.

    After its end the last picture stays. Made and called by one thread after the other, never by two.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        import av

        self._fps = fps
        try:
            self._container = av.open(str(path))
            self._frames = self._decode()
            self._shown: tuple[float, Pixels] = next(self._frames)
        except (OSError, StopIteration, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it holds no picture"
            raise ScriptRejected(
                f"--input {path}: {reason}.\n  Fix: name a film that ffprobe can read."
            ) from None
        self._next = next(self._frames, None)

    def __call__(self, frame_id: int) -> Pixels:
        """Return the picture that the camera shows before this frame. Frame ids never go back."""
        # Half a millisecond forgives time stamps that were rounded to milliseconds.
        now_s = (frame_id - 1) / self._fps + 0.0005
        while self._next is not None and self._next[0] <= now_s:
            self._shown, self._next = self._next, next(self._frames, None)
        return self._shown[1]

    def close(self) -> None:
        self._container.close()

    def _decode(self) -> Iterator[tuple[float, Pixels]]:
        began_s: float | None = None
        for frame in self._container.decode(self._container.streams.video[0]):
            time_s = frame.time or 0.0
            began_s = time_s if began_s is None else began_s
            yield time_s - began_s, _upright(frame)


def _upright(frame: av.VideoFrame) -> Pixels:
    """Return the picture as players show it: phones store it lying, and say in a matrix how it is turned.

    The matrix (ISO/IEC 14496-12 section 6.2.2) takes a stored (x, y) to (a x + c y, b x + d y). What is not a
    quarter turn is taken for the nearest.
    """
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    beside = cast("Mapping[str, bytes]", frame.side_data)  # whose type names one key of many
    matrix = beside.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) >= abs(b):
        mirrored, upside_down = a < 0, d < 0
    else:
        pixels, mirrored, upside_down = pixels.transpose(1, 0, 2), c < 0, b < 0
    return np.ascontiguousarray(pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1])


def _unwritable(path: Path, error: OSError) -> ScriptRejected:
    return ScriptRejected(
        f"{path} cannot be written: {error.strerror or error}.\n  Fix: check the place and its free space."
    )
