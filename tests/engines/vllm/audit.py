"""Connectors for tests: Kvasir's, and beside it an auditor who does not trust it.

The auditor keeps no secret with the connector: from what vLLM tells any connector (the hashes, blocks and token counts of
requests) he knows which blocks the engine computes and which a load shall fill. In the worker he hashes the bytes of a
block when it has been computed, and again when a load of it is reported as done, and writes both down, one line each, to
a file of his own in the folder $KVASIR_TEST_AUDIT:

    C|L|S <rank> <KV group> <block hash> <digest of the block's bytes in all layers of the group>

A block's bytes may differ from one computation to the next (sums in another order), so what was loaded must equal what
*some* engine computed for the same hash: read() tells.

A file at the path $KVASIR_TEST_GAP makes the worker stop before it starts loads: it makes a file of that name with ".reached"
and waits until the first one is gone, 20 s at most. So a test can do what it likes between a look-up and its loads.

A file at the path $KVASIR_TEST_SPOIL makes the auditor a saboteur: while it is there, bytes of loaded blocks are changed
before they are hashed and used; the letter is then S. Tests must notice.
"""
from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TextIO

Place = tuple[int, str, int]  # KV group, hash of the block, block


class Audit:
    """A mixin before a KVConnectorBase_V1 in the bases of a class."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
        super().__init__(vllm_config, role, kv_cache_config)  # type: ignore[call-arg]
        self.au_groups = kv_cache_config.kv_cache_groups
        self.au_sizes = [group.kv_cache_spec.block_size for group in self.au_groups]
        # Tokens of one of a request's block hashes; the groups' block sizes are multiples of it.
        self.au_hash_size = resolve_kv_cache_block_sizes(kv_cache_config, vllm_config)[1]
        self.au_rank = vllm_config.parallel_config.rank
        # Scheduler side.
        self.au_requests: dict[str, Any] = {}
        self.au_computed: dict[str, int] = {}  # tokens the engine had when it asked
        self.au_async: dict[str, bool] = {}
        self.au_blocks: dict[str, list[list[int]]] = {}
        self.au_next: dict[str, list[int]] = {}  # first block a group that is not yet told as computed
        self.au_loads: dict[str, tuple[bool, list[Place]]] = {}
        self.au_last: list[Place] = []  # made whole by the last steps of requests that have ended
        # Worker side.
        self.au_layers: list[list[Any]] = []
        self.au_pending: dict[str, list[Place]] = {}
        self.au_lines: list[tuple[str, Place, str]] = []
        self.au_sync: list[Place] = []
        self.au_file: TextIO | None = None
        self.au_letter = "L"
        self.au_spoil = os.environ.get("KVASIR_TEST_SPOIL", "")

    # ---- scheduler ----

    def _au_hash(self, request: Any, group: int, index: int) -> str | None:
        """The hash of the group's index-th block, None while it is not known."""
        last = (index + 1) * self.au_sizes[group] // self.au_hash_size - 1
        return bytes(request.block_hashes[last]).hex() if last < len(request.block_hashes) else None

    def on_new_request(self, request: Any) -> None:
        self.au_requests[request.request_id] = request
        super().on_new_request(request)  # type: ignore[misc]

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> Any:
        answer = super().get_num_new_matched_tokens(request, num_computed_tokens)  # type: ignore[misc]
        self.au_computed[request.request_id] = num_computed_tokens
        self.au_async[request.request_id] = bool(answer[1])
        return answer

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        super().update_state_after_alloc(request, blocks, num_external_tokens)  # type: ignore[misc]
        if num_external_tokens <= 0:
            return
        name = request.request_id
        begin, places = self.au_computed[name], []
        for group, ids in enumerate(blocks.get_block_ids()):
            size = self.au_sizes[group]
            for i in range(begin // size, (begin + num_external_tokens) // size):
                block_hash = self._au_hash(request, group, i)
                # Block 0 stands for one that a sliding window does not need.
                if i < len(ids) and ids[i] != 0 and block_hash is not None:
                    places.append((group, block_hash, ids[i]))
        self.au_loads[name] = (self.au_async[name], places)

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        computed: list[Place] = []
        scheduled = scheduler_output.num_scheduled_tokens
        for new in scheduler_output.scheduled_new_reqs:
            self.au_blocks[new.req_id] = [list(ids) for ids in new.block_ids]
            self.au_next[new.req_id] = [new.num_computed_tokens // size for size in self.au_sizes]
            self._au_advance(new.req_id, new.num_computed_tokens + scheduled[new.req_id], computed)
        cached = scheduler_output.scheduled_cached_reqs
        for i, name in enumerate(cached.req_ids):
            tokens = cached.num_computed_tokens[i]
            if name in cached.resumed_req_ids:
                self.au_blocks[name] = [[] for _ in self.au_sizes]
                self.au_next[name] = [tokens // size for size in self.au_sizes]
            # Back, where a load failed in the very step that used it.
            self.au_next[name] = [min(n, tokens // size) for n, size in zip(self.au_next[name], self.au_sizes)]
            if cached.new_block_ids[i] is not None:
                for ids, more in zip(self.au_blocks[name], cached.new_block_ids[i]):
                    ids += more
            self._au_advance(name, tokens + scheduled[name], computed)
        meta = super().build_connector_meta(scheduler_output)  # type: ignore[misc]
        meta.audit = (self.au_loads, computed, self.au_last)
        self.au_loads, self.au_last = {}, []
        return meta

    def request_finished_all_groups(self, request: Any, block_ids: tuple[list[int], ...]) -> Any:
        name = request.request_id
        if name in self.au_next and any(block_ids):
            in_flight = getattr(request, "num_in_flight_tokens", 0)
            self._au_advance(name, request.num_computed_tokens - in_flight, self.au_last)
        for known in (self.au_requests, self.au_computed, self.au_async, self.au_blocks, self.au_next, self.au_loads):
            known.pop(name, None)
        return super().request_finished_all_groups(request, block_ids)  # type: ignore[misc]

    def _au_advance(self, name: str, tokens: int, places: list[Place]) -> None:
        """Blocks that are whole with so many tokens. Their hashes may be known only some steps later, when the tokens are."""
        request = self.au_requests.get(name)
        if request is None:
            return
        for group, size in enumerate(self.au_sizes):
            ids, i = self.au_blocks[name][group], self.au_next[name][group]
            while (i + 1) * size <= tokens and i < len(ids):
                block_hash = self._au_hash(request, group, i)
                if block_hash is None:
                    break
                if ids[i] != 0:
                    places.append((group, block_hash, ids[i]))
                i += 1
            self.au_next[name][group] = i

    # ---- worker ----

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        super().register_kv_caches(kv_caches)  # type: ignore[misc]
        self.au_layers = [[(layer, kv_caches[layer]) for layer in group.layer_names if layer in kv_caches]
                          for group in self.au_groups]
        folder = os.environ["KVASIR_TEST_AUDIT"]
        self.au_file = open(os.path.join(folder, f"{os.getpid()}"), "a", buffering=1)

    def _au_digest(self, place: Place) -> str:
        import torch
        digest = hashlib.blake2b(digest_size=16)
        for _, cache in self.au_layers[place[0]]:
            digest.update(cache[place[2]].contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _au_spoil_blocks(self, places: list[Place], layer: str | None = None) -> str:
        """Changes loaded bytes, if it is asked for: K and V of every token, in one layer or all. Returns the letter."""
        if not (self.au_spoil and os.path.exists(self.au_spoil)):
            return "L"
        for place in places:
            for name, cache in self.au_layers[place[0]]:
                if layer is None or name == layer:
                    cache[place[2]].neg_()

    def bind_connector_metadata(self, connector_metadata: Any) -> None:
        super().bind_connector_metadata(connector_metadata)  # type: ignore[misc]
        # Before this step overwrites what is free now.
        for place in connector_metadata.audit[2]:
            self._au_write("C", place, self._au_digest(place))

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        if self._get_connector_metadata().audit[0]:  # type: ignore[attr-defined]
            self._au_gap()
        super().start_load_kv(forward_context, **kwargs)  # type: ignore[misc]
        loads, _, _ = self._get_connector_metadata().audit  # type: ignore[attr-defined]
        for name, (asynchronous, places) in loads.items():
            if asynchronous:
                self.au_pending[name] = places
            else:
                self.au_sync += places

    @staticmethod
    def _au_gap() -> None:
        gap = os.environ.get("KVASIR_TEST_GAP", "")
        if not (gap and os.path.exists(gap)):
            return
        open(gap + ".reached", "w").close()
        deadline = time.monotonic() + 20
        while os.path.exists(gap) and time.monotonic() < deadline:
            time.sleep(0.01)

    def wait_for_layer_load(self, layer_name: str) -> None:
        super().wait_for_layer_load(layer_name)  # type: ignore[misc]
        if self.au_sync:
            self.au_letter = self._au_spoil_blocks(self.au_sync, layer_name)

    def wait_for_save(self) -> None:
        _, computed, _ = self._get_connector_metadata().audit  # type: ignore[attr-defined]
        # Before the connector can start to save, and so before anybody can load.
        for place in computed:
            self._au_write("C", place, self._au_digest(place))
        super().wait_for_save()  # type: ignore[misc]
        self.au_lines += [(self.au_letter, place, self._au_digest(place)) for place in self.au_sync]
        self.au_sync = []

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        results = super().get_transfer_results(finished_req_ids)  # type: ignore[misc]
        # Nobody uses the blocks of a request that has ended.
        for name in finished_req_ids:
            self.au_pending.pop(name, None)
        failed = results.failed_recving or set()
        for name in results.finished_recving or ():
            places = self.au_pending.pop(name, [])
            if name not in failed:
                letter = self._au_spoil_blocks(places)
                self.au_lines += [(letter, place, self._au_digest(place)) for place in places]
        for name in failed:
            self.au_pending.pop(name, None)
        return results

    def get_block_ids_with_load_errors(self) -> set[int]:
        failed = super().get_block_ids_with_load_errors()  # type: ignore[misc]
        # vLLM computes these again, and everything behind them.
        for kind, place, digest in self.au_lines:
            if place[2] not in failed:
                self._au_write(kind, place, digest)
        self.au_lines = []
        return failed

    def _au_write(self, kind: str, place: Place, digest: str) -> None:
        assert self.au_file is not None
        self.au_file.write(f"{kind} {self.au_rank} {place[0]} {place[1]} {digest}\n")


@dataclass
class Findings:
    computed: int = 0  # blocks, again and again where they were
    loaded: int = 0
    spoiled: int = 0  # blocks that a saboteur changed, where the hash tells it
    wrong: list[str] = field(default_factory=list)  # loaded bytes that nobody computed for this hash


def read(folder: str) -> Findings:
    """What the auditors of all engines that share the folder found so far."""
    computed: dict[str, set[str]] = defaultdict(set)
    loaded: list[tuple[str, str]] = []
    spoiled: list[tuple[str, str]] = []
    findings = Findings()
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as file:
            for line in file:
                if not line.endswith("\n"):
                    continue  # of an engine that was killed
                kind, block, digest = line[0], *line[2:].rsplit(" ", 1)
                if kind == "C":
                    computed[block].add(digest)
                    findings.computed += 1
                else:
                    (loaded if kind == "L" else spoiled).append((block, digest))
    findings.loaded = len(loaded)
    findings.spoiled = sum(digest not in computed[block] for block, digest in spoiled)
    findings.wrong = [block for block, digest in loaded if digest not in computed[block]]
    return findings
