"""Jobs of vLLM's tiering as gets and puts, and what became of them. Needs the binding, not vllm.

A job is cut into runs (tier_chains.py), and each run goes to the space of each cell of the row (tier_rows.py): one operation each. A key
of a job is good when it is good in all cells. All methods run on the scheduler's thread; none blocks, save drain.
"""
from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import kvasir

from .observations import cause_of
from .tier_chains import Places, Run, load_runs, store_runs
from .tier_lookups import block_hash_of

Spaces = Callable[[int, int], Sequence[kvasir.Space]]  # (KV group, bytes of a key) -> the space of each cell


@dataclass
class Job:
    """One job of the framework. `good` is by key; final once no part is under way."""

    number: int
    load: bool
    keys: tuple[bytes, ...]
    good: list[bool]
    began: float = field(default_factory=time.monotonic)
    parts: int = 0        # operations under way
    bytes: int = 0        # of the operations that are complete
    seconds: float = 0.0  # from the start to the last completion
    reason: str = ""      # of the first failure: a status or a cause, in small letters

    @property
    def whole(self) -> bool:
        return all(self.good)

    def fail(self, indexes: Sequence[int], reason: str) -> None:
        for i in indexes:
            self.good[i] = False
        self.reason = self.reason or reason


@dataclass(eq=False)
class Part:
    """One operation of a job: the user value of its completion."""

    job: Job
    run: Run
    operation: kvasir.Operation | None = None


class Transfers:
    """Starts the operations of jobs and gathers their ends.

    memories: the registration of each cell. chunk_bytes: of a key, over all cells. max_store_bytes: what may be on its way to the node;
    a store beyond it fails at once. loss_max, loss_enough, hurry: as of kvasir.Space.get and put.
    """

    def __init__(self, spaces: Spaces, memories: Sequence[kvasir.Memory], chunk_bytes: int, load_timeout: float,
                 store_timeout: float, max_store_bytes: int, *, loss_max: int = 0, loss_enough: int = 0, hurry: float = 0.0) -> None:
        self._spaces = spaces
        self._memories = memories
        self._chunk_bytes = chunk_bytes
        self._timeouts = {True: load_timeout, False: store_timeout}
        self._max_store_bytes = max_store_bytes
        self._loss_max = loss_max
        self._loss_enough = loss_enough
        self._hurry = hurry
        self._store_bytes = 0
        self._under_way: set[Part] = set()
        self._finished: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether a job is under way, or its result not yet taken."""
        return bool(self._under_way or self._finished)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def load(self, number: int, keys: Sequence[bytes], rows: Sequence[int], lease: int) -> None:
        """Bytes of each key into its row. What is not good afterwards left any bytes in its row."""
        job = Job(number, True, tuple(keys), [True] * len(keys))
        for run in load_runs(job.keys):
            self._start(job, run, rows, lease)
        self._finish_if_done(job)

    def store(self, number: int, keys: Sequence[bytes], rows: Sequence[int], places: Places) -> None:
        """Bytes of each row under its key. The rows must not change until the job is taken."""
        job = Job(number, False, tuple(keys), [True] * len(keys))
        size = len(keys) * self._chunk_bytes
        if self._store_bytes + size > self._max_store_bytes:
            job.fail(range(len(keys)), "max_save_bytes")
        else:
            self._store_bytes += size
            for run in store_runs(job.keys, places):
                self._start(job, run, rows, 0)
            if job.parts == 0:
                self._store_bytes -= size
        self._finish_if_done(job)

    def refuse(self, number: int, load: bool, keys: Sequence[bytes], reason: str) -> None:
        """A job that is not even tried."""
        job = Job(number, load, tuple(keys), [False] * len(keys), reason=reason)
        self._finish_if_done(job)

    def complete(self, done: kvasir.Completion) -> None:
        """Takes the completion of a Part."""
        part: Part = done.user
        self._under_way.discard(part)
        job = part.job
        job.bytes += done.bytes
        fine = (kvasir.Status.OK,) if job.load else (kvasir.Status.OK, kvasir.Status.EXISTS)
        statuses = done.statuses or ()
        bad = [i for at, i in enumerate(part.run.indexes) if at >= len(statuses) or statuses[at] not in fine]
        if bad:
            job.fail(bad, cause_of(done))
        self._end(job)

    def take(self) -> list[Job]:
        """Jobs that have ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def cancel(self) -> None:
        """What is under way ends soon, and fails."""
        for part in self._under_way:
            assert part.operation is not None
            part.operation.cancel()

    def drain(self) -> None:
        """Blocks until nothing is under way: at the latest a quarter of a second after the last deadline."""
        for part in list(self._under_way):
            assert part.operation is not None
            try:
                self.complete(part.operation.wait())
            except kvasir.ClosedError:  # the library has let go of the memory
                self._under_way.discard(part)
                part.job.fail(part.run.indexes, "closed")
                self._end(part.job)

    def _start(self, job: Job, run: Run, rows: Sequence[int], lease: int) -> None:
        blob = b"".join(block_hash_of(job.keys[i]) for i in run.indexes)
        slots = array("q", (int(rows[i]) for i in run.indexes))
        try:
            spaces = self._spaces(run.group, len(job.keys[run.indexes[0]]))
            for space, memory in zip(spaces, self._memories, strict=True):
                part = Part(job, run)
                if job.load:
                    part.operation = space.get(blob, memory, slots, 1, unchained=True, lease=lease, user=part, loss_max=self._loss_max,
                                               loss_enough=self._loss_enough, hurry=self._hurry, timeout=self._timeouts[True], statuses=True)
                else:
                    part.operation = space.put(blob, memory, slots, 1, first_place=run.first_place, parent=run.parent,
                                               extent_first=run.extent_first, unchained=run.unchained, user=part,
                                               loss_max=self._loss_max, timeout=self._timeouts[False], statuses=True)
                job.parts += 1
                self._under_way.add(part)
        except kvasir.Error as fault:  # what was started goes on; the job ends with it
            job.fail(run.indexes, fault.status.name.lower())

    def _end(self, job: Job) -> None:
        job.parts -= 1
        job.seconds = time.monotonic() - job.began
        if job.parts == 0 and not job.load:
            self._store_bytes -= len(job.keys) * self._chunk_bytes
        self._finish_if_done(job)

    def _finish_if_done(self, job: Job) -> None:
        if job.parts == 0:
            self._finished.append(job)
