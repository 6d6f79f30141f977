"""A pause of look-ups at a node that does not answer, so that not every request waits for its deadline."""
from __future__ import annotations


class Breaker:
    """Each answer that does not come in time doubles the pause, up to `most` seconds; one that comes ends it.

    After a pause look-ups are asked again one at a time: whoever is allowed moves the end of the pause on. Time is given
    by the caller (monotonic seconds). One thread."""

    def __init__(self, most: float, first: float = 0.5) -> None:
        self._most = most
        self._first = min(first, most)
        self._pause = 0.0
        self._since = 0.0
        self._until = 0.0

    def allows(self, now: float) -> bool:
        if self._pause == 0.0:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause
        return True

    def failed(self, started: float, now: float) -> None:
        """A look-up that was asked at `started` was not answered in time."""
        if self._pause > 0.0 and started < self._since:
            return  # one of those that were under way when the pause began
        self._pause = min(self._most, self._pause * 2) if self._pause > 0.0 else self._first
        self._since = now
        self._until = now + self._pause

    def answered(self) -> None:
        self._pause = self._since = self._until = 0.0
