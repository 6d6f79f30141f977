"""KvasirTier: Kvasir below vLLM's own tiered offloading. vLLM moves KV between the accelerator and host memory, Kvasir between host
memory and the node.

    --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": {
        "spec_name": "TieringOffloadingSpec", "cpu_bytes_to_use": 17179869184, "block_size": 256,
        "secondary_tiers": [{"type": "KvasirTier", "module_path": "kvasir_vllm.tier", "endpoint": "unix:/run/kvasir/kvasird.sock"}]}}'

Everything here runs on the scheduler's thread, in the engine core's process, and nothing blocks but drain_jobs and shutdown: the library's
own thread moves the bytes, straight between the node and the rows of the primary tier. No failure of Kvasir leaves this class: it is a miss,
or a job that failed.
"""
from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import kvasir
from vllm.distributed.kv_transfer.kv_connector.v1.offloading.metrics import OffloadingConnectorStats
from vllm.platforms import current_platform
from vllm.v1.kv_offload.base import (Locality, LookupResult, Medium, OffloadingEvent, OffloadingMetricMetadata, OffloadKey, ReqContext,
                                     RequestOffloadingContext, ScheduleEndContext)
from vllm.v1.kv_offload.tiering.base import JobResult, SecondaryTierManager, TransferJob

from . import compat, tier_metrics, tier_space
from .breaker import Breaker
from .counters import Counters
from .hint_sender import HintSender
from .log import Limited, logger
from .opening import open_connector
from .tier_chains import Places
from .tier_lookups import BATCH_KEYS_MAX, Batch, Lookups, block_hash_of, group_of
from .tier_options import TierOptions, tier_options
from .tier_rows import row_layout
from .tier_transfers import Job, Part, Transfers

