"""Commands whose uploads are still on their way: each waits in a task of its own, and those after it go past.

Belongs to a session, on its event loop. So many wait at most, and with so many bytes of arguments; one more is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from .. import codes, limits
from ..errors import CommandRejected
from ..tasks import Tasks
from ..types import JsonObject


class AwaitingUploads:
    """`tasks` owns the tasks that wait."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._sizes: dict[asyncio.Task[None], int] = {}

    def hold(self, arguments: JsonObject, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let a command with these arguments wait in `call`. Raises CommandRejected where too many do."""
        size_bytes = len(json.dumps(arguments))
        held_bytes = sum(self._sizes.values()) + size_bytes
        if len(self._sizes) >= limits.COMMAND_MAILBOX or held_bytes > limits.COMMAND_MAILBOX_BYTES:
            raise CommandRejected("too many commands wait for their uploads", code=codes.RATE_LIMITED)
        task = self._tasks.spawn(call())
        self._sizes[task] = size_bytes
        task.add_done_callback(self._sizes.pop)
