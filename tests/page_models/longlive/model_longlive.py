# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""The page's LongLive wrapper, word for word: its step 2, with what its step 3 adds.

Only the two imports that the page leaves out are added. The README says what stands behind the names.
"""

from reactor_runtime import VideoModel, command, get_ctx
from longlive.pipeline.inference import InferencePipeline
from pydantic import Field
import torch

import time  # missing on the page

from longlive.config import load_config  # missing on the page

class LongLiveVideoModel(VideoModel):

    def __init__(self, fps=30, size=(480, 640), **kwargs):
        """
        Phase A: HEAVY initialization
        Called ONCE when runtime starts
        """
        self._fps = fps
        self._height, self._width = size
        self._device = torch.device("cuda")

        # Load config
        config = load_config("longlive/configs/inference.yaml")

        # Initialize pipeline (HEAVY - do this once!)
        self._pipeline = InferencePipeline(config, device=self._device)

        # Load weights from Model Registry
        # (or local path if you don't have S3 access yet)
        weights_path = VideoModel.weights("LongLive")
        state_dict = torch.load(weights_path / "models/longlive_base.pt")
        self._pipeline.load_state_dict(state_dict)

        # Move to GPU (HEAVY - do this once!)
        self._pipeline.to(self._device)

        # Store user's current prompt (for interactive updates)
        # Decided if you want to default an initial prompt or wait for user to send one.
        self._current_prompt = "a beautiful sunset"

        # Store current prompt (can be updated by user)
        self._pipeline._current_prompt = "a beautiful sunset" # The last prompt sent by the user
        self._pipeline._last_encoded_prompt = None # The last actually encoded prompt
        self._pipeline._cached_conditioning = None # The encoded version of the prompt

        print("LongLive model loaded and ready")

    def start_session(self):
        """
        Phase B: Frame generation
        Called when each user connects
        """
        try:
            # Lightweight session setup
            noise = torch.randn(
                [1, 100, 16, self._height // 8, self._width // 8],
                device=self._device
            )

            while self._current_prompt is None:
                # Wait for user to send a prompt.
                time.sleep(0.01)
                # Cooperative cancellation. Cancellation means you still need to reset the model, so
                # you need to break, not return.
                if get_ctx()._stop_evt and get_ctx()._stop_evt.is_set():
                    break

            # Generate frames and STREAM them in real-time
            for latent in self._pipeline.generate(self._current_prompt, noise):
                if get_ctx()._stop_evt and get_ctx()._stop_evt.is_set():
                    break

                # Decode latent to pixel space
                frame = self._pipeline.vae.decode(latent)

                # EMIT frame immediately (streaming!)
                get_ctx().emit_frame(frame)

        except Exception as e:
            # Reset pipeline to initial state before raising
            self._pipeline.reset()
            raise e  # Notify runtime of error

        finally:
            # Phase C: Cleanup for next user.
            self._pipeline.reset()  # Reset internal state
            torch.cuda.empty_cache()  # Free unused memory

            # Model stays loaded for next user!

    # The name of the command in the decorator can be anything!
    # It is going to be used as an identifier in the frontend to call that specific command.
    @command("set_prompt", description="Change generation prompt in real-time")
    def set_prompt_command(
        self,
        prompt: str = Field(..., description="New prompt to use")
    ):
        """User can call this from frontend during generation."""
        self._pipeline._current_prompt = prompt
        print(f"Prompt updated to: {prompt}")
