"""What ffprobe says of a film: the judge of recordings, which shares no code with what wrote them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from reactor_runtime.encode import to_i420
from reactor_runtime.types import Pixels


@dataclass(frozen=True, slots=True)
class Film:
    codec: str
    profile: str
    pixel_format: str
    size: tuple[int, int]
    start_s: float
    duration_s: float
    times_s: list[float]
    """When each picture is shown, in the order of the file."""
    keyframes_s: list[float]

    def check(self) -> None:
        """It begins at zero, runs forward, and is as long as its pictures."""
        assert (self.codec, self.profile, self.pixel_format) == ("h264", "Main", "yuv420p")
        assert self.start_s == 0
        assert self.times_s[0] == 0
        assert self.times_s == sorted(set(self.times_s)), "times stand still or run backwards"
        assert self.duration_s > self.times_s[-1]
        assert self.keyframes_s[0] == 0


def probe(file: Path) -> Film:
    """Decode a film to its end and describe it. Fails on whatever ffmpeg finds wrong with it."""
    # With a clock as fine as the film's own: else two pictures can fall on one tick of ffmpeg's output.
    as_it_is = ("-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "null", "-")
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(file), *as_it_is], capture_output=True, text=True
    )
    assert decoded.returncode == 0, decoded.stderr
    assert decoded.stderr == "", decoded.stderr
    found: dict[str, Any] = json.loads(
        subprocess.run(
            [
                *("ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", "-show_packets"),
                str(file),
            ],
            capture_output=True,
            check=True,
        ).stdout
    )
    (stream,) = found["streams"]
    packets = found["packets"]
    return Film(
        codec=stream["codec_name"],
        profile=stream["profile"],
        pixel_format=stream["pix_fmt"],
        size=(stream["width"], stream["height"]),
        start_s=float(found["format"]["start_time"]),
        duration_s=float(found["format"]["duration"]),
        times_s=[float(packet["pts_time"]) for packet in packets],
        keyframes_s=[float(packet["pts_time"]) for packet in packets if "K" in packet["flags"]],
    )


def joined(folder: Path, film: Path) -> Path:
    """Put together what a recording's folder holds, as the documents tell people to."""
    parts = [folder / "init.mp4", *sorted(folder.glob("chunk_*"))]
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    return film


#: The colours of `write_turned`'s stored corners: top left, top right, bottom left, bottom right.
CORNERS = {"red": (210, 30, 30), "green": (30, 190, 30), "blue": (30, 30, 210), "white": (220, 220, 220)}
#: Every way that a film's container can turn its picture: degrees, counter-clockwise, then mirrored or not.
TURNS = [(degrees, mirrored) for mirrored in (False, True) for degrees in (0, 90, 180, 270)]


def write_turned(file: Path, degrees: int, mirrored: bool, *, frames: int = 10) -> Path:
    """Write a film of 160x120 stored pixels with a colour in each corner, which its container turns."""
    stored = np.array(list(CORNERS.values()), np.uint8).reshape(2, 2, 3).repeat(60, 0).repeat(80, 1)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"x264-params": "colormatrix=smpte170m"}
        stream.set_display_rotation(degrees, hflip=mirrored)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(to_i420(stored), format="yuv420p")))
        container.mux(stream.encode(None))
    return file


def corners(pixels: Pixels) -> list[str]:
    """Name the colours of a picture's corners."""
    height, width, _ = pixels.shape
    found = []
    for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)):
        colour = pixels[height * y // 4, width * x // 4].astype(int)
        found.append(min(CORNERS, key=lambda name: int(np.abs(colour - CORNERS[name]).sum())))
    return found


def picture(number: int, width: int = 320, height: int = 240) -> Pixels:
    """Draw an I420 picture that differs from the one before."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 200, width, dtype=np.uint8)
    rgb[:, (number * 7) % (width - 20) :][:, :20] = (30, 220, 90)
    return to_i420(rgb)


def noise(number: int, width: int = 320, height: int = 240) -> Pixels:
    """Draw an I420 picture that cannot be compressed."""
    random = np.random.default_rng(number)
    return to_i420(random.integers(0, 255, (height, width, 3), np.uint8))
