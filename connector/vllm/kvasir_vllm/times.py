"""A histogram of durations of fixed size: what calls cost the engine's step."""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

# Upper bounds in seconds: 1 us to about 67 s, four to an octave-pair (each sqrt(2) of the one before); the last bucket is open.
BOUNDS: tuple[float, ...] = tuple(1e-6 * 2 ** (i / 2) for i in range(53))


@dataclass
class Times:
    """Counts by duration. Plain data: it pickles, and adds up over processes. One thread at a time."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    count: int = 0
    sum: float = 0.0  # seconds

    def record(self, seconds: float) -> None:
        self.buckets[_bucket(seconds)] += 1
        self.count += 1
        self.sum += seconds

    @staticmethod
    def now() -> float:
        """Seconds of the clock that durations are taken with."""
        return time.perf_counter()

    def quantile(self, q: float) -> float:
        """The upper bound of the bucket that holds the q-th part, in seconds; 0 without any."""
        if self.count == 0:
            return 0.0
        wanted, seen = q * self.count, 0
        for i, n in enumerate(self.buckets):
            seen += n
            if n and seen >= wanted:
                return BOUNDS[min(i, len(BOUNDS) - 1)]
        return BOUNDS[-1]

    @property
    def p50(self) -> float:
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    def add(self, other: Times) -> None:
        for i, n in enumerate(other.buckets):
            self.buckets[i] += n
        self.count += other.count
        self.sum += other.sum

    def diff(self, before: Times) -> Times:
        """What came since `before`, an earlier copy."""
        return Times([a - b for a, b in zip(self.buckets, before.buckets)], self.count - before.count, self.sum - before.sum)

    def copy(self) -> Times:
        return Times(list(self.buckets), self.count, self.sum)


def _bucket(seconds: float, bounds: Sequence[float] = BOUNDS) -> int:
    low, high = 0, len(bounds)
    while low < high:
        middle = (low + high) // 2
        if seconds <= bounds[middle]:
            high = middle
        else:
            low = middle + 1
    return low
