"""Who publishes which input track: one connection at a time, by its own word. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class Claims:
    """The input tracks of a session, and the connections that claimed them."""

    def __init__(self, tracks: Sequence[str]) -> None:
        self._tracks = tracks
        self._holders: dict[str, int] = {}

    def claim(self, track: str, who: int) -> str | None:
        """Give a track to a connection; return why not, in words, if it cannot have it."""
        if track not in self._tracks:
            names = ", ".join(self._tracks) or "none"
            return f"unknown input track {track!r:.80}; this model's are: {names}"
        if self._holders.setdefault(track, who) != who:
            return "track already published"
        return None

    def release(self, who: int, track: str | None = None) -> None:
        """Take back what a connection holds: one track, or all."""
        for name in [name for name, holder in self._holders.items() if holder == who]:
            if track in (None, name):
                del self._holders[name]

    def clear(self) -> None:
        """Take back what anybody holds."""
        self._holders.clear()

    def holds(self, who: int) -> bool:
        """Whether a connection publishes anything."""
        return who in self._holders.values()

    def admits(self, track: str, who: int) -> bool:
        """Whether a connection's pictures are the model's. JS 2.9.0 never claims, so nobody's is everybody's.

        Any thread.
        """
        return self._holders.get(track, who) == who
