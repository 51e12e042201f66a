"""Waiting on the page, looked at ten times a second: playwright's own `expect` looks twice once a third of one is over.

live(page)
until_state(page, "ended")
expect(page.get_by_test_id("rail")).to_be_hidden()
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from playwright import sync_api
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as WaitedInVain
from playwright.sync_api._generated import LocatorAssertions

#: A machine that is shared is slow, and most of what is waited for has no bound of its own.
WITHIN_MS = 15_000.0
#: A wait of less than 2.5 s is looked at every 100 ms to its end.
_ONCE_MS = 2_400.0
_IN_STATE = "(state) => document.body?.dataset.state === state"
_EVERY_MS = 30


def expect(where: Locator) -> LocatorAssertions:
    """Expect what playwright's `expect` does, within a quarter of a minute where no `timeout` is said."""
    return cast("LocatorAssertions", _Often(sync_api.expect(where)))


class _Often:
    def __init__(self, assertions: LocatorAssertions) -> None:
        self.assertions = assertions

    def __getattr__(self, name: str) -> Callable[..., None]:
        holds = getattr(self.assertions, name)

        def hold(*args: Any, timeout: float = WITHIN_MS, **options: Any) -> None:
            until_s = time.monotonic() + timeout / 1000
            while (left_ms := (until_s - time.monotonic()) * 1000) > _ONCE_MS:
                try:
                    return cast("None", holds(*args, timeout=_ONCE_MS, **options))
                except AssertionError:
                    pass
            return cast("None", holds(*args, timeout=max(1, left_ms), **options))

        return hold


def live(page: Page, *, within_s: float = 20) -> Page:
    """Wait until the page shows a picture, and return it."""
    until_state(page, "live", within_s=within_s)
    return page


def until_state(page: Page, state: str, *, within_s: float = 20) -> None:
    try:
        page.wait_for_function(_IN_STATE, arg=state, polling=_EVERY_MS, timeout=within_s * 1000)
    except WaitedInVain:
        found = page.locator("body").get_attribute("data-state")
        said = page.locator("#cover").inner_text()
        raise AssertionError(f"not {state} within {within_s} s, but {found}: {said}") from None
