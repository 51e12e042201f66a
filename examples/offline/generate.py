"""Generate a video from a prompt: load, generate every frame, save.

python generate.py "a coral reef" reef.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
from coral import CoralPipeline, Frame

WEIGHTS = Path(__file__).parent / "weights" / "Coral" / "coral.json"


def generate_video(prompt: str, output_path: str, frame_count: int) -> None:
    # Load model and weights
    pipeline = CoralPipeline(size=(480, 640))
    pipeline.load_weights(WEIGHTS)

    # Generate all frames
    frames = []
    noise = pipeline.noise(frame_count)
    for latent in pipeline.generate(prompt, noise):
        # Decode latent to pixel space
        frame = pipeline.vae.decode(latent)
        frames.append(frame)

    # Save to a video file at the END
    save_video(frames, output_path)
    print(f"Video saved to {output_path}")


def save_video(frames: list[Frame], path: str, fps: int = 30) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("output_path")
    parser.add_argument("--frames", type=int, default=150)
    arguments = parser.parse_args()
    generate_video(arguments.prompt, arguments.output_path, arguments.frames)


if __name__ == "__main__":
    main()
