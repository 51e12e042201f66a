"""A session with as many viewers as there is room for.

fill(page, room - 1)      # beside the page's own
"""

from __future__ import annotations

import time

from playwright.sync_api import Page

#: Each of them comes in a second; a browser that hangs does not hold up a test for longer than this.
FILL_S = 40
#: Connections of the page's own making, without a page around each, one after another. `crowding` says how it goes.
_CROWD = """count => {
    window.crowd = [];
    window.crowding = "loads";
    const come = async () => {
        const [{ Connection }, { Server }] = await Promise.all([import("./connection.js"), import("./server.js")]);
        const server = new Server();
        const { running: session } = await server.overview();
        const callbacks = { stream() {}, message() {}, lost() {} };
        while (window.crowd.length < count) {
            const connection = new Connection(server, { ...session, iceServers: [] }, callbacks);
            window.crowd.push(connection);
            await (await connection.open(session.session_id)).ready;
        }
    };
    come().then(() => (window.crowding = "there"), (error) => (window.crowding = String(error)));
}"""
_HOW = """[crowding, ...crowd.map(({ peer }) =>
    `${peer?.signalingState} ${peer?.iceConnectionState} ${peer?.connectionState}`)].join("; ")"""


def fill(page: Page, viewers: int) -> None:
    """Let so many more join the session, from this page."""
    page.evaluate(_CROWD, viewers)
    until_s = time.monotonic() + FILL_S
    while (how := page.evaluate("crowding")) == "loads" and time.monotonic() < until_s:
        page.wait_for_timeout(50)
    assert how == "there", page.evaluate(_HOW)


def let_go(page: Page, viewers: int) -> None:
    """Let so many of them leave."""
    page.evaluate(
        "count => window.crowd.splice(0, count).forEach((connection) => connection.close())", viewers
    )
