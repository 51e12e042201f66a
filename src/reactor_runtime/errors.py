"""Every error this package raises on purpose.

    ReactorError
    ├── Refused                  what an author, a client or an operator did
    │   ├── ManifestError        manifest.json or the class it names
    │   ├── ModelDefinitionError a VideoModel class that cannot be served
    │   ├── SettingError         a flag or environment variable
    │   ├── FrameRejected        emit_frame was given something that is not a frame
    │   ├── CommandRejected      unknown command, bad arguments, too large, too often
    │   │   └── CommandError     raised by an author's handler to refuse a command
    │   ├── OfferRejected        a WebRTC offer or candidate
    │   ├── MessageRejected      a data channel frame that no wire format explains
    │   ├── ScriptRejected       a line of a script for `reactor render`, or its film
    │   ├── LogRejected          a session log that cannot be replayed
    │   ├── SessionRefused       the session is busy, gone or not this one
    │   ├── ClipRefused          a clip or a part of it that is not kept
    │   ├── Unauthorized         missing or wrong token
    │   │   ├── TokenExpired     its time is over
    │   │   └── TokenNotYet      its time has not begun
    │   ├── NotGranted           a token that does not allow this
    │   │   └── TokenReplayed    one person's token that somebody uses already
    │   ├── WheelRefused         somebody else drives, or the seat is not to be had
    │   ├── WeightsMissing       weights that no source has, or a name that cannot be one
    │   ├── WeightsPublished     a version that exists already and never changes
    │   ├── UnsafeWeights        a weights file that could run code when it is loaded
    │   ├── StoreRefused         the weights store refuses: credentials, bucket, address
    │   └── LimitExceeded        too many or too large; see limits.py
    └── Broke                    what broke here
        ├── ModelFailed          __init__ or start_session raised
        │   ├── ModelCrashed     the model process exited
        │   ├── ModelHung        the model process stopped making progress
        │   └── ModelOutOfMemory host or GPU memory ran out
        ├── PeerFailed           the WebRTC engine failed
        ├── EncoderFailed        the video encoder failed
        ├── StoreUnreachable     the weights store does not answer
        ├── DiskFull             no space for weights
        └── WeightsCorrupt       a file does not match its digest

`SessionStopped` is apart: a BaseException that unwinds a model's loop when its session has
ended, so that an author's `except Exception` does not swallow it.

Each error has a stable `code`, which clients may see, and a message for people that says what
was got, what is accepted and what to do. Tracebacks and paths never leave the process that
raised them: what a client receives is `public()`.
"""

from __future__ import annotations

import traceback
from typing import ClassVar

from . import codes
from .limits import LOG_LINE_MAX


def raised_at(place: str, error: BaseException) -> str:
    """Return what an author reads of an exception in one line, cut to a line of the log."""
    # Through traceback, because an author's __str__ may raise as well.
    text = "".join(traceback.format_exception_only(error)).strip()
    return f"{place} raised {text}"[:LOG_LINE_MAX]


class ReactorError(Exception):
    """Root of every deliberate error. `code` is stable; `str(error)` is for people."""

    code: ClassVar[str] = codes.ERROR

    def public(self) -> str:
        """Return the text a client may see. Subclasses whose message may hold internals narrow it."""
        return str(self)


class Refused(ReactorError):
    """Someone outside this package did something that cannot be accepted."""

    code = codes.REFUSED


class ManifestError(Refused):
    """The manifest, or the class it names, cannot be used. Names the file, the key and the fix."""

    code = codes.MANIFEST_ERROR

    def __init__(self, problem: str, *, file: str = "", key: str = "", fix: str = "") -> None:
        where = f"{file}: " if file else ""
        what = f'"{key}": ' if key else ""
        super().__init__(f"{where}{what}{problem}" + (f"\n  Fix: {fix}" if fix else ""))
        self.problem = problem
        self.file = file
        self.key = key
        self.fix = fix


class ModelDefinitionError(Refused):
    """A VideoModel class that cannot be served: duplicate command names, unsupported parameters."""

    code = codes.MODEL_DEFINITION_ERROR


class SettingError(Refused):
    """A flag or environment variable with a value outside its range."""

    code = codes.SETTING_ERROR


class FrameRejected(Refused):
    """What was emitted is not a frame. Raised at the emitting line of the author's code."""

    code = codes.FRAME_REJECTED


class CommandRejected(Refused):
    """A command that never reached its handler. `field` is a dotted path into the arguments, or "".

    `raised` is what the author's own check raised, which the model's author may read and nobody else.
    """

    code = codes.INVALID_COMMAND

    def __init__(self, message: str, *, code: str | None = None, field: str = "", raised: str = "") -> None:
        super().__init__(message)
        self.raised = raised
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may carry a narrower code
        self.field = field


