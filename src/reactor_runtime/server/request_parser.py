"""h11 with the bounds that it leaves to others: small pieces of a body, the size of all headers, two lengths.

Made per connection; event loop only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11

from .. import limits


class RequestParser(h11.Connection):
    """`began` is called at the end of each request's head."""

    def __init__(self, began: Callable[[], None]) -> None:
        super().__init__(h11.SERVER, limits.HTTP_HEADER_MAX_BYTES)
        self._began = began
        self.small_pieces = 0
        self._of_body = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._began()
            self._of_body = 0
            names = [name for name, _ in event.headers]
            # RFC 9112 section 6.3: "ought to be handled as an error", because two readers see two requests.
            if b"content-length" in names and b"transfer-encoding" in names:
                raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
            size = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
            if size > limits.HTTP_HEADER_MAX_BYTES:
                raise h11.RemoteProtocolError("the headers are too large", error_status_hint=431)
        elif isinstance(event, h11.Data) and len(event.data) < limits.HTTP_PIECE_BYTES:
            self.small_pieces += 1
            self._of_body += 1
            if self._of_body > limits.HTTP_BODY_PIECES:
                raise h11.RemoteProtocolError("the body comes in too many small pieces")
        return event

    def send(self, event: Any) -> Any:
        """Announce the end of a connection whose request is not going to be read."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [(name, value) for name, value in event.headers if name != b"connection"]
            event = h11.Response(
                status_code=event.status_code,
                headers=[*headers, (b"connection", b"close")],
                reason=event.reason,
            )
        return super().send(event)
