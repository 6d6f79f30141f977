"""The side of the connector in vLLM's engine-core process: asks the store, decides what to load and to save, moves no byte.

One thread, the engine core's. vLLM's objects are read by attribute only. A request's life here:

    on_new_request         its question to the store starts
    match                  (None, False) until it is answered, then how many tokens may be loaded
    allocated              blocks are there: the load is ordered
    step                   each step: chunks that became whole are ordered to be saved
    finished               blocks are held while puts read them
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import kvasir

from . import chunks
from .adapters import Adapters
from .counters import Counters
from .hint_sender import HintSender
from .lookups import KEYS_MAX, Answer, Ask, Lookups
from .options import Options
from .orders import Load, Report, Save, StepOrders
from .prefills import Prefills
from .space import Plan

Blocks = Sequence[Sequence[int]]  # of each of the engine's KV cache groups


@dataclass(eq=False)
class _State:
    """What is known of a request that has not ended."""

    request: Any
    epoch: int
    present: list[int]  # for each group: bitmap of chunks known to be stored
    salt: bytes | None = b""  # of its keys, from its adapter; None: it neither loads nor saves
    ask: Ask | None = None
    answer: Answer | None = None
    asked: bool = False  # in this epoch; a question that could not be asked is a miss
    offered: int = 0  # tokens computed locally when tokens were last offered
    passed_over: bool = False  # then: some that are there were not, since computing them is faster
    keys: bytes = b""  # of the chunks so far
    saved: int = 0  # chunks that were dealt with
    loading: bool = False  # the workers load, and the engine has not been told that they have ended
    unconfirmed: int = 0  # ranks whose layerwise load is not known to be right: nothing computed from it may be saved
    may_load: bool = True  # false after a load that failed: it would fail again
    saving: int = 0  # Saves sent and not ended, counted by rank
    leases: list[int] = field(default_factory=list)  # of the load under way
    last_blocks: Blocks | None = None  # of a request that has ended and waits for its layerwise load to be confirmed


class SchedulerSide:
    """loads: "async", "layerwise" or "off"; saves: whether chunks are stored."""

    def __init__(self, plan: Plan, options: Options, connector: kvasir.Connector,
                 spaces: Sequence[Sequence[kvasir.Space]], *, loads: str, saves: bool) -> None:
        self.counters = Counters()
        self._plan = plan
        self._loads = loads
        self._saves = saves
        self._margin = options.recompute
        self._refresh = options.lease / 2  # an older answer is asked for again: its lease may end before the load has
        self._connector = connector
        self._lookups = Lookups(plan, connector, spaces, self.counters, timeout=options.lookup_timeout, lease=options.lease,
                                retry_after=options.retry_after, loss_max=options.loss_max, other=self._hint_answered)
        self._hints = HintSender(connector, [space for group in spaces for space in group], plan.key_length, self.counters, options)
        self._prefills = Prefills()
        self._adapters = Adapters()
        self._states: dict[str, _State] = {}
        self._ending: dict[str, _State] = {}
        self._orders = StepOrders()
        self._polled = False

    def close(self) -> None:
        self._connector.close()

    @property
    def n_requests(self) -> int:
        """Requests that something is kept of."""
        return len(self._states) + len(self._ending)

    # ---- look-up ----

    def on_new_request(self, request: Any) -> None:
        """The question starts before the request is first considered, so that the answer may be there by then."""
        state = self._state(request)
        if self._loads != "off" and _may_read(request) and state.salt is not None:
            self._ask(state)

    def match(self, request: Any, n_computed: int) -> tuple[int | None, bool]:
        """get_num_new_matched_tokens: tokens that can be loaded beyond the n_computed that the engine has."""
        if self._loads == "off" or not _may_read(request):
            return 0, False
        state = self._state(request)
        most = chunks.loadable_tokens(request.num_tokens, self._plan.hit_block)
        if not state.may_load or state.salt is None or most <= n_computed:
            return 0, False
        answer = self._answer(state)
        if answer is None:
            return (None, False) if state.ask is not None else (0, False)
        size = self._plan.chunk_tokens
        full = [answer.present[i] for i, group in enumerate(self._plan.groups) if not group.window]
        windows = [(answer.present[i], group.window) for i, group in enumerate(self._plan.groups) if group.window]
        everything = (1 << answer.n) - 1
        for present in full:
            everything &= present
        tokens = chunks.longest_match(everything, windows, min(answer.n * size, most), size, n_computed) - n_computed
        worth = min((verdict.chunks(n_computed / size, self._margin) for verdict in answer.verdicts), default=answer.n) * size
        state.passed_over = tokens > 0 and worth < tokens + n_computed
        if state.passed_over:
            tokens = chunks.longest_match(everything, windows, min(worth, most), size, n_computed) - n_computed if worth > n_computed else 0
        state.offered = n_computed
        return (tokens, self._loads == "async") if tokens > 0 else (0, False)

    def _answer(self, state: _State) -> Answer | None:
        """The answer if there is one, a young one; starts and takes questions. None with state.ask: ask again later."""
        now = time.monotonic()
        if state.answer is not None and now - state.answer.at > self._refresh:
            self._forget_answer(state)
        if state.answer is None and not state.asked:
            self._ask(state)
        if state.ask is not None:
            self._poll(now)
            if state.ask.answer is not None:
                self._settle(state)
        return state.answer

    def _settle(self, state: _State) -> None:
        """Ends the question, with its answer or without."""
        ask, state.ask = state.ask, None
        if ask is None:
            return
        if ask.answer is None:
            self._lookups.drop(ask)
            return
        state.answer = ask.answer
        state.present = list(ask.answer.present)
        self._tell_known(state)

    def _tell_known(self, state: _State) -> None:
        """To the hints: how much of its chain every group has."""
        everything = -1
        for present in state.present:
            everything &= present
        n = (~everything & (everything + 1)).bit_length() - 1
        if n > 0:
            self._hints.request_known(state.request, state.keys[(n - 1) * self._plan.key_length:n * self._plan.key_length])

    def _hint_answered(self, done: kvasir.Completion) -> None:
        if done.user is self._hints:
            self._hints.answered(done)

    def _ask(self, state: _State) -> None:
        state.asked = True
        n = min(state.request.num_tokens // self._plan.chunk_tokens, len(state.request.block_hashes) // self._plan.hashes_per_chunk,
                KEYS_MAX)
        if n == 0:
            return
        state.keys = self._keys(state, n)
        state.ask = self._lookups.ask(state.keys, n, time.monotonic())

    def _keys(self, state: _State, n: int) -> bytes:
        assert state.salt is not None
        return chunks.chunk_keys(state.request.block_hashes, self._plan.hashes_per_chunk, n, state.salt)

    def _poll(self, now: float) -> None:
        """Once a step, however many requests ask."""
        if not self._polled:
            self._polled = True
            self._lookups.poll(now)

    def _forget_answer(self, state: _State) -> None:
        self._settle(state)
        if state.answer is not None:
            self._lookups.release(state.answer.leases)
        state.answer = None
        state.asked = False

    # ---- load ----

    def allocated(self, request: Any, blocks: Blocks, n_external: int) -> None:
        """update_state_after_alloc: orders the load of the n_external tokens that were offered, if the engine took them."""
        state = self._states.get(request.request_id)
        if state is None:
            return
        if state.ask is not None:  # scheduled without its answer
            self._settle(state)
        answer, state.answer = state.answer, None
        if answer is None:
            return
        self.counters.requests_recomputed += state.passed_over
        state.passed_over = False
        if n_external <= 0:
            self._lookups.release(answer.leases)
            return
        load = self._load(state, answer, blocks, state.offered, state.offered + n_external)
        self._orders.loads.append(load)
        state.leases = [lease for lease in answer.leases if lease]
        state.loading = not load.layerwise
        state.unconfirmed = self._plan.tp_size if load.layerwise else 0
        self.counters.requests_loaded += 1
        self.counters.tokens_loaded += n_external

    def _load(self, state: _State, answer: Answer, blocks: Blocks, begin: int, end: int) -> Load:
        size = self._plan.chunk_tokens
        last = -(-end // size)
        runs, leases = [], []
        for i, group in enumerate(self._plan.groups):
            first = begin // size
            if group.window:
                first = max(first, chunks.window_first(end, group.window) // size)
            slots = chunks.load_slots(blocks[group.id], group.block_size, size, first, last, begin, end)
            runs.append(chunks.make_run(i, state.keys, self._plan.key_length, first, slots, last - first))
            leases.append(answer.leases[i])
        return Load(state.request.request_id, state.epoch, self._loads == "layerwise", tuple(runs), tuple(leases))

    # ---- a step ----

    def step(self, output: Any) -> StepOrders:
        """build_connector_meta: this step's orders."""
        self._measure(output)
        preempted = list(output.preempted_req_ids or ())
        for name in preempted:
            state = self._states.get(name)
            if state is not None:
                self._life(state)
        table = output.kv_connector_block_state
        # The engine lets other requests use blocks that a layerwise load is just writing: in such a step nothing is saved, since
        # that load may yet fail. What became whole is saved with a later step.
        layerwise = any(load.layerwise for load in self._orders.loads)
        if self._saves and table is not None and not layerwise:
            for name, n_tokens in output.num_scheduled_tokens.items():
                state = self._states.get(name)
                if state is not None:
                    self._save(state, state.request.num_computed_tokens + n_tokens, lambda name=name: table.get_block_ids(name))
        orders, self._orders = self._orders, StepOrders()
        orders.preempted = preempted
        orders.identity = self._plan.weights, self._plan.files
        orders.idle = output.total_num_scheduled_tokens == 0
        self._poll(time.monotonic())
        self._polled = False
        return orders

    def _measure(self, output: Any) -> None:
        told = self._prefills.step(output.num_scheduled_tokens, self._computed, time.monotonic())
        if told is not None:
            self._hints.prefill_measured(*told)

    def _computed(self, name: str) -> int | None:
        state = self._states.get(name)
        return None if state is None or state.loading or state.unconfirmed else state.request.num_computed_tokens

    def _save(self, state: _State, n_computed: int, table: Callable[[], Blocks | None]) -> None:
        """Orders the puts of chunks that this step, or one before it, makes whole."""
        if state.unconfirmed or state.loading or state.salt is None or getattr(state.request, "resumable", False):
            return
        hashes = state.request.block_hashes
        whole = min(n_computed // self._plan.chunk_tokens, len(hashes) // self._plan.hashes_per_chunk)
        if whole <= state.saved:
            return
        if all(not any(chunks.gaps(present, state.saved, whole)) for present in state.present):
            state.saved = whole
            return
        blocks = table()
        if blocks is None:
            return
        if len(state.keys) < whole * self._plan.key_length:
            state.keys = self._keys(state, whole)
        # A node weighs each space for itself, and what one has is of no use where another was declined.
        chain = max(whole, state.request.num_tokens // self._plan.chunk_tokens) if self._plan.n_spaces == 1 else 0
        for i, group in enumerate(self._plan.groups):
            for run in self._runs(state, i, blocks[group.id], whole):
                self._orders.saves.append(Save(state.request.request_id, state.epoch, run, chain))
                state.saving += self._plan.tp_size
        state.saved = whole

    def _runs(self, state: _State, i: int, blocks: Sequence[int], whole: int) -> Iterable[chunks.Run]:
        group = self._plan.groups[i]
        for begin, end in chunks.gaps(state.present[i], state.saved, whole):
            slots, first = None, begin
            for chunk in range(begin, end + 1):
                more = None if chunk == end else chunks.save_slots(blocks, group.block_size, self._plan.chunk_tokens, chunk)
                if more is not None:
                    slots, first = (more, chunk) if slots is None else (slots + more, first)
                elif slots is not None:
                    yield chunks.make_run(i, state.keys, self._plan.key_length, first, slots, chunk - first)
                    slots = None

    def take(self, report: Report | None, received: Iterable[str], sent: Iterable[str] = ()) -> None:
        """update_connector_output: what the workers have ended."""
        for name in sent:
            self._hints.request_saved(name)
        for name in received:
            state = self._states.get(name)
            if state is not None:
                state.loading = False
                self._release(state)
        if report is None:
            return
        for key, place in report.failed.items():
            self._failed(key, place)
        for (name, epoch), n in report.loaded.items():
            self._confirmed(name, epoch, n)
        for (name, epoch), n in report.saved.items():
            state = self._states.get(name)
            if state is not None and state.epoch == epoch:
                state.saving -= n

    def _failed(self, key: tuple[str, int], place: int) -> None:
        """Chunks from `place` on did not come: they are computed, and then saved."""
        state = self._states.get(key[0]) or self._ending.get(key[0])
        if state is None or state.epoch != key[1]:
            return
        state.may_load = False
        state.saved = min(state.saved, place)
        state.present = [present & ((1 << place) - 1) for present in state.present]

    def _confirmed(self, name: str, epoch: int, n: int) -> None:
        state = self._states.get(name) or self._ending.get(name)
        if state is None or state.epoch != epoch:
            return
        state.unconfirmed = max(0, state.unconfirmed - n)
        if state.unconfirmed == 0:
            self._release(state)
            if self._ending.pop(name, None) is not None:
                if self._saves and state.may_load:  # else it was computed from blocks that did not come
                    self._save_last(state)
                self._orders.held.append(name)

    def _release(self, state: _State) -> None:
        self._lookups.release(state.leases)
        state.leases = []

    # ---- the end ----

    def finished(self, request: Any, blocks: Blocks, *, aborted: bool) -> bool:
        """request_finished: whether its blocks are to be held until the workers report it as sent."""
        state = self._states.pop(request.request_id, None)
        held = state is not None and self._end(state, blocks, aborted)
        self._hints.request_ended(request, state.keys if state is not None else b"", held=held, aborted=aborted)
        return held

    def _end(self, state: _State, blocks: Blocks, aborted: bool) -> bool:
        name = state.request.request_id
        self._forget_answer(state)
        if state.loading:
            self._release(state)
            self._orders.canceled.append(name)  # the engine holds the blocks until it is reported as received
            return False
        if state.epoch != state.request.num_preemptions or not any(blocks):
            self._release(state)
            return False  # preempted: nothing of it is held any more
        state.last_blocks = blocks
        if self._saves and not aborted and state.unconfirmed:
            self._ending[name] = state
            return True
        self._release(state)
        if self._saves and not aborted:
            self._save_last(state)
        if state.saving > 0:
            self._orders.held.append(name)
            return True
        return False

    def _save_last(self, state: _State) -> None:
        """What is whole and not yet saved when a request ends. Steps that the workers have not ended do not count."""
        n_computed = state.request.num_computed_tokens - getattr(state.request, "num_in_flight_tokens", 0)
        self._save(state, n_computed, lambda: state.last_blocks)

    # ---- reset ----

    def reset(self) -> None:
        """The weights may be others from now on than those that the spaces name: nothing is loaded or saved any more. Puts that were
        ordered go on: their bytes were computed before."""
        self._loads, self._saves = "off", False
        for state in self._states.values():
            self._forget_answer(state)

    # ---- state ----

    def _state(self, request: Any) -> _State:
        state = self._states.get(request.request_id)
        if state is None:
            state = _State(request, request.num_preemptions, [0] * len(self._plan.groups), self._adapters.salt(request))
            self._states[request.request_id] = state
        self._life(state)
        return state

    def _life(self, state: _State) -> None:
        """A preempted request begins anew: its blocks are gone, and its puts are cancelled."""
        if state.epoch == state.request.num_preemptions:
            return
        self._forget_answer(state)
        self._release(state)
        state.epoch = state.request.num_preemptions
        state.present = [0] * len(self._plan.groups)
        state.saved = state.saving = state.unconfirmed = 0
        state.may_load = True


def _may_read(request: Any) -> bool:
    """Requests that must see every token computed (prompt log-probabilities), and sessions whose input still grows, load
    nothing."""
    return not getattr(request, "skip_reading_prefix_cache", False) and not getattr(request, "resumable", False)
