"""The contents of the messages between the two sides; see messages.py, which dresses them for vLLM.

A request is named with its epoch, the number of its preemptions: what belongs to a life before a preemption is told from what
came after it."""
from __future__ import annotations

from dataclasses import dataclass, field

from .chunks import Run


@dataclass(frozen=True)
class Load:
    """Bring these chunks into these blocks."""

    request: str
    epoch: int
    layerwise: bool  # the request runs in this very step
    runs: tuple[Run, ...]
    leases: tuple[int, ...]  # one for each run; 0: none


@dataclass(frozen=True)
class Save:
    """Store these chunks of one KV group when this step's forward has ended."""

    request: str
    epoch: int
    run: Run
    chain: int = 0  # chunks of the whole prompt, computed or not; 0: not said


@dataclass
class StepOrders:
    """One step's work."""

    loads: list[Load] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)  # aborted while loading: still reported as received
    held: list[str] = field(default_factory=list)  # finished; report them as sent when their puts have ended
    preempted: list[str] = field(default_factory=list)  # their blocks are about to be overwritten
    idle: bool = False  # no token is computed in this step
    identity: tuple[bytes, bytes] = (b"", b"")  # Plan.weights and Plan.files of the scheduler's side


@dataclass
class Report:
    """What a worker has ended since its last report. Over several ranks: counts add up, the worst place counts."""

    saved: dict[tuple[str, int], int] = field(default_factory=dict)  # (request, epoch): Saves that ended
    loaded: dict[tuple[str, int], int] = field(default_factory=dict)  # (request, epoch): ranks whose layerwise load ended
    failed: dict[tuple[str, int], int] = field(default_factory=dict)  # (request, epoch): first place that did not come

    def __bool__(self) -> bool:
        return bool(self.saved or self.loaded or self.failed)

    def fail(self, request: tuple[str, int], place: int) -> None:
        self.failed[request] = min(place, self.failed.get(request, place))

    def add(self, other: Report) -> None:
        for request, n in other.saved.items():
            self.saved[request] = self.saved.get(request, 0) + n
        for request, n in other.loaded.items():
            self.loaded[request] = self.loaded.get(request, 0) + n
        for request, place in other.failed.items():
            self.fail(request, place)
