"""Questions to the store: which chunks of a request are there, in all spaces of the engine. Nothing here waits."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import kvasir

from . import chunks
from .breaker import Breaker
from .counters import Counters
from .log import Limited
from .space import SPACES_MAX, Plan

KEYS_MAX = 8192  # of kvs_lookup


@dataclass(frozen=True)
class Verdict:
    """Of a look-up: load the first `worth` of `n` chunks and compute the rest, which takes `best` seconds, and loading all `fetch`."""

    n: int
    worth: int
    fetch: float
    best: float

    def chunks(self, computed: float, margin: float) -> int:
        """How many chunks to load, if the engine has `computed` chunks already: all, unless another split is `margin` times faster (0: never).

        What the engine has, neither has to be loaded nor computed. Of c of n chunks that is c/n of the time to load, and at least (c/n)^2 of
        that to compute; so computing the rest takes at most 1 + c/n times its part of all."""
        if not margin or self.worth >= self.n or self.best * margin * (1 + min(computed / self.n, 1.0)) > self.fetch:
            return self.n
        return self.worth


@dataclass
class Answer:
    """What is there: a bitmap of chunks for each of the plan's groups, and the lease that holds them (0: none)."""

    n: int  # chunks asked for
    present: list[int]
    leases: list[int]
    at: float  # monotonic seconds of the question
    verdicts: list[Verdict] = field(default_factory=list)  # of the full attention groups, as far as the node has some


@dataclass(eq=False)
class Ask:
    """A question under way: one operation for the full attention groups, one for each window group."""

    n: int
    at: float
    deadline: float
    operations: list[kvasir.Operation] = field(default_factory=list)
    open: int = 0
    dropped: bool = False
    answer: Answer | None = None
    present: list[int] = field(default_factory=list)
    leases: list[int] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


class Lookups:
    """Starts questions and takes their answers. One thread.

    spaces: for each of the plan's groups, those of all ranks. All full attention groups are asked about in one look-up, since
    a chunk is of use only if all have it; each window group in one of its own, since it needs only the last chunks.
    other: gets completions of the connector that are of no look-up."""

    def __init__(self, plan: Plan, connector: kvasir.Connector, spaces: Sequence[Sequence[kvasir.Space]], counters: Counters, *,
                 timeout: float, lease: float, retry_after: float, loss_max: int = 0,
                 other: Callable[[kvasir.Completion], None] = lambda done: None) -> None:
        self._connector = connector
        self._counters = counters
        self._timeout = timeout
        self._lease = lease
        self._loss_max = loss_max
        self._other = other
        self._n_groups = len(plan.groups)
        self._breaker = Breaker(retry_after)
        full = [i for i, group in enumerate(plan.groups) if not group.window]
        self._parts: list[tuple[list[int], list[kvasir.Space], bool]] = []
        if full:
            together = [space for i in full for space in spaces[i]]
            for at in range(0, len(together), SPACES_MAX):
                self._parts.append((full, together[at:at + SPACES_MAX], False))
        self._parts += [([i], list(spaces[i]), True) for i, group in enumerate(plan.groups) if group.window]
        self._open: set[Ask] = set()
        self._limited = Limited()

    @property
    def under_way(self) -> int:
        return len(self._open)

    def ask(self, keys: bytes, n: int, now: float) -> Ask | None:
        """None: not asked, since there is no node now, it does not answer, or too much is under way. A miss."""
        if not self._breaker.allows(now) or not self._connector.usable:
            self._counters.lookups_skipped += 1
            return None
        ask = Ask(n, now, now + self._timeout, present=[(1 << n) - 1] * self._n_groups, leases=[0] * self._n_groups)
        try:
            for part, (_, spaces, windowed) in enumerate(self._parts):
                operation = self._connector.lookup(spaces, keys, lease=self._lease, unchained=windowed, timeout=self._timeout,
                                                   loss_max=self._loss_max, user=(ask, part), present=True)
                ask.operations.append(operation)
                ask.open += 1
        except kvasir.Error as fault:
            self._limited.warn("lookup", f"a look-up could not start: {fault}")
            self._counters.lookups_skipped += 1
            self.drop(ask)
            return None
        self._counters.lookups += 1
        self._open.add(ask)
        return ask

    def poll(self, now: float) -> None:
        """Takes what has come; gives up questions whose time is over: they are answered with nothing."""
        for done in self._connector.poll():
            if isinstance(done.user, tuple) and isinstance(done.user[0], Ask):
                self._take(done.user[0], done.user[1], done, now)
            else:
                self._other(done)
        for ask in [ask for ask in self._open if now > ask.deadline]:
            self._counters.lookup_timeouts += 1
            self._breaker.failed(ask.at, now)
            self._open.discard(ask)
            self.drop(ask)
            ask.answer = Answer(ask.n, [0] * self._n_groups, [0] * self._n_groups, ask.at)

    def _take(self, ask: Ask, part: int, done: kvasir.Completion, now: float) -> None:
        ask.open -= 1
        if ask.dropped:
            if done.lease:
                self.release([done.lease])
            return
        groups = self._parts[part][0]
        there = chunks.bits(done.present, ask.n) if done.status >= 0 and done.present is not None else 0
        for i in groups:
            ask.present[i] &= there
            ask.leases[i] = done.lease or ask.leases[i]
        if done.status >= 0 and done.compute_time > 0 and not self._parts[part][2]:
            ask.verdicts.append(Verdict(done.n_prefix, done.n_worth, done.fetch_time, done.worth_time))
        self._learn(ask, done, now)
        if ask.open == 0:
            ask.answer = Answer(ask.n, ask.present, ask.leases, ask.at, ask.verdicts)
            self._open.discard(ask)
            hits = max((present.bit_count() for present in ask.present), default=0)
            self._counters.chunks_hit += hits
            self._counters.chunks_missed += ask.n - hits

    def _learn(self, ask: Ask, done: kvasir.Completion, now: float) -> None:
        """Whether the node answers. A miss because of the node is a quick one without a node, and a late one if it stands still."""
        if done.status >= 0 and done.cause != kvasir.Cause.NODE:
            self._breaker.answered()
        elif done.status == kvasir.Status.ERR_DEADLINE or done.elapsed >= self._timeout * 0.9:
            self._counters.lookup_timeouts += 1
            self._breaker.failed(ask.at, now)

    def drop(self, ask: Ask) -> None:
        """Nobody wants the answer any more: leases end, also those that are still to come."""
        ask.dropped = True
        self._open.discard(ask)
        for operation in ask.operations:
            if not operation.done:
                operation.cancel()
        if ask.answer is None:  # else they are the answer's
            self.release(ask.leases)

    def release(self, leases: Sequence[int]) -> None:
        for lease in set(leases):
            if lease:
                try:
                    self._connector.release(lease)
                except kvasir.Error as fault:  # it ends by itself
                    self._limited.warn("release", f"a lease was not released: {fault}")
