"""What one host tells its slot, forwarded to the session that runs on it. On the event loop, but for `frame`."""

from __future__ import annotations

import logging
from typing import Protocol

from ..errors import ModelFailed
from ..host import HostEvents
from ..types import CommandOutcome, EmittedFrame, JsonObject, LogLine, ModelMessage
from .session import Session

model_log = logging.getLogger("reactor_runtime.model")


class Hosting(Protocol):
    """A slot, as its host needs it."""

    @property
    def session(self) -> Session | None:
        """The session that runs or closes."""

    @property
    def label(self) -> str:
        """What a line of the log begins with that is of this slot; "" where there is no other."""

    def model_finished(self, error: ModelFailed | None) -> None:
        """start_session returned or raised."""

    def model_lost(self, error: ModelFailed) -> None:
        """The model is gone."""


class FromHost(HostEvents):
    """What one host tells the slot, forwarded to the session that runs on it."""

    def __init__(self, slot: Hosting) -> None:
        self._slot = slot

    def frame(self, frame: EmittedFrame) -> None:
        session = self._slot.session
        if session is None:
            frame.release()
        else:
            session.frame(frame)

    def frames_discarded(self) -> None:
        if (session := self._slot.session) is not None:
            session.frames_discarded()

    def outcome(self, outcome: CommandOutcome) -> None:
        if (session := self._slot.session) is not None:
            session.outcome(outcome)

    def message(self, message: ModelMessage) -> None:
        if (session := self._slot.session) is not None:
            session.message(message)

    def metrics(self, values: JsonObject) -> None:
        if (session := self._slot.session) is not None:
            session.metrics(values)

    def frame_failed(self, raised: str) -> None:
        if (session := self._slot.session) is not None:
            session.frame_failed(raised)

    def session_ended(self, error: ModelFailed | None) -> None:
        self._slot.model_finished(error)

    def failed(self, error: ModelFailed) -> None:
        self._slot.model_lost(error)

    def log(self, line: LogLine) -> None:
        log = model_log.getChild(line.logger) if line.logger else model_log
        log.log(line.level, "%s%s", self._slot.label, line.text)