# Between two looks at the node's state: waiting requests make vLLM step as fast as it can. What goes to a dead node meanwhile fails at once.
_LOOK_SECONDS = 0.005

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _timed(method: _Method) -> _Method:
    """Adds the time of a call to that of the step."""

    @wraps(method)
    def timed(self: KvasirTier, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            self._step_seconds += time.perf_counter() - begin

    return timed  # type: ignore[return-value]


class KvasirTier(SecondaryTierManager):
    """A secondary tier. Its options are those of tier_options.py; wrong ones, and a vLLM or model that it cannot serve, are errors at start."""

    medium: ClassVar[Medium] = Medium.STORAGE

    def __init__(self, offloading_spec: Any, primary_kv_view: memoryview, tier_type: str, backpressure_detector: Any = None,
                 **given: Any) -> None:
        super().__init__(offloading_spec, primary_kv_view, tier_type, backpressure_detector)
        options = tier_options(given)
        if options.common.log_level:
            logger.setLevel(options.common.log_level.upper())
        self._options = options
        self.locality = Locality(options.locality) if options.locality else None
        config = offloading_spec.config
        self._chunk_tokens = {group.group_id: group.tokens_per_block * config.cache.blocks_per_chunk for group in config.groups}
        self._events: list[OffloadingEvent] | None = _event_list(options, offloading_spec)

        self._connector = open_connector(options.common)
        try:
            self._spaces, self._memories, chunk_bytes = self._prepare(config, primary_kv_view)
        except BaseException:
            self._connector.close()
            raise
        common = options.common
        self._lookups = Lookups(self._ask, self._release, common.lookup_timeout)
        self._transfers = Transfers(self._spaces_of, self._memories, chunk_bytes, common.load_timeout, common.save_timeout,
                                    common.max_save_bytes, loss_max=common.loss_max, loss_enough=common.loss_enough, hurry=common.hurry)
        self._breaker = Breaker(common.retry_after)
        self._limited = Limited()
        self._touched: dict[int, dict[bytes, None]] = {}
        self._connected = False
        self._looked = float("-inf")
        self._may_ask: bool | None = None  # in this step; None: not found out
        self._polled = False               # in this step
        self._step_seconds = 0.0
        self._stats = tier_metrics.new_stats()
        self._reconnects = 0
        self._counters = Counters()
        self._counters_told = Counters()
        self._hints = HintSender(self._connector, [space for cells in self._spaces.values() for space in cells],
                                 next(iter(self._spaces.values()))[0].key_length, self._counters, common)
        self._request_of: dict[int, str] = {}  # of jobs whose result was not taken
        self._jobs_of: dict[str, int] = {}     # how many

    def _prepare(self, config: Any, view: memoryview) -> tuple[dict[int, list[kvasir.Space]], list[kvasir.Memory], int]:
        """Spaces of each group and cell, the registration of each cell, the bytes of a key over all cells."""
        vllm_config, kv_cache_config = tier_space.engine_configuration()
        version = _vllm_version()
        if version not in compat.TESTED:
            logger.warning("kvasir: tier: vLLM %s was not tested with KvasirTier (tested: %s)", version, ", ".join(compat.TESTED))
        facts = compat.facts(vllm_config, kv_cache_config, version)
        plan = tier_space.plan_of(vllm_config, kv_cache_config, self._options.common, facts, self._chunk_tokens)
        layout = row_layout(tier_space.row_facts(plan, config, self.block_size_bytes, len(view)))
        described = tier_space.descriptions(plan, layout, self._chunk_tokens, self._options.isa or ("" if facts.cpu else _device()),
                                            self._options.layout_detail)
        spaces = {group: [self._connector.space(one) for one in cells] for group, cells in described.items()}
        # The address alone: vLLM gives the view back before this tier is gone, which an export of its buffer would forbid.
        base = ctypes.addressof(ctypes.c_char.from_buffer(view))
        memories = [self._connector.register(kvasir.Region(*region) for region in layout.regions(base, cell))
                    for cell in range(layout.cells)]
        for group, cells in spaces.items():
            for rank, space in enumerate(cells):
                logger.info("kvasir: tier: group %d rank %d: space %s: %s", group, rank, space.digest.hex()[:16],
                            described[group][rank].layout_detail)
        return spaces, memories, layout.cell_bytes * layout.cells

    # ---- look-ups ----

    @_timed
    def lookup(self, key: OffloadKey, req_context: ReqContext) -> LookupResult:
        """Hit and miss as far as is known; RETRY until the answer is there. A node that is known to be away is a miss at once."""
        self._poll_in_step()
        if not self._connected:
            return LookupResult.MISS
        if key not in self._lookups and not self._asking():
            return LookupResult.MISS
        verdict = self._lookups.verdict(key, req_context.req_id)
        if verdict is None:
            return LookupResult.RETRY
        return LookupResult.HIT if verdict else LookupResult.MISS

    @_timed
    def touch(self, keys: Collection[OffloadKey], req_context: ReqContext) -> None:
        """Told to the node at the end of the step, as far as one look-up of each group holds them."""
        self._tell_known(keys, req_context)
        for key in keys:
            touched = self._touched.setdefault(group_of(key), {})
            if len(touched) < BATCH_KEYS_MAX:
                touched[block_hash_of(key)] = None

    def _asking(self) -> bool:
        """Whether new look-ups go out in this step."""
        if self._may_ask is None:
            self._may_ask = self._breaker.allows(time.monotonic())
        return self._may_ask

    def _ask(self, group: int, hashes: list[bytes], batch: Batch) -> bool:
        common = self._options.common
        try:
            self._connector.lookup(self._spaces[group], b"".join(hashes), lease=common.lease, unchained=True, present=True, user=batch,
                                   loss_max=common.loss_max, timeout=common.lookup_timeout)
            return True
        except kvasir.Error as fault:
            self._limited.warn("lookup", f"tier: a look-up could not be started: {fault}")
            return False

    def _send_touches(self) -> None:
        touched, self._touched = self._touched, {}
        if not self._connected:
            return
        for group, hashes in touched.items():
            try:
                self._connector.lookup(self._spaces[group], b"".join(hashes), unchained=True, loss_max=self._options.common.loss_max,
                                       timeout=self._options.common.lookup_timeout)
            except kvasir.Error as fault:
                self._limited.warn("touch", f"tier: chunks in use could not be told to the node: {fault}")

    def _release(self, lease: int) -> None:
        try:
            self._connector.release(lease)
        except kvasir.Error as fault:  # it ends by itself
            self._limited.warn("release", f"tier: a lease could not be ended: {fault}")

    # ---- transfers ----

    @_timed
    def submit_load(self, job_metadata: TransferJob) -> None:
        keys = list(job_metadata.keys)
        self._begin(job_metadata)
        self._tell_known(keys, job_metadata.req_context)
        self._transfers.load(job_metadata.job_id, keys, job_metadata.chunk_ids, self._lookups.lease_of(keys))

    @_timed
    def submit_store(self, job_metadata: TransferJob) -> None:
        keys = list(job_metadata.keys)
        self._poll_in_step()
        self._begin(job_metadata)
        if not self._connected:
            self._transfers.refuse(job_metadata.job_id, False, keys, "unreachable")
            return
        self._transfers.store(job_metadata.job_id, keys, job_metadata.chunk_ids, self._places(job_metadata.req_context))

    @_timed
    def get_finished_jobs(self) -> Iterable[JobResult]:
        self._polled = False
        self._poll_in_step()
        return [self._result(job) for job in self._transfers.take()]

    def has_pending_work(self) -> bool:
        return self._connector.in_flight > 0 or self._transfers.busy

    def drain_jobs(self) -> None:
        """Blocks until no row is touched any more: at the latest a quarter of a second after the last job's deadline."""
        self._transfers.drain()

    def _places(self, req_context: ReqContext) -> Places:
        places = req_context.get_state(Places)
        if places is None:
            # Not part of the documented interface: without it chunks are stored unchained.
            places = Places(getattr(req_context, "_offload_key_positions", {}), self._chunk_tokens)
            req_context.set_state(places)
        return places

    def _spaces_of(self, group: int, key_length: int) -> Sequence[kvasir.Space]:
        return self._spaces[group]

    def _begin(self, job: TransferJob) -> None:
        request = job.req_context.req_id
        self._request_of[job.job_id] = request
        self._jobs_of[request] = self._jobs_of.get(request, 0) + 1

    def _end(self, job: Job) -> None:
        """Hints of a request go out when its last job has ended."""
        request = self._request_of.pop(job.number)
        self._jobs_of[request] -= 1
        if self._jobs_of[request] == 0:
            del self._jobs_of[request]
            self._hints.request_saved(request)

    def _result(self, job: Job) -> JobResult:
        self._end(job)
        good = tuple(key for key, fine in zip(job.keys, job.good) if fine)
        operation = "load" if job.load else "store"
        self._note(job, operation, len(good))
        if job.load and not job.whole:
            self._lookups.mark_miss(key for key, fine in zip(job.keys, job.good) if not fine)
        if not job.load and good and self._events is not None:
            self._events.append(OffloadingEvent(keys=[OffloadKey(key) for key in good], medium=self.medium, removed=False,
                                                locality=self.locality, ownership=self.tier_type))
        partial = good if job.load and good and not job.whole else None
        return JobResult(job_id=job.number, success=job.whole, successful_keys=partial, transfer_time=job.seconds,
                         transfer_bytes=job.bytes)

    def _note(self, job: Job, operation: str, good: int) -> None:
        stats = self._stats
        if good:
            stats.increase_counter(tier_metrics.TRANSFER_CHUNKS, good, (operation, "ok"))
            stats.increase_counter(tier_metrics.TRANSFER_BYTES, job.bytes, (operation,))
        if job.seconds:
            stats.observe_histogram(tier_metrics.JOB_SECONDS, job.seconds, (operation,))
        if not job.whole:
            stats.increase_counter(tier_metrics.TRANSFER_CHUNKS, len(job.keys) - good, (operation, "failed"))
            stats.increase_counter(tier_metrics.FAILED_JOBS, 1, (operation, job.reason))
            self._limited.warn(operation, f"tier: a {operation} of {len(job.keys)} chunks failed for {len(job.keys) - good} of them "
                                          f"({job.reason}){'; vLLM computes them' if job.load else ''}")

    # ---- steps and requests ----

    def on_new_request(self, req_context: ReqContext) -> RequestOffloadingContext:
        return RequestOffloadingContext()

    @_timed
    def on_request_finished(self, req_context: ReqContext) -> None:
        self._lookups.forget(req_context.req_id)
        self._hints.request_ended(_request(req_context), self._places(req_context).hashes, held=req_context.req_id in self._jobs_of)

    def _tell_known(self, keys: Collection[OffloadKey], req_context: ReqContext) -> None:
        """To the hints: the last of these keys, as far as places are known."""
        if not self._hints.is_new(req_context.req_id):
            return
        places = self._places(req_context)
        places.update()
        placed = [(places.of[key], key) for key in keys if key in places.of]
        if placed:
            self._hints.request_known(_request(req_context), block_hash_of(max(placed)[1]))

    def on_schedule_end(self, context: ScheduleEndContext) -> None:
        self._end_step()
        self._stats.observe_histogram(tier_metrics.STEP_SECONDS, self._step_seconds)
        self._step_seconds = 0.0

    @_timed
    def _end_step(self) -> None:
        self._poll_in_step()
        self._lookups.flush()
        if self._touched:
            self._send_touches()
        self._polled = False
        self._may_ask = None

    def _poll_in_step(self) -> None:
        """Once in a step: a look at the node's state, and what is complete."""
        if not self._polled:
            self._polled = True
            self._refresh()
            self._poll()

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        connected = self._connector.usable
        if connected != self._connected:
            self._connected = connected
            endpoint = self._options.common.endpoint
            if connected:
                logger.info("kvasir: tier: the node at %s is connected", endpoint)
            else:
                self._limited.warn("state", f"tier: the node at {endpoint} is away: everything is a miss until it is back")

    def _poll(self) -> None:
        for done in self._connector.poll():
            if isinstance(done.user, Part):
                self._transfers.complete(done)
            elif isinstance(done.user, Batch):
                self._answered(done)
            elif done.user is self._hints:
                self._hints.answered(done)

    def _answered(self, done: kvasir.Completion) -> None:
        batch: Batch = done.user
        silent = done.status < 0 or done.cause == kvasir.Cause.NODE
        if not silent:
            self._breaker.answered()
        elif done.elapsed >= self._options.common.lookup_timeout:  # else the connection ended, and the node's state says so
            self._breaker.failed(batch.asked, time.monotonic())
        found, late = self._lookups.answer(batch, (done.is_present(i) for i in range(done.n)), done.lease)
        if silent:
            late = done.n
        for result, count in (("hit", found), ("miss", done.n - found - late), ("unanswered", late)):
            if count:
                self._stats.increase_counter(tier_metrics.LOOKUP_CHUNKS, count, (result,))

    # ---- what vLLM asks besides ----

    def take_events(self) -> Iterable[OffloadingEvent]:
        events, self._events = self._events, None if self._events is None else []
        return events or ()

    @classmethod
    def build_metric_definitions(cls, extra_config: dict[str, Any]) -> dict[str, OffloadingMetricMetadata]:
        return tier_metrics.definitions()

    def get_stats(self) -> OffloadingConnectorStats | None:
        stats, self._stats = self._stats, tier_metrics.new_stats()
        stats.set_gauge(tier_metrics.CONNECTED, int(self._connected))
        stats.set_gauge(tier_metrics.IN_FLIGHT, self._transfers.under_way)
        reconnects = self._connector.counters().reconnects
        if reconnects > self._reconnects:
            stats.increase_counter(tier_metrics.RECONNECTS, reconnects - self._reconnects)
            self._reconnects = reconnects
        for field, count in self._counters.diff(self._counters_told).as_dict().items():
            if count:
                name, labels = tier_metrics.COUNTS[field]
                stats.increase_counter(name, count, labels)
        self._counters_told = self._counters.copy()
        return stats

    def shutdown(self) -> None:
        """Ends what is under way, waits for the last touch of the rows, and lets go of them."""
        if self._connector.closed:
            return
        try:
            self._transfers.cancel()
            self._transfers.drain()
            self._connector.poll()
            for memory in self._memories:
                memory.unregister()
        except kvasir.Error as fault:  # close waits for the last touch, too
            logger.warning("kvasir: tier: %s", fault)
        finally:
            self._connector.close()


def _request(req_context: ReqContext) -> SimpleNamespace:
    """As much of a request as a tier is told that hints are read from."""
    return SimpleNamespace(request_id=req_context.req_id, kv_transfer_params=req_context.kv_transfer_params,
                           kv_hints=getattr(req_context, "kv_hints", None))


def _event_list(options: TierOptions, offloading_spec: Any) -> list[OffloadingEvent] | None:
    """A list to gather events in, or None: nobody takes them, and it would grow for ever."""
    if not options.enable_kv_events:
        return None
    if offloading_spec.kv_events_config.enable_kv_cache_events:
        return []
    logger.warning("kvasir: tier: enable_kv_events has no effect, since KV cache events are not enabled (kv_events_config)")
    return None


def _vllm_version() -> str:
    import vllm

    return ".".join(vllm.__version__.split(".")[:2])


def _device() -> str:
    """What accelerators' pages may depend on: the kind of device and its generation."""
    capability = current_platform.get_device_capability()
    return f"{current_platform.device_type}/{capability.as_version_str() if capability is not None else current_platform.get_device_name()}"
