"""How far a load is, for whoever waits for it: which model, which part, how much of it, for how long. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ..progress import Progress
from ..types import JsonObject


class Loading:
    """One slot's loads, one after the other. Belongs to the server's event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s: float | None = None
        self._known: JsonObject = {}

    def begin(self, model: str = "") -> None:
        """A load begins, of a model whose name may be known already."""
        self._began_s = self._clock()
        self._known = {"model": model} if model else {}

    def told(self, progress: Progress) -> None:
        """Take what is fetched now."""
        self._known |= {**progress.fields, "fraction": progress.fraction}

    def fetched(self) -> None:
        """Everything is here, and the model itself loads: nobody can tell how far that is."""
        self._known = {key: self._known[key] for key in self._known if key == "model"}

    def end(self) -> None:
        self._began_s = None

    def now(self) -> JsonObject | None:
        """Return {model, part, parts, fraction, elapsed_s}, each where it is known; None while nothing loads."""
        if self._began_s is None:
            return None
        return {**self._known, "elapsed_s": round(self._clock() - self._began_s, 1)}
