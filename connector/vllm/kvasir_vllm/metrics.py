"""The connector's observations in vLLM's own statistics: its log line every ten seconds, and Prometheus (names vllm:kvasir_*)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics, KVConnectorStats

from . import observations

_STEP_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0)
_LOAD_BUCKETS = (5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Name, what it says, its labels. Prometheus adds _total to the names of counters.
COUNTERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("lookups", "Look-ups sent to the Kvasir node.", ()),
    ("lookup_timeouts", "Look-ups that were not answered within lookup_timeout: misses to vLLM.", ()),
    ("lookups_skipped", "Look-ups not sent, since the node is known to be away or too much is under way: misses to vLLM.", ()),
    ("lookup_chunks", "Chunks that answered look-ups asked for, by result (hit, miss).", ("result",)),
    ("loaded_requests", "Requests that got tokens from Kvasir.", ()),
    ("loaded_tokens", "Prompt tokens that Kvasir promised and vLLM did not compute, before failures.", ()),
    ("recomputed_requests", "Requests that computed what Kvasir has, since that was predicted to be faster than loading it.", ()),
    ("load_bytes", "Bytes loaded from the Kvasir node.", ()),
    ("load_chunks", "Chunks of complete loads, by result (ok, failed: vLLM computed them).", ("result",)),
    ("save_bytes", "Bytes sent to the Kvasir node.", ()),
    ("save_chunks", "Chunks to be saved, by result (ok, failed, dropped: too much under way, canceled: their blocks were wanted).",
     ("result",)),
    ("failures", "Loads and saves that failed in part, by operation and the cause of the first.", ("operation", "cause")),
    ("hints", "Requests whose hint was sent to the Kvasir node when they had ended.", ()),
    ("hints_named", "Requests whose program was told to the Kvasir node when some of their chain was found there.", ()),
    ("hints_of_prefills", "Measurements of the engine's prefills that were sent to the Kvasir node.", ()),
    ("hint_answers", "Hints by what the Kvasir node made of them (accepted, clipped, deferred, rejected, missing), or failed: not sent, or "
     "without an answer. One for each space.", ("result",)),
    ("hint_actions_passed_over", "Actions of KV hint envelopes that are not known, or not for a store.", ()),
    ("hint_values_dropped", "Malformed values in what requests said of their programs.", ()),
    ("reconnects", "Connections to the Kvasir node that were made anew, by any of the engine's processes.", ()),
)
HISTOGRAMS: tuple[tuple[str, str, tuple[str, ...], tuple[float, ...]], ...] = (
    ("step_seconds", "Time that one step of the engine spent inside the connector, by side (scheduler, worker).", ("side",), _STEP_BUCKETS),
    ("load_seconds", "Time of one get of a load, from its start to its last byte.", (), _LOAD_BUCKETS),
)
GAUGES: tuple[tuple[str, str], ...] = (
    ("node_connected", "1 if all of the engine's processes can use the Kvasir node, else 0."),
    ("operations_in_flight", "Operations under way, of all of the engine's processes."),
)
_LABELS = {name: len(labels) for name, _, labels in COUNTERS} | {name: len(labels) for name, _, labels, _ in HISTOGRAMS}


@dataclass
class KvasirStats(KVConnectorStats):
    """Observations of an interval. `data` as observations.py says; it travels from the workers to the scheduler and on to the front end."""

    def __post_init__(self) -> None:
        if not self.data:
            self.reset()

    def reset(self) -> None:
        self.data = observations.empty()

    def aggregate(self, other: KVConnectorStats) -> KVConnectorStats:
        if not other.is_empty():
            observations.add(self.data, other.data)
        return self

    def is_empty(self) -> bool:
        return observations.is_empty(self.data)

    def reduce(self) -> dict[str, int | float]:
        """For the log line: what happened, in the units of a reader."""
        counts = self.data["counts"]
        loads = self.data["samples"].get("load_seconds", [])
        steps = [seconds for name, samples in self.data["samples"].items() if name.startswith("step_seconds/") for seconds in samples]
        made: dict[str, int | float] = {
            "Kvasir hit chunks": counts.get("lookup_chunks/hit", 0), "missed chunks": counts.get("lookup_chunks/miss", 0),
            "tokens loaded": counts.get("loaded_tokens", 0), "MB loaded": round(counts.get("load_bytes", 0) / 1e6, 1),
            "MB saved": round(counts.get("save_bytes", 0) / 1e6, 1),
            "failures": sum(count for name, count in counts.items() if name.startswith("failures/")),
        }
        if loads:
            made["mean load (ms)"] = round(sum(loads) / len(loads) * 1e3, 3)
        if steps:
            made["longest in a step (ms)"] = round(max(steps) * 1e3, 3)
        return made


class KvasirPromMetrics(KVConnectorPromMetrics):
    """Registers all metrics at start, so that a dashboard sees zeros and not gaps where they have no labels of their own."""

    def __init__(self, vllm_config: Any, metric_types: Any, labelnames: list[str], per_engine_labelvalues: dict[int, list[object]]) -> None:
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._metrics: dict[str, Any] = {}
        self._gauge_values: dict[int, dict[str, dict[str, float]]] = {engine: {} for engine in per_engine_labelvalues}
        for name, text, labels in COUNTERS:
            self._metrics[name] = self._counter_cls(name="vllm:kvasir_" + name, documentation=text, labelnames=[*labelnames, *labels])
        for name, text, labels, buckets in HISTOGRAMS:
            self._metrics[name] = self._histogram_cls(name="vllm:kvasir_" + name, documentation=text, buckets=list(buckets),
                                                      labelnames=[*labelnames, *labels])
        for name, text in GAUGES:
            self._metrics[name] = self._gauge_cls(name="vllm:kvasir_" + name, documentation=text, labelnames=labelnames)
        for engine in per_engine_labelvalues:
            for name in self._metrics:
                if _LABELS.get(name, 0) == 0:
                    self._of(name, engine)

    def _of(self, name: str, engine: int, labels: tuple[str, ...] = ()) -> Any:
        return self._metrics[name].labels(*self.per_engine_labelvalues[engine], *labels)

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        for path, count in transfer_stats_data["counts"].items():
            name, *labels = path.split("/")
            self._of(name, engine_idx, tuple(labels)).inc(count)
        for path, samples in transfer_stats_data["samples"].items():
            name, *labels = path.split("/")
            metric = self._of(name, engine_idx, tuple(labels))
            for sample in samples:
                metric.observe(sample)
        for name, values in transfer_stats_data["gauges"].items():
            known = self._gauge_values[engine_idx].setdefault(name, {})
            known.update(values)
            self._of(name, engine_idx).set(observations.gauge(name, known))
