"""Sends what a request says of its program to the node: whose it is once a chunk of it is known to be there, and what the program waits
for once it has ended: durations count from then. Advisory; nothing waits, and nothing fails for it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import kvasir
from kvasir import Hint, HintOutcome, WaitKind

from .counters import Counters
from .hints import RequestHint, hint_of_request
from .log import Limited
from .options import Options

KEYS_MAX = 256  # of a hint: the last ones. Any part of the chain will do, and the last chunks may not have been saved
HELD_MAX = 4096  # requests that something is remembered of
UNDER_WAY_MAX = 1024  # hints without an answer, and a quarter of the connector's operations: a node that stands still is not to use them up

_ANSWERS = {HintOutcome.ACCEPTED: "hints_accepted", HintOutcome.CLIPPED: "hints_clipped", HintOutcome.DEFERRED: "hints_deferred",
            HintOutcome.REJECTED: "hints_rejected", HintOutcome.MISSING: "hints_missing"}
_ANSWER_MAX = 8192  # tokens of an answer, its last ones, that are looked through for a call of a tool


class HintSender:
    """spaces: all of the engine's. One thread. Completions are taken by whoever polls the connector: those whose `user` is this object
    are for `answered`. With `hints: off` it sends nothing, and reads nothing."""

    def __init__(self, connector: kvasir.Connector, spaces: Sequence[kvasir.Space], key_length: int, counters: Counters,
                 options: Options) -> None:
        self._connector = connector
        self._spaces = spaces
        self._key_length = key_length
        self._counters = counters
        self._on = options.hints == "on"
        self._tool_tokens = frozenset(options.tool_tokens)
        self._under_way_max = max(len(spaces), min(UNDER_WAY_MAX, options.max_operations // 4))
        self._known: dict[str, tuple[RequestHint, bool]] = {}  # what begun requests say; was the node told whose
        self._waiting: dict[str, tuple[Hint, bytes]] = {}
        self._under_way = 0
        self._limited = Limited()

    def is_new(self, name: str) -> bool:
        """Whether `request_known` would do something."""
        return self._on and name not in self._known and len(self._known) < HELD_MAX

    def request_known(self, request: Any, key: bytes) -> None:
        """Some of the request's chain is there; key: of the last chunk of that. The first call tells the node whose it is."""
        name = request.request_id
        if not self.is_new(name):
            return
        said, named = self._read(request), False
        if said.hint is not None and said.hint.program is not None:
            naming = Hint(program=said.hint.program, parent_program=said.hint.parent_program, turn=said.hint.turn)
            named = self._send(naming, key)
            self._counters.hints_named += named
        self._known[name] = said, named

    def request_ended(self, request: Any, keys: bytes | Callable[[], bytes], *, held: bool, aborted: bool = False) -> None:
        """keys: of the request's chunks. held: its saves are under way; the hint goes out when they have ended."""
        if not self._on:
            return
        name = request.request_id
        known = self._known.pop(name, None)
        said, named = known if known is not None else (self._read(request), False)
        if said.hint is None:
            return
        if said.hint.program is None:
            self._counters.hints_rejected += 1  # as the node would: it knows programs by their names
            return
        hint = said.hint if aborted else self._with_wait(said.hint, request)
        if named and not _says_more(hint):
            return  # the node knows whose it is; the same again would count as another request
        if callable(keys):
            keys = keys()
        if held and len(self._waiting) < HELD_MAX:
            self._waiting[name] = (hint, keys[-KEYS_MAX * self._key_length:])
        else:
            self._send_end(hint, keys)

    def request_saved(self, name: str) -> None:
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            self._send_end(*waiting)

    def prefill_measured(self, tokens: int, begin: int, seconds: float) -> None:
        """The engine has computed so many tokens behind `begin` others in so long."""
        if not self._on or self._under_way + len(self._spaces) > self._under_way_max or not self._connector.usable:
            return
        hint = Hint(prefill_tokens=tokens, prefill_from=begin, prefill_time=seconds)
        try:
            for space in self._spaces:
                self._connector.hint(hint, space=space, keys=None, user=self)
                self._under_way += 1
        except kvasir.Error as fault:
            self._limited.warn("send", f"a hint was not sent: {fault}")
            return
        self._counters.hints_of_prefills += 1

    def answered(self, done: kvasir.Completion) -> None:
        self._under_way -= 1
        is_answer = done.status >= 0 or done.outcome == HintOutcome.REJECTED
        field = _ANSWERS.get(done.outcome, "hints_failed") if is_answer else "hints_failed"
        setattr(self._counters, field, getattr(self._counters, field) + 1)

    def _read(self, request: Any) -> RequestHint:
        said = hint_of_request(getattr(request, "kv_transfer_params", None),
                               getattr(getattr(request, "sampling_params", None), "extra_args", None),
                               getattr(request, "kv_hints", None), getattr(request, "session_id", None))
        self._counters.hint_actions_passed_over += said.passed_over
        if said.dropped:
            self._counters.hint_values_dropped += said.dropped
            self._limited.warn("hint", f"of a request's hint {said.dropped} values were dropped: {'; '.join(said.problems)}")
        return said

    def _with_wait(self, hint: Hint, request: Any) -> Hint:
        """What it waits for, if it does not say so and its answer does."""
        if not self._tool_tokens or hint.wait != WaitKind.NONE or hint.close:
            return hint
        answer = getattr(request, "output_token_ids", ())[-_ANSWER_MAX:]
        return hint if self._tool_tokens.isdisjoint(answer) else replace(hint, wait=WaitKind.TOOL)

    def _send_end(self, hint: Hint, keys: bytes) -> None:
        if self._send(hint, keys):
            self._counters.hints += 1

    def _send(self, hint: Hint, keys: bytes) -> bool:
        """Whether it is on its way."""
        if hint.close or hint.wait == WaitKind.END:
            keys = b""  # the program ends, wherever it is
        wanted = len(self._spaces) if keys else 1
        if self._under_way + wanted > self._under_way_max or not self._connector.usable:
            self._counters.hints_failed += wanted
            return False
        sent = 0
        try:
            for space in self._spaces if keys else (None,):
                self._connector.hint(hint, space=space, keys=keys[-KEYS_MAX * self._key_length:] if keys else None, user=self)
                sent += 1
        except kvasir.Error as fault:
            self._counters.hints_failed += wanted - sent
            self._limited.warn("send", f"a hint was not sent: {fault}")
        self._under_way += sent
        return sent > 0


def _says_more(hint: Hint) -> bool:
    """More than whose it is."""
    return hint.wait != WaitKind.NONE or hint.close or hint.priority is not None or hint.return_p50 > 0 or hint.return_p90 > 0 or \
        hint.ttl > 0
