"""What a KvasirTier reports to vLLM: names, and the observations of one interval.

vLLM adds its own labels (model_name, engine) and, to counters, the suffix _total; its tiering reports besides, for every tier,
vllm:kv_offload_tiering_*.
"""
from __future__ import annotations

from collections.abc import Mapping

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
HINTS_NAMED = "vllm:kvasir_tier_hints_named"
HINT_ANSWERS = "vllm:kvasir_tier_hint_answers"
HINT_VALUES_DROPPED = "vllm:kvasir_tier_hint_values_dropped"
HINT_ACTIONS_PASSED_OVER = "vllm:kvasir_tier_hint_actions_passed_over"
CONNECTED = "vllm:kvasir_tier_node_connected"
IN_FLIGHT = "vllm:kvasir_tier_operations_in_flight"

# Field of counters.Counters -> name and labels.
COUNTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "hints": (HINTS, ()), "hints_named": (HINTS_NAMED, ()), "hint_values_dropped": (HINT_VALUES_DROPPED, ()),
    "hint_actions_passed_over": (HINT_ACTIONS_PASSED_OVER, ()),
    **{"hints_" + result: (HINT_ANSWERS, (result,)) for result in ("accepted", "clipped", "deferred", "rejected", "missing", "failed")},
}

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
        HINTS: OffloadingCounterMetadata("Requests whose hint was sent to the Kvasir node when they had ended."),
        HINTS_NAMED: OffloadingCounterMetadata("Requests whose program was told to the Kvasir node when some of their chain was there."),
        HINT_ANSWERS: OffloadingCounterMetadata(
            "Hints by what the Kvasir node made of them (accepted, clipped, deferred, rejected, missing), or failed: not sent, or without an answer.",
            ("result",)),
        HINT_VALUES_DROPPED: OffloadingCounterMetadata("Malformed values in what requests said of their programs."),
        HINT_ACTIONS_PASSED_OVER: OffloadingCounterMetadata("Actions of KV hint envelopes that are not known, or not for a store."),
        CONNECTED: OffloadingGaugeMetadata("1 if the Kvasir node can be used now, else 0."),
        IN_FLIGHT: OffloadingGaugeMetadata("Transfers to and from the Kvasir node under way."),
    }


def new_stats() -> OffloadingConnectorStats:
    return OffloadingConnectorStats()
