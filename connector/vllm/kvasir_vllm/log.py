"""The log of this package, below vLLM's own logger so that its level, format and handlers apply."""
from __future__ import annotations

import logging
import time

logger = logging.getLogger("vllm.kvasir")


class Limited:
    """Warnings that may come with every request: at most one of a kind in `seconds`, with the count of those left out.

    Kinds are few and fixed (a word of the caller's), so the table is bounded. One thread."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._kinds: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, text: str) -> None:
        last, left_out = self._kinds.get(kind, (-self._seconds, 0))
        now = time.monotonic()
        if now - last < self._seconds:
            self._kinds[kind] = (last, left_out + 1)
            return
        self._kinds[kind] = (now, 0)
        more = f" ({left_out} more like it were not logged)" if left_out else ""
        logger.warning("kvasir: %s%s", text, more)
