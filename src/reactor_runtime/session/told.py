"""What the operator's log says of one session: that it began, and at its end how long it was, why it ended, who came.

Pure: times are given. What clients call themselves and why they end a session is their text: it is cut, and
made printable.
"""

from __future__ import annotations

from typing import Final

from ..progress import Progress
from ..types import JsonObject

#: Kinds of client that the line names, and characters of a client's own text.
CLIENTS_NAMED: Final = 8
TEXT_MAX: Final = 64


class SessionTold:
    """One session's lines."""

    def __init__(self, session_id: str, began_s: float) -> None:
        self._session_id = session_id
        self._began_s = began_s
        self._clients: set[str] = set()

    def offered(self, client: str) -> None:
        """Note who wants to watch: SDK and version, as the client names itself."""
        if len(self._clients) < CLIENTS_NAMED:
            self._clients.add(_printable(client) or "unnamed")

    def started(self) -> Progress:
        fields: JsonObject = {"event": "session_started", "session_id": self._session_id}
        return Progress("session", f"session {self._session_id[:8]} started", fields=fields)

    def ended(self, reason: str, now_s: float) -> Progress:
        duration_s, clients = round(now_s - self._began_s, 1), sorted(self._clients)
        reason = _printable(reason)
        named = f"; clients: {', '.join(clients)}" if clients else ""
        fields: JsonObject = {
            "event": "session_ended",
            "session_id": self._session_id,
            "duration_s": duration_s,
            "reason": reason,
            "clients": clients,
        }
        text = f"session {self._session_id[:8]} ended after {duration_s:g} s: {reason}{named}"
        return Progress("ready", text, fields=fields)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:TEXT_MAX])
