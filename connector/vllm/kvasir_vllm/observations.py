"""What one process of the connector saw since it was last asked, as plain data that travels and adds up. No vllm.

    {"counts": {"name" or "name/label/label": number}, "samples": {"name/label": [seconds, ...]}, "gauges": {"name": {process: value}}}

Counts add up over processes and intervals, samples follow each other, and of a gauge each process's latest value counts.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .counters import Counters
from .times import BOUNDS, Times

Data = dict[str, dict[str, Any]]

GAUGE_SECONDS = 1.0  # between two looks at the node's state
SAMPLES_MAX = 256    # of one name in an interval; what is more is left out

# Field of Counters -> name and labels.
COUNTS: Mapping[str, str] = {
    "lookups": "lookups", "lookup_timeouts": "lookup_timeouts", "lookups_skipped": "lookups_skipped",
    "chunks_hit": "lookup_chunks/hit", "chunks_missed": "lookup_chunks/miss",
    "requests_loaded": "loaded_requests", "tokens_loaded": "loaded_tokens",
    "requests_recomputed": "recomputed_requests", "hints_of_prefills": "hints_of_prefills",
    "hints": "hints", "hints_named": "hints_named", "hint_values_dropped": "hint_values_dropped",
    "hint_actions_passed_over": "hint_actions_passed_over",
    "hints_accepted": "hint_answers/accepted", "hints_clipped": "hint_answers/clipped", "hints_deferred": "hint_answers/deferred",
    "hints_rejected": "hint_answers/rejected", "hints_missing": "hint_answers/missing", "hints_failed": "hint_answers/failed",
    "load_bytes": "load_bytes", "load_chunks": "load_chunks/ok", "load_chunks_failed": "load_chunks/failed",
    "save_bytes": "save_bytes", "save_chunks": "save_chunks/ok", "save_chunks_failed": "save_chunks/failed",
    "save_chunks_declined": "save_chunks/declined",
    "saves_dropped": "save_chunks/dropped", "saves_canceled": "save_chunks/canceled",
}


def cause_of(done: Any) -> str:
    """Why a completion (kvasir.Completion) has chunks that failed, in small letters: the cause of a miss, else its status."""
    return (done.cause if done.status > 0 else done.status).name.lower()


def empty() -> Data:
    return {"counts": {}, "samples": {}, "gauges": {}}


def is_empty(data: Data) -> bool:
    return not any(data.values())


def add(data: Data, more: Data) -> None:
    """Adds what another process, or a later interval, saw."""
    for name, count in more["counts"].items():
        data["counts"][name] = data["counts"].get(name, 0) + count
    for name, samples in more["samples"].items():
        data["samples"].setdefault(name, []).extend(samples)
    for name, values in more["gauges"].items():
        data["gauges"].setdefault(name, {}).update(values)


def gauge(name: str, values: Mapping[str, float]) -> float:
    """One value for all processes: connected only if all are, and in flight what all have together."""
    return min(values.values()) if name == "node_connected" else sum(values.values())


def samples_of(times: Times) -> list[float]:
    """The durations of a histogram one by one, as exactly as its buckets tell: each within a factor of 1.5, their sum exact."""
    samples: list[float] = []
    for bound, count in zip((*BOUNDS, BOUNDS[-1] * 2 ** 0.5), times.buckets):
        samples += [bound] * min(count, SAMPLES_MAX - len(samples))
    total = sum(samples)
    return [sample * times.sum / total for sample in samples] if 0 < times.count == len(samples) and total else samples


class Observer:
    """Turns counters that only grow into what came since the last call. One thread.

    process: "scheduler" or "worker N". look: (node connected, operations in flight, reconnects since start); asked once a second.
    """

    def __init__(self, process: str, look: Callable[[], tuple[bool, int, int]], clock: Callable[[], float] = time.monotonic) -> None:
        self._process = process
        self._side = process.split()[0]
        self._look = look
        self._clock = clock
        self._looked = float("-inf")
        self._gauges: dict[str, float] = {}
        self._reconnects = 0
        self._counters = Counters()
        self._failures: dict[str, int] = {}
        self._steps = 0.0
        self._step_count = 0
        self._loads = Times()

    def take(self, counters: Counters, steps: Times, loads: Times, failures: Mapping[str, int]) -> Data:
        """failures: "operation/cause" -> count. All arguments: since start."""
        data = empty()
        for field, count in counters.diff(self._counters).as_dict().items():
            if count and field in COUNTS:
                data["counts"][COUNTS[field]] = count
        self._counters = counters.copy()
        for name, count in failures.items():
            if count != self._failures.get(name, 0):
                data["counts"]["failures/" + name] = count - self._failures.get(name, 0)
                self._failures[name] = count
        if steps.count > self._step_count:  # vLLM asks once a step, or after some idle ones
            data["samples"]["step_seconds/" + self._side] = [steps.sum - self._steps]
            self._steps, self._step_count = steps.sum, steps.count
        if loads.count > self._loads.count:
            data["samples"]["load_seconds"] = samples_of(loads.diff(self._loads))
            self._loads = loads.copy()
        self._take_gauges(data)
        return data

    def _take_gauges(self, data: Data) -> None:
        now = self._clock()
        if now - self._looked < GAUGE_SECONDS:
            return
        self._looked = now
        connected, in_flight, reconnects = self._look()
        if reconnects > self._reconnects:
            data["counts"]["reconnects"] = reconnects - self._reconnects
            self._reconnects = reconnects
        for name, value in (("node_connected", int(connected)), ("operations_in_flight", in_flight)):
            if self._gauges.get(name) != value:
                self._gauges[name] = value
                data["gauges"][name] = {self._process: value}
