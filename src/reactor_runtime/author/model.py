"""What an author subclasses, and the decorator that makes a method a command.

A `VideoModel` is constructed once per model process and serves one session after the other. The runtime
calls it from the model process's main thread; commands come between two yields of a generator on that
same thread, or, when `start_session` is a blocking loop, on one command thread beside it.

`VideoModel` is a plain class without a constructor or state of its own: a subclass need not call
`super().__init__`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, overload

from .. import limits
from ..errors import ModelDefinitionError
from ..types import MAIN_VIDEO, WEBCAM, InputFrame
from ..weights import resolve
from . import show
from .schema import COMMANDS, MARK, CommandMark, collect

Method = TypeVar("Method", bound=Callable[..., Any])


class VideoModel:
    """Subclass this: load in `__init__`, generate in `start_session`, steer with `@command` methods."""

    fps: float | None = None
    """The playout rate. None: follow the rate at which the model really emits."""

    value_range: tuple[float, float] | None = None
    """What floats in frames mean, as (black, white). None: [0, 1] or [-1, 1], as the first float frames say.

    A later frame that contradicts them is told in the log.
    """

    input_track: str = WEBCAM
    """What clients call the track of pictures that the model takes, if it takes any; see `on_frame`."""

    first_frame: str = ""
    """What people may expect until the first frame, in one line, as in "Builds its world, about 10 seconds"."""

    initial_values: Mapping[str, Mapping[str, Any]] = {}
    """What commands are set to when a session begins, where that is not an argument's default: for a page to show.

    By command and argument, as in `self.initial_values = {"set_prompt": {"prompt": prompt}}` in `__init__`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for attribute in ("start_session", "reset", "on_frame"):
            method = getattr(cls, attribute)
            if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
                raise ModelDefinitionError(
                    f"{cls.__name__}.{attribute} is async, and the runtime calls it from a plain thread.\n"
                    "  Fix: drop `async`; a blocking loop or a generator is what start_session should be."
                )
        _check_track_name(cls)
        _check_first_frame(cls)
        needed = [name for name in inspect.signature(cls.reset).parameters if name != "self"]
        if needed:
            raise ModelDefinitionError(
                f"{cls.__name__}.reset takes {', '.join(needed)}; the runtime calls reset() between users.\n"
                '  Fix: give the method another name, as in @command("reset") def reset_command(self, ...).'
            )
        setattr(cls, COMMANDS, collect(cls, _namespace_of_the_class_statement()))

    def start_session(self) -> Iterator[Any] | None:
        """Generate for one user until the end of the session. Override this.

        Either a blocking loop that calls `get_ctx().emit_frame(frame)`, or a generator that yields frames
        (None: nothing to show yet). Clean up in `finally`: it runs also when the user leaves.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override start_session()")

    def reset(self) -> None:
        """Forget the last user: called between two sessions, and after a session that raised."""

    def on_frame(self, frame: InputFrame) -> None:
        """Take the user's newest camera frame.

        Overriding this, or `"video_input": true` in the manifest, gives the model an input track: `webcam`, unless
        the class says otherwise, as in `input_track = "sketch"`.
        """

    @staticmethod
    def weights(name: str) -> Path:
        """Return the local folder of these weights, complete and verified.

        `name` is as in the manifest, with an optional version: "LongLive", "LongLive@1.2". May block
        for as long as a download takes. Raises WeightsMissing, which says what to do; weights/resolve.py
        says where is looked.
        """
        return resolve.resolve(name)

    __reactor_commands__: ClassVar[dict[str, Any]] = {}


@overload
def command(name: Method, /) -> Method: ...
@overload
def command(
    name: str | None = None,
    *,
    description: str = "",
    label: str = "",
    hint: str = "",
    group: str = "",
    primary: bool = False,
) -> Callable[[Method], Method]: ...
def command(
    name: Any = None,
    *,
    description: str = "",
    label: str = "",
    hint: str = "",
    group: str = "",
    primary: bool = False,
) -> Any:
    """Let clients call this method: `@command("set_prompt", description="...")`, or bare `@command`.

    The name defaults to the method's, the description to the first line of its docstring. The method's
    signature becomes the schema that every call is checked against before the method runs.

    The others are words for a page, which guesses what is not given. `label` is the command's title and `group` the
    heading it stands under. `primary`, for one command of a model, is what a newcomer does first, and `hint` is said
    on the picture until they have: "W A S D to drive". `Show` does the same for one argument.
    """
    if name is not None and not isinstance(name, str):
        return _mark(name, CommandMark(name="", description="", shown={}))
    shown = {"label": label, "hint": hint, "group": group, "primary": primary}
    return lambda method: _mark(method, CommandMark(name=name or "", description=description, shown=shown))


def _mark(method: Any, mark: CommandMark) -> Any:
    if not inspect.isfunction(method):
        raise ModelDefinitionError(
            f"@command goes on a plain method, got {type(method).__name__}.\n"
            "  Fix: put @command directly above `def`, and no @staticmethod, @classmethod or @property."
        )
    setattr(method, MARK, mark)
    return method


def _check_track_name(model_class: type[VideoModel]) -> None:
    name = model_class.input_track
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name == MAIN_VIDEO:
        raise ModelDefinitionError(
            f"{model_class.__name__}.input_track is {name!r:.80}.\n"
            f"  Fix: use up to 64 of a-z, 0-9 and _, beginning with a letter; {MAIN_VIDEO} is the model's own track."
        )


def _check_first_frame(model_class: type[VideoModel]) -> None:
    try:
        show.checked_text(model_class.first_frame, "first_frame", limits.SHOWN_LINE_MAX)
    except show.Unshowable as error:
        raise ModelDefinitionError(f"{model_class.__name__}: {error}.\n  Fix: {error.fix}.") from None


def _namespace_of_the_class_statement() -> dict[str, Any]:
    """Names that annotations written as text may refer to, for classes made inside a function."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "abc"):
        frame = frame.f_back
    return dict(frame.f_locals)
