"""From a manifest to a constructed model, on the thread that will run it.

What the author can fix arrives as ManifestError, ModelDefinitionError or another of ours; whatever else
the author's code raises is logged with its traceback and arrives as ModelFailed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..author import show
from ..author.manifest import Manifest
from ..author.model import VideoModel
from ..causes import CauseLog
from ..errors import FrameRejected, ModelDefinitionError, ReactorError
from ..types import ModelInfo
from .frames import FrameNormalizer
from .handlers import failure_of


def load_model(
    manifest_path: Path,
    overrides: Mapping[str, Any],
    log: Callable[[str], None],
    importing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[VideoModel, ModelInfo]:
    """Import the class, inside `importing()`, construct it once, and say what it is."""
    try:
        manifest = Manifest.read(manifest_path)
        with importing():
            model_class = manifest.load_class()
        model = manifest.construct(model_class, overrides)
        info = manifest.info(model_class, overrides)
        # Each session makes its own; a wrong value_range is told now and not to the first user.
        FrameNormalizer(model.value_range)
        commands = show.with_initial(info.commands, model.initial_values)
    except show.Unshowable as error:
        raise ModelDefinitionError(f"{model_class.__name__}: {error}.\n  Fix: {error.fix}.") from None
    except FrameRejected as error:
        raise ModelDefinitionError(f"{model_class.__name__}: {error}") from None
    except ReactorError:
        raise
    except BaseException as error:  # sys.exit() at import included
        CauseLog(log).exception(error, "loading the model")
        raise failure_of(error, "loading the model") from None
    # A constructor that sets self.fps or self.initial_values has the last word.
    fps = vars(model).get("fps", info.fps)
    return model, dataclasses.replace(info, fps=None if fps is None else float(fps), commands=commands)
