"""Where the connector library's threads may run.

A thread starts with the processors of the one that made it. vLLM's CPU workers pin their main thread, which opens the connector, to the
first core that computes: the thread that moves bytes would share that core with the computation, while others are idle.
"""
from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager

_NODES = "/sys/devices/system/node/node[0-9]*/cpulist"


def parse_cpus(text: str) -> frozenset[int]:
    """Numbers of processors from a list as Linux writes it, "0-3,8". Raises ValueError."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or numbers.start < 0 or numbers.stop > 2**16:
            raise ValueError(f"{part}: no range of processors")
        cpus.update(numbers)
    return frozenset(cpus)


def widened(own: frozenset[int], allowed: frozenset[int], nodes: list[frozenset[int]]) -> frozenset[int]:
    """`own`, and of `allowed` what is on the same NUMA nodes: memory there is as near."""
    near = frozenset().union(*(node for node in nodes if node & own))
    return own | ((near or allowed) & allowed)


def _automatic() -> frozenset[int]:
    """Of this thread, widened to what the process that started this one may use: it was not pinned to compute."""
    own = frozenset(os.sched_getaffinity(0))
    nodes = []
    try:
        allowed = frozenset(os.sched_getaffinity(os.getppid()))
        for path in glob.glob(_NODES):
            with open(path) as file:
                text = file.read().strip()
            if text:  # a node may have memory only
                nodes.append(parse_cpus(text))
    except OSError:  # the parent has ended, or /sys is not there
        return own
    return widened(own, allowed, nodes)


@contextmanager
def threads_on(cpus: str) -> Iterator[None]:
    """What this thread starts inside runs on `cpus`: "auto", "inherit", or a list. ValueError: none of the list may be used."""
    if cpus == "inherit":
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, _automatic() if cpus == "auto" else parse_cpus(cpus))
    except OSError:
        raise ValueError(f"cpus: none of {cpus} may be used here") from None
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
