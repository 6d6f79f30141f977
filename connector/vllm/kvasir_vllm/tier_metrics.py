"""What a KvasirTier reports to vLLM: names, and the observations of one interval.

vLLM adds its own labels (model_name, engine) and, to counters, the suffix _total; its tiering reports besides, for every tier,
vllm:kv_offload_tiering_*.
"""
from __future__ import annotations

from vllm.distributed.kv_transfer.kv_connector.v1.offloading.metrics import OffloadingConnectorStats
from vllm.v1.kv_offload.base import (OffloadingCounterMetadata, OffloadingGaugeMetadata, OffloadingHistogramMetadata,
                                     OffloadingMetricMetadata)

LOOKUP_CHUNKS = "vllm:kvasir_tier_lookup_chunks"
TRANSFER_CHUNKS = "vllm:kvasir_tier_transfer_chunks"
TRANSFER_BYTES = "vllm:kvasir_tier_transfer_bytes"
FAILED_JOBS = "vllm:kvasir_tier_failed_jobs"
JOB_SECONDS = "vllm:kvasir_tier_job_seconds"
STEP_SECONDS = "vllm:kvasir_tier_step_seconds"
RECONNECTS = "vllm:kvasir_tier_reconnects"
HINTS = "vllm:kvasir_tier_hints"
CONNECTED = "vllm:kvasir_tier_node_connected"
IN_FLIGHT = "vllm:kvasir_tier_operations_in_flight"

_STEP_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 1e-2, 0.1, 1.0)
_JOB_BUCKETS = (5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def definitions() -> dict[str, OffloadingMetricMetadata]:
    return {
        LOOKUP_CHUNKS: OffloadingCounterMetadata(
            "Chunks that KvasirTier was asked for, by result: hit, miss, or unanswered (not in time, or the node went away: a miss to vLLM).", ("result",)),
        TRANSFER_CHUNKS: OffloadingCounterMetadata(
            "Chunks of complete transfers, by operation (load, store) and result (ok, failed).", ("operation", "result")),
        TRANSFER_BYTES: OffloadingCounterMetadata("Bytes moved to and from the Kvasir node, by operation.", ("operation",)),
        FAILED_JOBS: OffloadingCounterMetadata(
            "Transfers with at least one chunk that failed, by operation and the first reason.", ("operation", "reason")),
        JOB_SECONDS: OffloadingHistogramMetadata("Time of a transfer from its start to its last chunk, in seconds.", ("operation",),
                                                 _JOB_BUCKETS),
        STEP_SECONDS: OffloadingHistogramMetadata("Time spent inside KvasirTier in one step of the scheduler, in seconds.", (),
                                                  _STEP_BUCKETS),
        RECONNECTS: OffloadingCounterMetadata("Connections to the Kvasir node that were made anew."),
        HINTS: OffloadingCounterMetadata("Requests whose hint was sent to the Kvasir node."),
        CONNECTED: OffloadingGaugeMetadata("1 if the Kvasir node can be used now, else 0."),
        IN_FLIGHT: OffloadingGaugeMetadata("Transfers to and from the Kvasir node under way."),
    }


def new_stats() -> OffloadingConnectorStats:
    return OffloadingConnectorStats()
