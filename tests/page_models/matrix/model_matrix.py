# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""The page's Matrix-2 wrapper, word for word. The README says what stands behind the names."""

from reactor_runtime import VideoModel, command
from matrix.inference_streaming import matrix_main
from pydantic import Field
from typing import Literal

class Matrix2VideoModel(VideoModel):
    def __init__(self, fps=15, size=(480, 640), **kwargs):
        """Heavy initialization - happens once."""
        self._fps = fps
        self._height, self._width = size

        # Get weights from Model Registry
        model_path = VideoModel.weights("Matrix-Game-2_0-base")

        # Initialize game engine (HEAVY - do once!)
        self._game = matrix_main(
            config_path="matrix/configs/inference_yaml/inference_universal.yaml",
            checkpoint_path=model_path / "base_distill.safetensors",
            mode="universal",
            compile=False
        )

        print("Matrix-2 model ready")

    def start_session(self):
        """Start game when user connects."""
        try:
            # Start generation loop
            # (internally emits frames and handles user input)
            self._game.start()

        except Exception as e:
            # Reset game to initial state
            self._game.reset()
            raise e

    @command("control", description="Control the game")
    def control_command(
        self,
        mouse_key: Literal['J', 'K', 'L', 'I', 'U'] = Field(
            ...,
            description="Mouse: J=left, K=down, L=right, I=up, U=none"
        ),
        keyboard_key: Literal['W', 'A', 'S', 'D', 'Q'] = Field(
            ...,
            description="Keyboard: W=forward, A=left, S=back, D=right, Q=none"
        )
    ):
        """User controls from the frontend - updates DURING generation."""
        if self._game.pipeline is not None:
            # Update game state dynamically
            self._game.pipeline.set_action(mouse_key, keyboard_key)

    @command("set_starting_image", description="Upload starting frame")
    def set_starting_image_command(
        self,
        base64_image: str = Field(..., description="Base64 encoded image"),
        image_id: str = Field(..., description="Image identifier")
    ):
        """Accept image input modality."""
        self._game.set_starting_image(base64_image, image_id)

    @command("reset", description="Reset to default state")
    def reset_command(self):
        """Manual reset command."""
        self._game.reset()
