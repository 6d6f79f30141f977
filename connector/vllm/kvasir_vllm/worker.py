"""The side of the connector in a worker process: moves chunks between the store and the KV cache of one rank.

One thread, the worker's. vLLM's calls in a step, in this order:

    preempt      before anything is overwritten: puts of preempted requests end
    start_loads  before the forward (layerwise) or after it (asynchronous)
    wait_layer   in each attention layer
    start_saves  after the forward; with speculative decoding last of all, when the drafts are computed too
    results      which requests' transfers have ended; then invalid_blocks and report

Nothing here raises for what the store does: what does not come is reported, and computed by the engine."""
from __future__ import annotations

import select
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import kvasir

from .chunks import HOLE, Run
from .counters import Counters
from .log import Limited, logger
from .options import Options
from .observations import cause_of
from .orders import Load, Report, Save, StepOrders
from .space import Group, Plan, describe, regions
from .times import Times

CHUNKS_MAX = 512  # of one kvs_get or kvs_put
PLACES_MAX = 1048576  # chunks * slots * regions
_IDLE_MS = 10  # milliseconds that a step without tokens may wait for a transfer, instead of turning in circles
_GRACE = 0.5  # the library ends an operation at the latest 0.25 s after its deadline or cancel


@dataclass(eq=False)
class _Loading:
    """A load under way: one operation for each of its (split) runs."""

    load: Load
    operations: list[kvasir.Operation] = field(default_factory=list)
    open: int = 0
    deadline: float = 0.0
    bad: int | None = None  # first place that did not come
    canceled: bool = False

    def fail(self, place: int) -> None:
        self.bad = place if self.bad is None else min(place, self.bad)


@dataclass(eq=False)
class _Saving:
    """A Save under way."""

    save: Save
    size: int
    operations: list[kvasir.Operation] = field(default_factory=list)
    open: int = 0


