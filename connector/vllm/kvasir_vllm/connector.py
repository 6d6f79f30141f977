"""KvasirConnector: what vLLM loads. It only hands vLLM's calls on, to SchedulerSide in the engine-core process and to WorkerSide in
the workers, and measures what they cost.

    --kv-transfer-config '{"kv_connector": "KvasirConnector", "kv_connector_module_path": "kvasir_vllm.connector",
        "kv_role": "kv_both", "kv_load_failure_policy": "recompute",
        "kv_connector_extra_config": {"endpoint": "unix:/run/kvasir/kvasird.sock"}}'
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import kvasir
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    KVConnectorWorkerMetadata,
    SupportsHMA,
)
from vllm.v1.request import RequestStatus

from . import compat
from .counters import Counters
from .log import Limited, logger
from .messages import StepMetadata, WorkerMetadata
from .metrics import KvasirPromMetrics, KvasirStats
from .observations import Observer
from .opening import open_connector
from .options import Options, parse
from .orders import StepOrders
from .scheduler import SchedulerSide
from .space import Plan, describe, make_plan
from .times import Times
from .worker import WorkerSide

_T = TypeVar("_T")


class KvasirConnector(KVConnectorBase_V1, SupportsHMA):
    """Raises at start what a person has to set right: options, an engine that cannot be served. Never in a step: a failure of Kvasir
    is a miss, and is logged."""

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        version = compat.check()
        config = vllm_config.kv_transfer_config
        self.options = parse(config.kv_connector_extra_config)
        if self.options.log_level:
            logger.setLevel(self.options.log_level.upper())
        self.plan = make_plan(vllm_config, kv_cache_config, self.options, compat.facts(vllm_config, kv_cache_config, version))
        self.call_times = Times()  # of each call of vLLM's
        self.step_times = Times()  # of all calls of one step together
        self._step_seconds = 0.0
        self._limited = Limited()
        self._kvasir = open_connector(self.options)
        self._scheduler: SchedulerSide | None = None
        self._worker: WorkerSide | None = None
        if role == KVConnectorRole.SCHEDULER:
            self._scheduler = self._make_scheduler(config)
        else:
            self._worker = WorkerSide(self.plan, self.options, self._kvasir, _rank())
        self._observer = Observer("scheduler" if self._worker is None else f"worker {_rank()}", self._look)

    def _make_scheduler(self, config: Any) -> SchedulerSide:
        loads = _loads(self.options, self.plan, self._vllm_config) if config.is_kv_consumer else "off"
        saves = self.options.save == "on" and config.is_kv_producer
        if loads != "off" and config.kv_load_failure_policy != "recompute":
            logger.error('kvasir: kv_load_failure_policy is "%s": a chunk that is lost between look-up and load FAILS its request. '
                         'Set "kv_load_failure_policy": "recompute" beside "kv_connector"', config.kv_load_failure_policy)
        spaces = [[self._kvasir.space(describe(self.plan, group, rank)) for rank in range(self.plan.tp_size)]
                  for group in self.plan.groups]
        for group, (space, *_) in zip(self.plan.groups, spaces):
            logger.info("kvasir: KV cache group %d: space %s, %s", group.id, space.digest.hex(), space.description)
        logger.info("kvasir: %s: load %s, save %s, chunks of %d tokens", self.options.endpoint, loads, "on" if saves else "off",
                    self.plan.chunk_tokens)
        return SchedulerSide(self.plan, self.options, self._kvasir, spaces, loads=loads, saves=saves)

    # ---- what the calls cost, and that none raises ----

    def _call(self, what: Callable[[], _T], instead: _T) -> _T:
        """One call of vLLM's. Refusals of the binding are what the store can do to a step; anything else is a bug and is shown."""
        timer = Times.now()
        try:
            return what()
        except kvasir.Error as fault:
            self._limited.warn("call", f"{fault}")
            return instead
        finally:
            seconds = Times.now() - timer
            self.call_times.record(seconds)
            self._step_seconds += seconds

    def _end_step(self) -> None:
        self.step_times.record(self._step_seconds)
        self._step_seconds = 0.0

    @property
    def counters(self) -> Counters:
        """Of this process's side, since start."""
        side = self._scheduler or self._worker
        assert side is not None
        return side.counters

    # ---- metrics ----

    def _look(self) -> tuple[bool, int, int]:
        counters = self._kvasir.counters()
        return self._kvasir.usable, counters.in_flight, counters.reconnects

    def get_kv_connector_stats(self) -> KvasirStats | None:
        side = self._worker
        loads, failures = (side.load_times, side.failures) if side is not None else (Times(), {})
        data = self._call(lambda: self._observer.take(self.counters, self.step_times, loads, failures), None)
        return KvasirStats(data) if data is not None else None

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KvasirStats:
        return KvasirStats(data or {})

    @classmethod
    def build_prom_metrics(cls, vllm_config: Any, metric_types: Any, labelnames: list[str],
                           per_engine_labelvalues: dict[int, list[object]]) -> KvasirPromMetrics:
        return KvasirPromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    # ---- both sides ----

    @property
    def requires_kv_delivery(self) -> bool:
        return False  # a save that is dropped is a miss later

    @classmethod
    def requires_piecewise_for_cudagraph(cls, extra_config: dict[str, Any]) -> bool:
        return extra_config.get("load") == "layerwise"

    def shutdown(self) -> None:
        if not self._kvasir.closed:
            done = {name: count for name, count in self.counters.as_dict().items() if count}
            logger.info("kvasir: %s: calls took %.0f us a step (median; %.0f us in 99 of 100 steps); %s", self._role.name.lower(),
                        self.step_times.p50 * 1e6, self.step_times.p99 * 1e6, done)
        self._kvasir.close()

    # ---- scheduler side ----

    @property
    def _scheduling(self) -> SchedulerSide:
        assert self._scheduler is not None
        return self._scheduler

    def on_new_request(self, request: Any) -> None:
        self._call(lambda: self._scheduling.on_new_request(request), None)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        return self._call(lambda: self._scheduling.match(request, num_computed_tokens), (0, False))

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        self._call(lambda: self._scheduling.allocated(request, blocks.get_block_ids(), num_external_tokens), None)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        orders = self._call(lambda: self._scheduling.step(scheduler_output), None)
        self._end_step()
        return StepMetadata(orders or StepOrders())

    def update_connector_output(self, connector_output: Any) -> None:
        meta = connector_output.kv_connector_worker_meta
        report = meta.report if isinstance(meta, WorkerMetadata) else None
        received, sent = connector_output.finished_recving or (), connector_output.finished_sending or ()
        self._call(lambda: self._scheduling.take(report, received, sent), None)

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        return self.request_finished_all_groups(request, (block_ids,))

    def request_finished_all_groups(self, request: Any, block_ids: tuple[list[int], ...]) -> tuple[bool, dict[str, Any] | None]:
        aborted = request.status in (RequestStatus.FINISHED_ABORTED, RequestStatus.FINISHED_ERROR, RequestStatus.FINISHED_IGNORED)
        return self._call(lambda: self._scheduling.finished(request, block_ids, aborted=aborted), False), None

    def reset_cache(self) -> bool | None:
        """vLLM calls this when its caches are to be forgotten, above all since weights were changed in place, which this engine's
        spaces cannot follow: from here on it works without the store."""
        logger.warning("kvasir: a reset of caches was asked for. Weights may have changed under the engine, so that it loads and saves "
                       "nothing from now on; what is stored stays. Restart the engine to use the store again")
        self._call(self._scheduling.reset, None)
        return True

    # ---- worker side ----

    @property
    def _working(self) -> WorkerSide:
        assert self._worker is not None
        return self._worker

    def _orders(self) -> StepOrders:
        meta = self._connector_metadata
        assert isinstance(meta, StepMetadata)
        return meta.orders

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        self._working.register(kv_caches, self._kv_cache_config.num_blocks)

    def handle_preemptions(self, kv_connector_metadata: KVConnectorMetadata) -> None:
        assert isinstance(kv_connector_metadata, StepMetadata)
        if kv_connector_metadata.orders.preempted:
            self._call(lambda: self._working.preempt(kv_connector_metadata.orders), None)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        self._call(lambda: self._working.start_loads(self._orders()), None)

    def wait_for_layer_load(self, layer_name: str) -> None:
        if self._working.loads_by_layer:
            self._call(lambda: self._working.wait_layer(layer_name), None)

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Chunks are saved whole, after the forward."""

    def wait_for_save(self) -> None:
        self._call(lambda: self._working.start_saves(self._orders()), None)

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        orders = self._orders() if self.has_connector_metadata() else StepOrders()
        self._working.rest(orders)  # by intent, in a step with nothing else to do: not a cost of the connector's calls
        sent, received, failed = self._call(self._working.results, (set(), set(), set()))
        self._end_step()
        return KVConnectorTransferResults(finished_sending=sent, finished_recving=received, failed_recving=failed)

    def get_block_ids_with_load_errors(self) -> set[int]:
        return self._working.invalid_blocks()

    def build_connector_worker_meta(self) -> KVConnectorWorkerMetadata | None:
        report = self._working.report()
        return WorkerMetadata(report) if report is not None else None


def _loads(options: Options, plan: Plan, vllm_config: Any) -> str:
    if options.load != "layerwise":
        return options.load
    if not plan.fails_by_block:
        logger.warning("kvasir: load: layerwise is for models with one KV cache group, of full attention: async is used")
        return "async"
    if vllm_config.scheduler_config.async_scheduling:
        logger.warning("kvasir: load: layerwise and async scheduling do not go together (a step may be under way that builds on a "
                       "load that failed): async is used; --no-async-scheduling allows it")
        return "async"
    return "layerwise"


def _rank() -> int:
    from vllm.distributed.parallel_state import get_tensor_model_parallel_rank

    return int(get_tensor_model_parallel_rank())
