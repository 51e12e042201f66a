"""What a runtime tells whoever started it: how far the start is, and what changed since.

Values only. `server.runtime.Runtime` makes them on its event loop; the command line shows them, and
may not block while it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .types import JsonObject

Step: TypeAlias = Literal[
    "weights", "loading", "ready", "session", "restarting", "degraded", "failed", "draining"
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is, or what has changed.

    step      "failed" is final: the model cannot be loaded, or died more often than the restart budget allows;
              "degraded" says so of one slot of several
    text      one line for people
    fraction  of this step, in [0, 1]; None where nobody can tell
    """

    step: Step
    text: str
    fraction: float | None = None
    fields: JsonObject = field(default_factory=dict)
    """The same for machines: what a log in JSON says of it."""