class WorkerSide:
    """rank: of tensor parallelism. The KV cache is registered once, by `register`."""

    def __init__(self, plan: Plan, options: Options, connector: kvasir.Connector, rank: int) -> None:
        self.counters = Counters()
        self.load_times = Times()  # of each get
        self.failures: dict[str, int] = {}  # "load/cause", "save/cause": how often
        self._plan = plan
        self._options = options
        self._connector = connector
        self._rank = rank
        self._spaces = self._open_spaces(plan)
        self._memories: list[kvasir.Memory] = []
        self._layers: dict[str, tuple[int, int]] = {}  # name: group, number of the layer in it
        self._most: list[int] = []  # chunks of an operation, by group
        self._loading: dict[str, _Loading] = {}
        self._layerwise: list[_Loading] = []
        self._waited: set[str] = set()  # layers that were waited for in this step
        self._has_hooks = True  # whether the engine's attention calls wait_layer
        self._saving: dict[str, set[_Saving]] = {}
        self._save_bytes = 0  # in flight
        self._held: set[str] = set()
        self._received: set[str] = set()
        self._failed: set[str] = set()
        self._invalid: set[int] = set()
        self._report = Report()
        self._limited = Limited()
        self._wakener = select.poll()
        self._wakener.register(connector.fd, select.POLLIN)

    def register(self, tensors: Mapping[str, Any], n_blocks: int) -> None:
        """The KV cache, a tensor a layer. Raises space.PlanError if it is not what the plan says."""
        for i, group in enumerate(self._plan.groups):
            found = regions(group, tensors, n_blocks)
            self._memories.append(self._connector.register(found))
            self._layers.update((name, (i, number)) for number, name in enumerate(group.layers))
            per_chunk = self._plan.chunk_tokens // group.block_size * len(found)
            self._most.append(max(1, min(CHUNKS_MAX, PLACES_MAX // per_chunk)))
            logger.info("kvasir: KV cache group %d: %d layers, %d regions, %d blocks of %d bytes, chunks of %d tokens and %d bytes",
                        group.id, len(group.layers), len(found), n_blocks, sum(group.page_bytes), self._plan.chunk_tokens,
                        group.chunk_bytes(self._plan.chunk_tokens))

    def _open_spaces(self, plan: Plan) -> list[kvasir.Space]:
        return [self._connector.space(describe(plan, group, self._rank)) for group in plan.groups]

    def _follow(self, identity: tuple[bytes, bytes]) -> None:
        """Some models change their configuration when they are loaded, which the scheduler's process does not see: the spaces are those
        that it asks about, or nothing would be found again. Other weights than the scheduler's are never taken for its own."""
        weights, files = identity
        if not weights or weights == self._plan.weights:
            return
        if files != self._plan.files:
            self._limited.warn("identity", "this worker sees other weights than the scheduler: nothing that it saves is found")
            return
        try:
            plan = replace(self._plan, weights=weights)
            self._spaces = self._open_spaces(plan)
            self._plan = plan
        except kvasir.Error as fault:
            self._limited.warn("identity", f"the scheduler's spaces cannot be opened: {fault}")

    def close(self) -> None:
        """Cancels what is under way and waits for the last touch of memory (at most 1 s)."""
        self._connector.close()

    @property
    def n_under_way(self) -> int:
        """Loads, and saves, that have not ended."""
        return len(self._loading) + len(self._layerwise) + sum(map(len, self._saving.values()))

    # ---- loads ----

    def start_loads(self, orders: StepOrders) -> None:
        self._follow(orders.identity)
        for name in orders.canceled:
            self._cancel_load(name)
        for load in orders.loads:
            loading = _Loading(load, deadline=time.monotonic() + self._options.load_timeout)
            self._start_load(loading)
            if load.layerwise:
                self._layerwise.append(loading)
            else:
                self._loading[load.request] = loading
                self._end_load(loading)
        self._waited.clear()
        if self._layerwise and not self._has_hooks:
            for loading in self._layerwise:
                self._wait_all(loading)

    def _start_load(self, loading: _Loading) -> None:
        self.counters.loads += 1
        for run, lease in zip(loading.load.runs, loading.load.leases):
            group = self._plan.groups[run.group]
            for part in run.split(self._most[run.group]):
                try:
                    operation = self._spaces[run.group].get(
                        part.keys, self._memories[run.group], part.slots, self._per_chunk(group), first_place=part.first_place,
                        parent=part.parent, extent_first=part.extent_first, lease=lease, by_layer=loading.load.layerwise,
                        loss_max=self._options.loss_max, loss_enough=self._options.loss_enough, hurry=self._options.hurry,
                        timeout=self._options.load_timeout, user=(loading, part))
                except kvasir.Error as fault:
                    self._limited.warn("get", f"a load could not start: {fault}")
                    self._not_loaded(loading, part, 0)
                    continue
                loading.operations.append(operation)
                loading.open += 1

    def _per_chunk(self, group: Group) -> int:
        return self._plan.chunk_tokens // group.block_size

    def _cancel_load(self, name: str) -> None:
        loading = self._loading.get(name)
        if loading is None:
            return
        loading.canceled = True
        for operation in loading.operations:
            operation.cancel()

    def _not_loaded(self, loading: _Loading, run: Run, n_prefix: int) -> None:
        self.counters.load_chunks_failed += run.n - n_prefix
        loading.fail(run.first_place + n_prefix)

    def _took_load(self, loading: _Loading, run: Run, done: kvasir.Completion) -> None:
        loading.open -= 1
        self.load_times.record(done.elapsed)
        self.counters.load_bytes += done.bytes
        self.counters.load_chunks += done.n_prefix
        if done.n_prefix < done.n:
            if not loading.canceled:
                self._count_failure("load", done)
                self._limited.warn("load", f"{done.n - done.n_prefix} of {done.n} chunks that were found did not come "
                                           f"({done.status.name}, cause {done.cause.name}): their tokens are computed")
            self._not_loaded(loading, run, done.n_prefix)
        self._end_load(loading)

    def _count_failure(self, operation: str, done: kvasir.Completion) -> None:
        name = f"{operation}/{cause_of(done)}"
        self.failures[name] = self.failures.get(name, 0) + 1

    def _end_load(self, loading: _Loading) -> None:
        """Reports an asynchronous load when its last operation has ended."""
        load = loading.load
        if loading.open or load.layerwise:
            return
        del self._loading[load.request]
        self._received.add(load.request)
        if loading.bad is not None and not loading.canceled:
            self._tell_failure(loading, loading.bad)

    def _tell_failure(self, loading: _Loading, bad: int) -> None:
        """By blocks where they are of one group of full attention. By request where numbers of blocks are not unique, and with sliding
        windows: the engine would compute on from the first bad block, and the window before that block was not loaded."""
        load = loading.load
        self.counters.load_failures += 1
        self._report.fail((load.request, load.epoch), bad)
        if not self._plan.fails_by_block:
            self._failed.add(load.request)
            return
        for run in load.runs:
            per_chunk = len(run.slots) // run.n
            self._invalid.update(slot for slot in run.slots[max(0, bad - run.first_place) * per_chunk:] if slot != HOLE)

    # ---- layerwise loads ----

    @property
    def loads_by_layer(self) -> bool:
        """Whether this step waits for layers."""
        return bool(self._layerwise)

    def wait_layer(self, name: str) -> None:
        """The layer's bytes are there, or the load is known to have failed, when this returns; at the latest at the deadline."""
        place = self._layers.get(name)
        if place is None:
            return  # a layer that shares another's KV cache, which was waited for
        self._waited.add(name)
        for loading in self._layerwise:
            for operation in loading.operations:
                self._wait_layer(loading, operation, place)

    def _wait_layer(self, loading: _Loading, operation: kvasir.Operation, place: tuple[int, int]) -> None:
        run = operation.user[1]
        if operation.done or run.group != place[0] or (loading.bad is not None and run.first_place >= loading.bad):
            return
        try:
            if operation.wait_layer(place[1], max(0.0, loading.deadline + _GRACE - time.monotonic())) != kvasir.Status.OK:
                self._took(operation.wait(0))  # it has ended: its completion says which chunks are whole
        except kvasir.Error:  # not in time, or the connector is being closed
            loading.fail(run.first_place)

    def _wait_all(self, loading: _Loading) -> None:
        for operation in loading.operations:
            if not operation.done:
                try:
                    self._took(operation.wait(max(0.0, loading.deadline + _GRACE - time.monotonic())))
                except kvasir.DeadlineError:
                    operation.cancel()
                    self._took(operation.wait(None))

    def _end_layerwise(self) -> None:
        """After the forward: what did not come in time is reported in this very step."""
        loads, self._layerwise = self._layerwise, []
        for loading in loads:
            early = self._has_hooks and not self._waited_for(loading) and any(not op.done for op in loading.operations)
            self._wait_all(loading)
            if early:
                self._has_hooks = False
                logger.warning("kvasir: this model's attention does not wait for layers: loads are waited for before the forward")
                loading.fail(min(run.first_place for run in loading.load.runs))
            load = loading.load
            key = (load.request, load.epoch)
            self._report.loaded[key] = self._report.loaded.get(key, 0) + 1
            if loading.bad is not None:
                self._tell_failure(loading, loading.bad)

    def _waited_for(self, loading: _Loading) -> bool:
        groups = {run.group for run in loading.load.runs}
        return all(name in self._waited for name, (group, _) in self._layers.items() if group in groups)

    # ---- saves ----

    def start_saves(self, orders: StepOrders) -> None:
        """After the forward: puts start, and end while later steps compute. Groups whose blocks the engine gives up while the
        request runs (sliding windows) are waited for here."""
        self._end_layerwise()
        soon = []
        for save in orders.saves:
            saving = self._start_save(save)
            if saving is not None and self._plan.groups[save.run.group].window:
                soon.append(saving)
        for saving in soon:
            self._finish_save(saving, self._options.save_timeout)
        self._held.update(orders.held)

    def _start_save(self, save: Save) -> _Saving | None:
        run = save.run
        group = self._plan.groups[run.group]
        size = run.n * group.chunk_bytes(self._plan.chunk_tokens)
        saving = _Saving(save, size)
        if self._save_bytes + size > self._options.max_save_bytes:
            self._poll()
        if self._save_bytes + size <= self._options.max_save_bytes:
            self._put(saving, group)
        else:
            self._limited.warn("bytes", f"{run.n} chunks are not saved: max_save_bytes ({self._options.max_save_bytes}) are in flight")
            self.counters.saves_dropped += run.n
        if not saving.operations:
            self._report_saved(save)
            return None
        self._saving.setdefault(save.request, set()).add(saving)
        self._save_bytes += size
        self.counters.saves += 1
        return saving

    def _put(self, saving: _Saving, group: Group) -> None:
        run = saving.save.run
        for part in run.split(self._most[run.group]):
            try:
                operation = self._spaces[run.group].put(
                    part.keys, self._memories[run.group], part.slots, self._per_chunk(group), first_place=part.first_place,
                    parent=part.parent, extent_first=part.extent_first, chain_chunks=saving.save.chain,
                    loss_max=self._options.loss_max, timeout=self._options.save_timeout, user=(saving, part), statuses=True)
            except kvasir.Error as fault:
                self._limited.warn("put", f"a save could not start: {fault}")
                self.counters.saves_dropped += part.n
                continue
            saving.operations.append(operation)
            saving.open += 1

    def _took_save(self, saving: _Saving, run: Run, done: kvasir.Completion) -> None:
        saving.open -= 1
        self.counters.save_bytes += done.bytes
        self.counters.save_chunks += done.n_ok
        declined = done.statuses.count(kvasir.Status.DECLINED) if done.statuses else 0
        self.counters.save_chunks_declined += declined
        self.counters.save_chunks_failed += done.n - done.n_ok - declined
        if done.status < 0 and done.status != kvasir.Status.ERR_CANCELED:
            self._count_failure("save", done)
            self._limited.warn("save", f"{done.n - done.n_ok - declined} of {done.n} chunks were not saved: {done.status.name}")
        if saving.open:
            return
        self._save_bytes -= saving.size
        name = saving.save.request
        rest = self._saving[name]
        rest.discard(saving)
        if not rest:
            del self._saving[name]
        self._report_saved(saving.save)

    def _report_saved(self, save: Save) -> None:
        key = (save.request, save.epoch)
        self._report.saved[key] = self._report.saved.get(key, 0) + 1

    def _finish_save(self, saving: _Saving, seconds: float) -> None:
        """Returns when nobody reads the blocks any more: puts end by themselves, at the latest at their deadline."""
        until = time.monotonic() + seconds + _GRACE
        for operation in saving.operations:
            if operation.done:
                continue
            try:
                done = operation.wait(max(0.0, until - time.monotonic()))
            except kvasir.DeadlineError:
                operation.cancel()
                done = operation.wait(None)  # the library keeps its word, or memory is torn: there is no third way
            self._took(done)

    def preempt(self, orders: StepOrders) -> None:
        """The blocks of these requests are overwritten next: their puts are cancelled and waited for."""
        wanted = [saving for name in orders.preempted for saving in self._saving.get(name, ())]
        for saving in wanted:
            for operation in saving.operations:
                operation.cancel()
            self.counters.saves_canceled += saving.save.run.n
        for saving in wanted:
            self._finish_save(saving, 0.0)

    # ---- results ----

    def _poll(self) -> None:
        for done in self._connector.poll():
            self._took(done)

    def _took(self, done: kvasir.Completion) -> None:
        what, run = done.user
        if isinstance(what, _Loading):
            self._took_load(what, run, done)
        else:
            self._took_save(what, run, done)

    def rest(self, orders: StepOrders) -> None:
        """In a step that computes nothing while transfers are under way: waits a moment for one of them, so that the engine does
        not turn in circles on the processor that the transfer needs."""
        if orders.idle and not self._received and (self._loading or self._held & self._saving.keys()):
            self._wakener.poll(_IDLE_MS)

    def results(self) -> tuple[set[str], set[str], set[str]]:
        """(sent, received, failed to be received): requests whose transfers have ended since the last call, each once."""
        self._end_layerwise()  # with speculative decoding vLLM lets saves start after this call
        self._poll()
        sent = {name for name in self._held if name not in self._saving}
        self._held -= sent
        received, self._received = self._received, set()
        failed, self._failed = self._failed, set()
        return sent, received, failed

    def invalid_blocks(self) -> set[int]:
        """Blocks that did not get their bytes; told with the request that they belong to, or before it."""
        invalid, self._invalid = self._invalid, set()
        return invalid

    def report(self) -> Report | None:
        if not self._report:
            return None
        report, self._report = self._report, Report()
        return report
