"""The loads of one slot's model: the first, and one more whenever the model was lost, within the restart budget.

    first() or beside() ─▶ host ─▶ lost ─▶ pause ─▶ again() ─▶ host ─▶ …        budget used up ─▶ given up

Owns the host and what is known of the model it loaded. A slot asks for each load and is told by its `LoadsOwner` side
what became of it; on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..author import documents
from ..errors import ModelFailed, ReactorError
from ..host import ModelHost
from ..progress import Progress
from ..types import JsonObject, ModelInfo
from .loading import Loading
from .restart import RestartBudget

log = logging.getLogger(__name__)

Prepare = Callable[[Callable[[Progress], None]], Awaitable[None]]


class LoadsOwner(Protocol):
    """What a slot does about its loads."""

    def check(self, info: ModelInfo) -> None:
        """Raise SettingError where a setting does not fit the model that was loaded."""

    def loaded(self) -> None: ...

    def given_up(self) -> None:
        """The model could not be loaded, or failed too often, and is not tried again."""

    def reported(self, progress: Progress) -> None: ...


class Loads:
    """Makes one host after the other. The last one is closed with `close()`."""

    def __init__(
        self,
        make_host: Callable[[], ModelHost],
        owner: LoadsOwner,
        *,
        label: str,
        restarts: int,
        clock: Callable[[], float],
    ) -> None:
        self.host: ModelHost | None = None
        self.info: ModelInfo | None = None
        self.openapi: JsonObject = {}
        self.detail: str | None = "loading the model"
        """Why it can serve nobody, in words; None where there is nothing to say."""
        self.loading = Loading(clock)
        self.lost: ModelFailed | None = None
        """Why the host is unusable, until it is replaced."""
        self._make_host = make_host
        self._owner = owner
        self._label = label
        self._budget = RestartBudget(restarts)
        self._clock = clock
        self._closed = False

    @property
    def restarts(self) -> int:
        return self._budget.total

    async def first(self, prepare: Prepare) -> None:
        """Load for the first time, after `prepare(report)` has fetched what is needed.

        Raises what the author or the operator can fix, or ModelFailed; then it was given up.
        """
        self._owner.reported(Progress("loading", "loading the model"))
        self.loading.begin()
        try:
            await prepare(self._preparing)
            self.detail = "loading the model"
            self.loading.fetched()
            await self._load()
        except ReactorError:
            self._give_up("the model could not be loaded")
            raise

    async def beside(self) -> bool:
        """Load what another slot has loaded; whether that went well. If not, it is for `again`."""
        self.loading.begin()
        try:
            await self._load()
        except ReactorError as error:
            self._failed(error)
            return False
        return True

    async def again(self) -> None:
        """Replace a lost model, within the budget."""
        while not self._closed:
            cause = self.lost or ModelFailed("the model process was lost")
            if self.host is not None:
                await self.host.close()
            pause_s = self._budget.pause_s(self._clock())
            if pause_s is None:
                self._give_up("the model failed too often; see the log, fix it and start the runtime again")
                self._owner.reported(Progress("failed", f"{self.detail} ({cause})"))
                return
            self.detail = f"the model is restarted after {cause.code.replace('_', ' ')}"
            self.loading.begin(self.info.name if self.info else "")
            text = f"{cause}; restarting the model in {pause_s:g} s"
            self._owner.reported(Progress("restarting", text))
            await asyncio.sleep(pause_s)
            try:
                await self._load()
            except ReactorError as error:
                self._failed(error)
            else:
                self.lost = None
                return

    async def close(self) -> None:
        """End the model. May be called twice; whatever loads was cancelled before."""
        self._closed = True
        if self.host is not None:
            await self.host.close()

    async def _load(self) -> None:
        self.host = self._make_host()
        info = await self.host.load()
        self._owner.check(info)
        self.loading.end()
        self.info = info
        self.openapi = documents.openapi(info)
        self.detail = None
        self._owner.loaded()
        self._owner.reported(Progress("ready", f"{info.name} {info.version} is ready"))

    def _preparing(self, progress: Progress) -> None:
        self.detail = progress.text
        self.loading.told(progress)
        self._owner.reported(progress)

    def _failed(self, error: ReactorError) -> None:
        self.lost = error if isinstance(error, ModelFailed) else ModelFailed(str(error))
        log.error("%sthe model could not be loaded: %s", self._label, error)

    def _give_up(self, detail: str) -> None:
        self.loading.end()
        self.detail = detail
        self._owner.given_up()
