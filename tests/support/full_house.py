"""A session with as many viewers as there is room for.

fill(page, room - 1)      # beside the page's own
"""

from __future__ import annotations

from playwright.sync_api import Page

#: Connections of the page's own making, without a page around each.
_CROWD = """async count => {
    const [{ Connection }, { Server }] = await Promise.all([import("./connection.js"), import("./server.js")]);
    const server = new Server();
    const { running: session } = await server.overview();
    const callbacks = { stream() {}, message() {}, lost() {} };
    const known = { ...session, iceServers: [] };
    window.crowd = Array.from({ length: count }, () => new Connection(server, known, callbacks));
    const opened = await Promise.all(window.crowd.map((connection) => connection.open(session.session_id)));
    await Promise.all(opened.map(({ ready }) => ready));
}"""


def fill(page: Page, viewers: int) -> None:
    """Let so many more join the session, from this page."""
    page.evaluate(_CROWD, viewers)


def let_go(page: Page, viewers: int) -> None:
    """Let so many of them leave."""
    page.evaluate(
        "count => window.crowd.splice(0, count).forEach((connection) => connection.close())", viewers
    )
