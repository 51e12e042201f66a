"""Who was not let in, counted by code and told to the audit log. One per application, on its event loop."""

from __future__ import annotations

from collections import Counter

from ..errors import NotGranted, Unauthorized
from ..session.audit import Audit
from ..session.grants import Grant
from ..session.metrics import text_of_labelled


class Refusals:
    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self.counts: Counter[str] = Counter()

    def note(self, error: Unauthorized | NotGranted, grant: Grant, *, session_id: str = "") -> None:
        """Count that this bearer was refused so."""
        self.counts[error.code] += 1
        self._audit.note("refuse", grant, session_id=session_id, code=error.code)

    def metrics_text(self) -> str:
        return text_of_labelled(
            "reactor_requests_refused", "Requests without the right for it, by code", "code", self.counts
        )
