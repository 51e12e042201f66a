"""A log record as one JSON object on one line, for those who collect logs rather than read them.

    {"time": "2026-11-27T13:20:05.123Z", "level": "INFO", "logger": "…", "message": "…", …}

What a record was given as `extra={"fields": {…}}` stands beside these keys: of a session its id, duration_s,
reason and clients. A traceback is `exception`, whole.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        made = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": made.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)
