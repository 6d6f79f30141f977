"""A small engine around both sides of KvasirConnector: requests, blocks of two layers, and steps in vLLM's order of calls.

It has no model: "computing" a token writes bytes that depend on all tokens up to it, so that a wrong byte is seen."""
from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from binding_fixture import WAIT, until  # also puts connector/vllm on the path

import kvasir
from kvasir_vllm.options import Options
from kvasir_vllm.orders import Report, StepOrders
from kvasir_vllm.scheduler import SchedulerSide
from kvasir_vllm.space import Group, Plan, describe
from kvasir_vllm.worker import WorkerSide

BLOCK = 4  # tokens
CHUNK = 8  # tokens: two blocks
PAGE = 64  # bytes of a block in a layer
LAYERS = 2
_models = itertools.count()


class Tensor:
    """As much of a torch tensor as regions are made from."""

    def __init__(self, n_blocks: int, device: str = "cpu") -> None:
        self.data = bytearray(n_blocks * PAGE)
        self.shape = (n_blocks, PAGE // 4)
        self.device = SimpleNamespace(type=device)
        self._region = kvasir.Region.of(self.data, PAGE)

    def stride(self) -> tuple[int, ...]:
        return (PAGE // 4, 1)

    def element_size(self) -> int:
        return 4

    def data_ptr(self) -> int:
        return self._region.base


@dataclass(eq=False)
class Request:
    """As much of vLLM's Request as the connector reads."""

    request_id: str
    tokens: list[int]
    num_computed_tokens: int = 0
    num_in_flight_tokens: int = 0
    num_preemptions: int = 0
    skip_reading_prefix_cache: bool = False
    resumable: bool = False
    blocks: tuple[list[int], ...] = ()
    kv_transfer_params: dict[str, Any] | None = None
    lora_request: Any = None
    sampling_params: Any = None
    kv_hints: Any = None
    session_id: str | None = None
    output_token_ids: list[int] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def block_hashes(self) -> list[bytes]:
        hashes, parent = [], b""
        for i in range(0, len(self.tokens) // BLOCK * BLOCK, BLOCK):
            parent = hashlib.sha256(parent + repr(self.tokens[i:i + BLOCK]).encode()).digest()
            hashes.append(parent)
        return hashes


def make_plan(*windows: int, tp_size: int = 1, model: str | None = None) -> Plan:
    """A plan with a group for each window (0: full attention), of LAYERS layers each."""
    groups = tuple(Group(i, window, BLOCK, tuple(f"g{i}.layer{n}" for n in range(LAYERS)), (PAGE,) * LAYERS, "", "test")
                   for i, window in enumerate(windows or (0,)))
    return Plan(groups, len(groups), CHUNK, BLOCK, BLOCK, 32, "sha256", tp_size,
                model or f"sides-{os.getpid()}-{next(_models)}", "", bytes(32), "test")


@dataclass
class Ended:
    """What the engine heard."""

    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    invalid: set[int] = field(default_factory=set)


class Engine:
    """One engine on a node: a scheduler side and a worker side, each with a connector of its own."""

    def __init__(self, test: Any, plan: Plan, *, n_blocks: int = 64, loads: str = "async", saves: bool = True, **options: Any) -> None:
        self.plan = plan
        self.options = Options(endpoint=test.node.endpoint, **options)
        self.scheduler_connector = test.connect()
        spaces = [[self.scheduler_connector.space(describe(plan, group, rank)) for rank in range(plan.tp_size)]
                  for group in plan.groups]
        self.scheduler = SchedulerSide(plan, self.options, self.scheduler_connector, spaces, loads=loads, saves=saves)
        self.workers, self.tensors = [], []
        for rank in range(plan.tp_size):
            worker = WorkerSide(plan, self.options, test.connect(), rank)
            tensors = {name: Tensor(n_blocks) for group in plan.groups for name in group.layers}
            worker.register(tensors, n_blocks)
            self.workers.append(worker)
            self.tensors.append(tensors)
        self.ended = Ended()
        self._next_block = 1  # 0 is the null block
        self._received: dict[str, int] = {}
        self._sent: dict[str, int] = {}

    # ---- blocks ----

    def allocate(self, request: Request, *, shared: tuple[list[int], ...] | None = None) -> None:
        """Blocks for all of the request's tokens; those of its own prefix hit are given."""
        blocks = []
        for i in range(len(self.plan.groups)):
            own = list(shared[i]) if shared else []
            need = -(-request.num_tokens // BLOCK) - len(own)
            blocks.append(own + list(range(self._next_block, self._next_block + need)))
            self._next_block += need
        request.blocks = tuple(blocks)

    def page(self, rank: int, layer: str, block: int) -> bytes:
        return bytes(self.tensors[rank][layer].data[block * PAGE:(block + 1) * PAGE])

    def compute(self, request: Request, begin: int, end: int) -> None:
        """Fills the blocks of tokens [begin, end), both multiples of BLOCK."""
        for i, group in enumerate(self.plan.groups):
            for at in range(begin // BLOCK, end // BLOCK):
                for rank, tensors in enumerate(self.tensors):
                    for layer in group.layers:
                        block = request.blocks[i][at]
                        tensors[layer].data[block * PAGE:(block + 1) * PAGE] = content(request, layer, at, rank)

    def holds(self, request: Request, begin: int, end: int, group: int = 0) -> bool:
        """Whether the blocks of tokens [begin, end) hold what computing them gives."""
        return all(self.page(rank, layer, request.blocks[group][at]) == content(request, layer, at, rank)
                   for at in range(begin // BLOCK, end // BLOCK) for rank in range(self.plan.tp_size)
                   for layer in self.plan.groups[group].layers)

    # ---- steps ----

    def match(self, request: Request, n_computed: int = 0) -> tuple[int | None, bool]:
        """Asks until there is an answer, with a step between."""
        found: list[tuple[int | None, bool]] = []

        def ask() -> bool:
            found.append(self.scheduler.match(request, n_computed))
            if found[-1][0] is None:
                self.step()
            return found[-1][0] is not None

        assert until(ask)
        return found[-1]

    def step(self, scheduled: dict[str, int] | None = None, requests: list[Request] | None = None, preempted: tuple[str, ...] = (),
             hooks: bool = True, deferred: bool = False) -> StepOrders:
        """One step of all processes; returns its orders. deferred: saves start after the results were asked for, as vLLM does
        with speculative decoding."""
        by_name = {request.request_id: request for request in requests or []}
        table = SimpleNamespace(get_block_ids=lambda name: by_name[name].blocks)
        output = SimpleNamespace(num_scheduled_tokens=scheduled or {}, preempted_req_ids=set(preempted),
                                 kv_connector_block_state=table, total_num_scheduled_tokens=sum((scheduled or {}).values()))
        orders = self.scheduler.step(output)
        for name, n in (scheduled or {}).items():
            by_name[name].num_computed_tokens += n
        reports, received, all_sent = Report(), [], []
        for worker in self.workers:
            worker.preempt(orders)
            worker.start_loads(orders)
            if hooks and worker.loads_by_layer:
                for group in self.plan.groups:
                    for layer in group.layers:
                        worker.wait_layer(layer)
            if not deferred:
                worker.start_saves(orders)
            worker.rest(orders)
            sent, got, failed = worker.results()
            self.ended.invalid |= worker.invalid_blocks()
            self.ended.failed += failed
            reports.add(worker.report() or Report())
            if deferred:
                worker.start_saves(orders)
            all_sent += _all_ranks(self._sent, sent, self.plan.tp_size)
            received += _all_ranks(self._received, got, self.plan.tp_size)
        self.ended.received += received
        self.ended.sent += all_sent
        self.scheduler.take(reports, received, all_sent)
        return orders

    def step_until(self, condition: Any) -> None:
        def once() -> bool:
            self.step()
            return bool(condition())

        assert until(once, WAIT), "it does not come to an end"

    def run(self, request: Request, begin: int = 0) -> None:
        """Computes a whole request from token `begin` on in one step, and lets it end; its puts are waited for."""
        n = request.num_tokens - begin
        request.num_computed_tokens = begin
        self.compute(request, begin, request.num_tokens // BLOCK * BLOCK)
        self.step({request.request_id: n}, [request])
        if self.scheduler.finished(request, request.blocks, aborted=False):
            self.step_until(lambda: request.request_id in self.ended.sent)

    def store(self, request: Request) -> None:
        """A request that finds nothing and is saved."""
        assert self.match(request)[0] == 0
        self.allocate(request)
        self.scheduler.allocated(request, request.blocks, 0)
        self.run(request)


def _all_ranks(counts: dict[str, int], names: set[str], n_ranks: int) -> list[str]:
    """What vLLM's aggregator does: a request has ended when each rank said so."""
    whole = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        if counts[name] == n_ranks:
            del counts[name]
            whole.append(name)
    return whole


def content(request: Request, layer: str, block: int, rank: int) -> bytes:
    """The page of a block: depends on all tokens up to its end."""
    tokens = repr(request.tokens[:(block + 1) * BLOCK])
    return hashlib.shake_128(f"{layer}/{rank}/{tokens}".encode()).digest(PAGE)


def prompt(n: int, seed: int = 0) -> list[int]:
    return [(seed * 1000003 + i * 7919) % 50021 for i in range(n)]
