"""What each route takes: a right, and whether a token for one session counts there. Pure.

The guard looks a request up here before it is routed. What is not in the table takes the role of an operator,
so a route that somebody forgot is shut; a test lets none be forgotten. docs/roles.md is written from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..session.grants import Right

#: Where a request's scope has what its sender may do, a `Grant`.
GRANT: Final = "reactor.grant"
_SIGNALLING: Final = "/sessions/{session_id}/transport/webrtc"


@dataclass(frozen=True, slots=True)
class Rule:
    """`right` None: whoever asks. `names` is where a request names its session; "service": in its body, judged there;
    "server": what it asks is of all sessions, and no token for one counts.

    `takes` says that it takes the place of a person: there one person's token is refused that is in use.
    """

    right: Right | None
    names: Literal["", "path", "service", "server"] = "path"
    takes: bool = False
    because: str = ""
    """Why it is open."""


def _paths(rows: Mapping[str, Rule]) -> dict[tuple[str, str], Rule]:
    made = {}
    for row, rule in rows.items():
        method, _, path = row.partition(" ")
        made[method, path] = rule
    return made


_PROBE: Final = Rule(None, "", because="probes have no token")
_WATCH: Final = Rule(Right.WATCH)
_TICKET: Final = Rule(Right.DRIVE, "")
_OFFER: Final = Rule(Right.WATCH, takes=True)

#: By method and path template; WEBSOCKET is the handshake of one.
RULES: Final = _paths(
    {
        "GET /health": _PROBE,
        "GET /health/live": _PROBE,
        "GET /overview": Rule(Right.WATCH, ""),
        "GET /session": Rule(Right.WATCH, ""),
        "GET /schema": Rule(Right.WATCH, ""),
        "GET /openapi.json": Rule(Right.WATCH, ""),
        "POST /connect": Rule(Right.WATCH, "service", takes=True),
        "POST /start_session": Rule(Right.DRIVE, "service", takes=True),
        "POST /line": Rule(Right.DRIVE, "service"),
        "GET /line/{ticket}": _TICKET,
        "GET /line/{ticket}/events": _TICKET,
        "POST /line/{ticket}/claim": _TICKET,
        "DELETE /line/{ticket}": _TICKET,
        "POST /stop_session": Rule(Right.DRIVE, "service"),
        f"GET {_SIGNALLING}/ice_servers": _WATCH,
        f"POST {_SIGNALLING}/connections": _WATCH,
        f"POST {_SIGNALLING}/connections/{{connection_id}}/sdp_params": _OFFER,
        f"PUT {_SIGNALLING}/connections/{{connection_id}}/sdp_params": _OFFER,
        f"GET {_SIGNALLING}/connections/{{connection_id}}/sdp_params": _WATCH,
        f"POST {_SIGNALLING}/connections/{{connection_id}}/ice_candidates": _WATCH,
        f"POST {_SIGNALLING}/sdp_params": _OFFER,
        f"PUT {_SIGNALLING}/sdp_params": _OFFER,
        f"GET {_SIGNALLING}/sdp_params": _WATCH,
        f"POST {_SIGNALLING}/ice_candidates": _WATCH,
        "WEBSOCKET /sessions/{session_id}/media": _OFFER,
        "POST /sessions/{session_id}/uploads": Rule(Right.UPLOAD),
        "PUT /sessions/{session_id}/uploads/{upload_id}/{key}": Rule(
            None, "", because="the address holds a key; SDKs send no token with the bytes"
        ),
        "GET /sessions/{session_id}/log/{key}": Rule(Right.READ_LOG),
        # A recording has an id of its own, which only those know who were in its session and asked for it.
        "GET /clips": Rule(Right.RECORD, ""),
        "GET /clips/chunks/{recording}/{file}": Rule(Right.RECORD, ""),
        "POST /sessions/{session_id}/kick": Rule(Right.OPERATE),
        "POST /drain": Rule(Right.OPERATE, "server"),
        "POST /tokens": Rule(Right.OPERATE, "server"),
        "GET /metrics": Rule(Right.OPERATE, "server"),
        "GET /events": Rule(Right.OPERATE, "server"),
    }
)
#: What is not in the table.
OTHERWISE: Final = Rule(Right.OPERATE, "server")


class Access:
    """The rules as a server looks them up. `open_paths` are read by whoever asks: the page's files."""

    def __init__(self, open_paths: Iterable[str] = ()) -> None:
        self._open = frozenset(open_paths)
        self._exact: dict[tuple[str, str], Rule] = {}
        self._templates: dict[str, list[tuple[re.Pattern[str], Rule]]] = {}
        for (method, path), rule in RULES.items():
            if "{" not in path:
                self._exact[method, path] = rule
                continue
            pattern = "".join(
                f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
                for part in re.split(r"(\{\w+\})", path)
            )
            self._templates.setdefault(method, []).append((re.compile(pattern), rule))

    def find(self, method: str, path: str) -> tuple[Rule, str | None]:
        """Return the rule for a request, and the session that its path names."""
        if method in ("GET", "HEAD") and path in self._open:
            return _PROBE, None
        method = "GET" if method == "HEAD" else method
        rule = self._exact.get((method, path))
        if rule is not None:
            return rule, None
        for pattern, templated in self._templates.get(method, ()):
            if (found := pattern.fullmatch(path)) is not None:
                return templated, found["session_id"] if templated.names == "path" else None
        return OTHERWISE, None
