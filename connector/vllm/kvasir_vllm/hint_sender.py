"""Sends what a request says of its program to the node, once it has ended: durations count from then. Advisory; nothing waits."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kvasir

from .counters import Counters
from .hints import hint_of_request
from .log import Limited

KEYS_MAX = 8192  # of kvs_send_hint
HELD_MAX = 4096  # hints that wait for a request's saves


class HintSender:
    """spaces: all of the engine's. One thread. Completions are taken by whoever polls the connector."""

    def __init__(self, connector: kvasir.Connector, spaces: Sequence[kvasir.Space], key_length: int, counters: Counters) -> None:
        self._connector = connector
        self._spaces = spaces
        self._most = KEYS_MAX * key_length
        self._counters = counters
        self._waiting: dict[str, tuple[kvasir.Hint, bytes]] = {}
        self._limited = Limited()

    def request_ended(self, request: Any, keys: bytes, *, held: bool) -> None:
        """keys: of the request's chunks. held: its saves are under way; the hint goes out when they have ended."""
        said = hint_of_request(getattr(request, "kv_transfer_params", None),
                               getattr(getattr(request, "sampling_params", None), "extra_args", None))
        if said.dropped:
            self._counters.hint_values_dropped += said.dropped
            self._limited.warn("hint", f"of a request's hint {said.dropped} values were dropped: {'; '.join(said.problems)}")
        if said.hint is None:
            return
        if held and len(self._waiting) < HELD_MAX:
            self._waiting[request.request_id] = (said.hint, keys)
        else:
            self._send(said.hint, keys)

    def request_saved(self, name: str) -> None:
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            self._send(*waiting)

    def _send(self, hint: kvasir.Hint, keys: bytes) -> None:
        try:
            if not keys:
                self._connector.hint(hint)
            for space in self._spaces if keys else ():
                self._connector.hint(hint, space=space, keys=keys[:self._most])
            self._counters.hints += 1
        except kvasir.Error as fault:
            self._limited.warn("send", f"a hint was not sent: {fault}")
