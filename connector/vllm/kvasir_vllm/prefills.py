"""How long the engine computes tokens, from the times of its steps: for the node, which then says whether loading is worth it."""
from __future__ import annotations

from collections.abc import Callable, Mapping

TOKENS_LEAST = 256  # of a step; a smaller one tells what a step takes rather than what tokens take
OTHERS_MOST = 1 / 16  # of a step's tokens that may be other requests'
PAUSE = 1.0  # seconds between two that are told: a prefill in steps would tell the same over and over


class Prefills:
    """Looks at each step as it is scheduled. One thread.

    Steps follow each other at once while there is work, but an engine schedules a step while the one before it is still computed, or when it has
    been computed, as it likes. So the time from one step to the next counts only inside a run of steps that compute equally many tokens of one
    request: each of them takes about that long. A prompt that fits in two steps is never measured."""

    def __init__(self) -> None:
        self._run: tuple[str, int, int] | None = None  # request, tokens of a step, steps so far
        self._begin = 0
        self._at = 0.0
        self._told = float("-inf")

    def step(self, scheduled: Mapping[str, int], computed: Callable[[str], int | None], now: float) -> tuple[int, int, float] | None:
        """scheduled: tokens of this step, of each request; computed: of a request before this step, None: not known, or it loads.
        Returns tokens, the tokens before them, and seconds, of a step that was computed; None: nothing was measured."""
        last, begin, at = self._run, self._begin, self._at
        self._run = self._running(scheduled, computed, last)
        self._at = now
        if last is None or self._run is None or last[:2] != self._run[:2] or self._run[2] < 3 or now - self._told < PAUSE or now <= at:
            return None
        self._told = now
        return last[1], begin, now - at

    def _running(self, scheduled: Mapping[str, int], computed: Callable[[str], int | None],
                 last: tuple[str, int, int] | None) -> tuple[str, int, int] | None:
        name = max(scheduled, key=scheduled.__getitem__, default=None)
        if name is None or scheduled[name] < TOKENS_LEAST or sum(scheduled.values()) - scheduled[name] > scheduled[name] * OTHERS_MOST:
            return None
        begin = computed(name)
        if begin is None:
            return None
        n = scheduled[name]
        steps = last[2] + 1 if last is not None and last[:2] == (name, n) and begin >= self._begin + n else 1
        self._begin = begin
        return name, n, steps
