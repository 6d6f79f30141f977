"""What is known of the keys that vLLM asks for: verdicts, asked for in batches, never waited for. Pure; no vllm.

vLLM's scheduler asks key by key, in each step anew, until each key is a hit or a miss. The first question of a key only notes it;
at the end of the step all noted keys go to the node in one look-up for each KV group; later questions find the answer here.
All methods run on the scheduler's thread. What is kept is dropped when the last request that asked has ended.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable

GROUP_BYTES = 4        # at the end of an offload key: the KV group, big-endian
BATCH_KEYS_MAX = 8192  # what one kvs_lookup takes


def block_hash_of(key: bytes) -> bytes:
    """The engine's hash of the chunk's last block: Kvasir's key."""
    return key[:-GROUP_BYTES]


def group_of(key: bytes) -> int:
    return int.from_bytes(key[-GROUP_BYTES:], "big")


class Batch:
    """One look-up on its way, or answered and holding a lease."""

    __slots__ = ("entries", "asked", "deadline", "lease", "answered", "users")

    def __init__(self, entries: list[Entry], asked: float, timeout: float) -> None:
        self.entries = entries
        self.asked = asked
        self.deadline = asked + timeout
        self.lease = 0
        self.answered = False
        self.users = len(entries)  # entries that some request still holds


class Entry:
    """One key. verdict None: not known yet."""

    __slots__ = ("key", "verdict", "requests", "batch")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.verdict: bool | None = None
        self.requests: set[str] = set()
        self.batch: Batch | None = None


class Lookups:
    """Verdicts by key.

    ask(group, keys, batch) starts one look-up of block hashes; True: answer() will be called with this batch. False: it could not
    be started, which is a miss. release(lease) ends a lease. timeout, in seconds: an answer that takes longer is a miss.
    """

    def __init__(self, ask: Callable[[int, list[bytes], Batch], bool], release: Callable[[int], None], timeout: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._release = release
        self._timeout = timeout
        self._clock = clock
        self._entries: dict[bytes, Entry] = {}
        self._of_request: dict[str, set[bytes]] = {}
        self._noted: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def verdict(self, key: bytes, request: str) -> bool | None:
        """True: there. False: not there, or not known in time. None: ask again in the next step."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key)
            self._noted.append(entry)
        if request not in entry.requests:
            entry.requests.add(request)
            self._of_request.setdefault(request, set()).add(key)
        if entry.verdict is None and entry.batch is not None and self._clock() > entry.batch.deadline:
            entry.verdict = False
        return entry.verdict

    def flush(self) -> None:
        """Asks for what was noted since the last flush: one look-up a KV group and 8192 keys."""
        noted, self._noted = self._noted, []
        groups: dict[int, list[Entry]] = {}
        for entry in noted:
            if entry.requests and entry.verdict is None:  # nobody may be left who wants to know
                groups.setdefault(group_of(entry.key), []).append(entry)
        for group, entries in groups.items():
            for first in range(0, len(entries), BATCH_KEYS_MAX):
                self._start(group, entries[first:first + BATCH_KEYS_MAX])

    def _start(self, group: int, entries: list[Entry]) -> None:
        batch = Batch(entries, self._clock(), self._timeout)
        if not self._ask(group, [block_hash_of(entry.key) for entry in entries], batch):
            for entry in entries:
                entry.verdict = False
            return
        for entry in entries:
            entry.batch = batch

    def answer(self, batch: Batch, present: Iterable[bool], lease: int) -> tuple[int, int]:
        """The look-up of `batch` is complete; present: in the order of its keys, may be short. Returns the keys found, and those that were
        given up before."""
        batch.answered = True
        batch.lease = lease
        found = late = 0
        there = iter(present)
        for entry in batch.entries:
            hit = bool(next(there, False))
            if entry.verdict is None:
                entry.verdict = hit
                found += hit
            else:  # what was too late stays a miss
                late += 1
        self._release_if_unused(batch)
        return found, late

    def mark_miss(self, keys: Iterable[bytes]) -> None:
        """A load of these failed: asked again they miss, or vLLM would promote them for ever."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None:
                entry.verdict = False

    def lease_of(self, keys: Iterable[bytes]) -> int:
        """The lease that holds all of these keys; 0: none does."""
        leases = set()
        for key in keys:
            entry = self._entries.get(key)
            leases.add(entry.batch.lease if entry is not None and entry.batch is not None else 0)
        return leases.pop() if len(leases) == 1 else 0

    def forget(self, request: str) -> None:
        """The request has ended: what only it asked for is dropped, and leases that nobody uses are released."""
        for key in self._of_request.pop(request, ()):
            entry = self._entries[key]
            entry.requests.discard(request)
            if entry.requests:
                continue
            del self._entries[key]
            if entry.batch is not None:
                entry.batch.users -= 1
                self._release_if_unused(entry.batch)

    def _release_if_unused(self, batch: Batch) -> None:
        if batch.answered and batch.users == 0 and batch.lease:
            lease, batch.lease = batch.lease, 0
            self._release(lease)
