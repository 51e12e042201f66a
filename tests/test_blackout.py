"""A minute without any network, between a real browser and a real server: what the page says afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from net.line import Conditions
from net.relay import ADDRESSES, bad_network, missing
from playwright.sync_api import expect, sync_playwright
from support.chromium import ARGUMENTS, CHROMIUM
from support.promises import NIGHTLY
from support.served import MODEL
from support.server import REACTOR, running, write_model

LINE = Conditions(delay_ms=2)
DARK_S = 60.0


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not NIGHTLY, reason="takes more than a minute; test_page_pure.py has the words alone")
def test_after_a_minute_without_network_the_page_says_since_when_and_that_the_session_ended(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if why := missing():
        pytest.skip(why)
    model = write_model(tmp_path / "model", MODEL)
    with (
        bad_network(LINE) as net,
        running(model, "--host", "0.0.0.0", "--allow-public", command=net.wrapper("server", REACTOR)) as run,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=net.wrapper("client", CHROMIUM), args=list(ARGUMENTS)
        )
        page = browser.new_page()
        page.goto(f"http://{ADDRESSES['server']}:{run.url.rpartition(':')[2]}")
        body = page.locator("body")
        expect(body).to_have_attribute("data-state", "live", timeout=20_000)

        net.become(Conditions(delay_ms=LINE.delay_ms, blackouts=[(0, DARK_S)]))
        dark_s = time.monotonic()
        expect(body).not_to_have_attribute("data-state", "live", timeout=15_000)
        noticed_s = time.monotonic() - dark_s
        page.wait_for_timeout((DARK_S - noticed_s) * 1000)
        expect(body).to_contain_text("Meanwhile the session ended", timeout=30_000)
        told_s = time.monotonic() - dark_s - DARK_S
        record_property(
            "measured", f"noticed after {noticed_s:.1f} s; told {told_s:.1f} s after the network was back"
        )
        expect(body).to_contain_text(" interrupted at ")
        expect(body).to_contain_text(re.compile(r"this page was away for \d+\s(s|min)"))
        page.get_by_test_id("cover-start").click()
        expect(body).to_have_attribute("data-state", "live", timeout=20_000)
        browser.close()