class CommandError(CommandRejected):
    """Raise inside a `@command` handler to refuse it: the client gets exactly this code and message."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message, code=code, field=field)


class OfferRejected(Refused):
    """A WebRTC offer or ICE candidate that cannot be used."""

    code = codes.OFFER_REJECTED


class MessageRejected(Refused):
    """A data channel frame that neither wire format explains. The frame is dropped, the channel stays."""

    code = codes.MESSAGE_REJECTED


class ScriptRejected(Refused):
    """A line of commands.jsonl that cannot be understood, or a file that cannot be read or written."""

    code = codes.SCRIPT_REJECTED


class LogRejected(Refused):
    """A session log that cannot be read, or does not say enough to be replayed."""

    code = codes.LOG_REJECTED


class SessionRefused(Refused):
    """The session cannot do this now. `status` is the HTTP status that says so.

    `raised` is what the model raised in that session, which the model's author may read and nobody else.
    """

    code = codes.SESSION_REFUSED

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after_s: int | None = None,
        raised: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may carry a narrower code
        self.status = status
        self.retry_after_s = retry_after_s
        self.raised = raised


class ClipRefused(Refused):
    """This clip, or this part of one, is not there. `status` is the HTTP status that says so."""

    code = codes.CLIP_REFUSED

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(Refused):
    """A token is missing or wrong."""

    code = codes.UNAUTHORIZED


class TokenExpired(Unauthorized):
    """A token of ours whose time is over."""

    code = codes.TOKEN_EXPIRED


class TokenNotYet(Unauthorized):
    """A token of ours whose time has not begun."""

    code = codes.TOKEN_NOT_YET


class NotGranted(Refused):
    """Whoever asks is known, and may not do this. Names the role that it takes."""

    code = codes.NOT_GRANTED


class TokenReplayed(NotGranted):
    """One person's token: another connection uses it, or it was for a session that it has been in."""

    code = codes.TOKEN_REPLAYED


class WheelRefused(Refused):
    """Who asks may drive, and does not just now. `code` says which rule of the wheel is against it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # an instance may carry a narrower code


class WeightsMissing(Refused):
    """No source has these weights, or the text cannot be their name. Says where they are looked for."""

    code = codes.WEIGHTS_MISSING

    def public(self) -> str:
        return "the model's weights are missing; the operator's log has the details"


class WeightsPublished(Refused):
    """This version is in the registry, or someone is publishing it. Versions never change."""

    code = codes.WEIGHTS_PUBLISHED


class UnsafeWeights(Refused):
    """Loading this file could run code that it brings. `sha256` is what a consent has to name, or ""."""

    code = codes.UNSAFE_WEIGHTS

    def __init__(self, message: str, *, sha256: str = "") -> None:
        super().__init__(message)
        self.sha256 = sha256


class StoreRefused(Refused):
    """The weights store answered with a refusal that trying again does not change.

    `setting` names what to change. The message never holds a secret.
    """

    code = codes.STORE_REFUSED

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting

    def public(self) -> str:
        return "the weights store refused; the operator's log has the details"


class LimitExceeded(Refused):
    """Too many or too large. `limit` names the entry of limits.py."""

    code = codes.LIMIT_EXCEEDED

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class Broke(ReactorError):
    """Something failed on this side."""

    code = codes.INTERNAL_ERROR

    def public(self) -> str:
        return "internal error; the operator's log has the details"


class ModelFailed(Broke):
    """The model's code raised. The log has the traceback once; clients get only this code."""

    code = codes.MODEL_ERROR

    def public(self) -> str:
        return "the model failed; the operator's log has the details"


class ModelCrashed(ModelFailed):
    """The model process exited on its own. `exit_code` is negative for a signal."""

    code = codes.MODEL_CRASHED

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def public(self) -> str:
        # By what signal it was ended says nothing of what is in it, and all to whoever sent it.
        return str(self) if self.exit_code is not None and self.exit_code < 0 else super().public()


class ModelHung(ModelFailed):
    """The model made no progress for longer than its limit and was killed."""

    code = codes.MODEL_HUNG

    def public(self) -> str:
        return "the model stopped responding and is being restarted"


class ModelOutOfMemory(ModelFailed):
    """Host or GPU memory ran out while the model was running."""

    code = codes.OUT_OF_MEMORY

    def public(self) -> str:
        return "the model ran out of memory"


class PeerFailed(Broke):
    """The WebRTC engine failed for one viewer."""

    code = codes.PEER_FAILED


class EncoderFailed(Broke):
    """The video encoder could not be opened or failed on a frame."""

    code = codes.ENCODER_FAILED


class WeightsCorrupt(Broke):
    """A weights file does not match its digest, also after it was fetched again."""

    code = codes.WEIGHTS_CORRUPT

    def __init__(self, message: str, *, file: str = "", expected: str = "", actual: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.expected = expected
        self.actual = actual


class StoreUnreachable(Broke):
    """The weights store did not answer within the limit. What was downloaded so far is kept."""

    code = codes.STORE_UNREACHABLE


class DiskFull(Broke):
    """There is no space for weights. Nothing that was complete is touched."""

    code = codes.DISK_FULL

    def __init__(self, message: str, *, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class SessionStopped(BaseException):
    """The session this code runs for has ended. Raised by `emit_frame`, `emit_block` and `wait`.

    A BaseException: a model loop that never looks at `should_stop()` stops at its next frame, its
    `finally` runs, its `except Exception` does not.
    """
