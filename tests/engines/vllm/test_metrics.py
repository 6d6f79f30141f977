"""The connector's metrics in vLLM's own machinery: its log line, and a Prometheus registry. No engine is started."""
from __future__ import annotations

import os
import pickle
import sys
import types
import unittest

from process import TOP
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorLogging, KVConnectorProm
from vllm.distributed.kv_transfer.kv_connector.v1.offloading.metrics import OffloadPromMetrics

sys.path.insert(0, os.path.join(TOP, "connector", "vllm"))

import kvasir_vllm.connector
from kvasir_vllm import metrics, tier_metrics
from kvasir_vllm.metrics import KvasirStats

LABELS = {"model_name": "m", "engine": "0"}
DATA = {"counts": {"lookups": 3, "lookup_chunks/hit": 5, "load_bytes": 2_000_000, "failures/load/corrupt": 1},
        "samples": {"step_seconds/worker": [0.0001, 0.0004], "load_seconds": [0.25]},
        "gauges": {"node_connected": {"scheduler": 1, "worker 0": 1}, "operations_in_flight": {"scheduler": 2, "worker 0": 4}}}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value("vllm:kvasir_" + name, {**LABELS, **labels})


def configuration(**transfer: object) -> types.SimpleNamespace:
    from vllm.config import KVTransferConfig

    return types.SimpleNamespace(kv_transfer_config=KVTransferConfig(kv_role="kv_both", **transfer))


CONFIGURATION = configuration(kv_connector="KvasirConnector", kv_connector_module_path="kvasir_vllm.connector",
                              kv_connector_extra_config={"endpoint": "unix:/nowhere"})


class Connector(unittest.TestCase):
    def test_registry(self) -> None:
        prom = KVConnectorProm(CONFIGURATION, list(LABELS), {0: list(LABELS.values())})
        self.assertIsInstance(prom.prom_metrics, metrics.KvasirPromMetrics)
        for name in ("lookups_total", "loaded_tokens_total", "reconnects_total", "node_connected", "load_seconds_count"):
            self.assertEqual(value(name), 0, f"{name} is not there before anything happened")
        prom.observe(DATA)
        prom.observe(DATA)
        self.assertEqual(value("lookups_total"), 6)
        self.assertEqual(value("lookup_chunks_total", result="hit"), 10)
        self.assertEqual(value("load_bytes_total"), 4_000_000)
        self.assertEqual(value("failures_total", operation="load", cause="corrupt"), 2)
        self.assertEqual(value("step_seconds_count", side="worker"), 4)
        self.assertEqual(value("step_seconds_bucket", side="worker", le="0.0002"), 2)
        self.assertAlmostEqual(value("load_seconds_sum") or 0, 0.5)
        self.assertEqual((value("node_connected"), value("operations_in_flight")), (1, 6))
        prom.observe({"counts": {}, "samples": {}, "gauges": {"node_connected": {"worker 0": 0}, "operations_in_flight": {"scheduler": 0}}})
        self.assertEqual((value("node_connected"), value("operations_in_flight")), (0, 4))

    def test_all_that_is_observed_has_a_metric(self) -> None:
        known = {name for name, *_ in (*metrics.COUNTERS, *metrics.HISTOGRAMS, *metrics.GAUGES)}
        from kvasir_vllm.observations import COUNTS

        self.assertEqual({path.split("/")[0] for path in COUNTS.values()} - known, set())

    def test_log_line(self) -> None:
        lines: list[str] = []
        log = KVConnectorLogging(CONFIGURATION.kv_transfer_config)
        for _ in range(2):
            log.observe(pickle.loads(pickle.dumps(DATA)))
        log.log(lambda text, *values: lines.append(text % values))
        self.assertEqual(len(lines), 1)
        self.assertIn("Kvasir hit chunks=10", lines[0])
        self.assertIn("MB loaded=4.0", lines[0])
        self.assertIn("failures=2", lines[0])
        log.log(lambda text, *values: lines.append(text % values))
        self.assertEqual(len(lines), 1, "an interval without anything is not logged")

    def test_stats_travel(self) -> None:
        stats = KvasirStats()
        self.assertTrue(stats.is_empty())
        stats.aggregate(pickle.loads(pickle.dumps(KvasirStats(DATA)))).aggregate(KvasirStats())
        self.assertEqual(stats.to_dict(), DATA)
        self.assertIsInstance(kvasir_vllm.connector.KvasirConnector.build_kv_connector_stats(DATA), KvasirStats)
        stats.reset()
        self.assertTrue(stats.is_empty())


class Tier(unittest.TestCase):
    def test_registry(self) -> None:
        extra = {"spec_name": "TieringOffloadingSpec", "cpu_bytes_to_use": 1, "secondary_tiers": [
            {"type": "KvasirTier", "module_path": "kvasir_vllm.tier", "endpoint": "unix:/nowhere"}]}
        prom = OffloadPromMetrics(configuration(kv_connector="OffloadingConnector", kv_connector_extra_config=extra),
                                  {Gauge: Gauge, Counter: Counter, Histogram: Histogram}, list(LABELS), {0: list(LABELS.values())})
        stats = tier_metrics.new_stats()
        stats.increase_counter(tier_metrics.LOOKUP_CHUNKS, 7, ("hit",))
        stats.increase_counter(tier_metrics.FAILED_JOBS, 1, ("load", "corrupt"))
        stats.observe_histogram(tier_metrics.JOB_SECONDS, 0.5, ("store",))
        stats.observe_histogram(tier_metrics.STEP_SECONDS, 0.0001)
        stats.set_gauge(tier_metrics.CONNECTED, 1)
        prom.observe(stats.to_dict())
        self.assertEqual(value("tier_lookup_chunks_total", result="hit"), 7)
        self.assertEqual(value("tier_failed_jobs_total", operation="load", reason="corrupt"), 1)
        self.assertEqual(value("tier_job_seconds_sum", operation="store"), 0.5)
        self.assertEqual(value("tier_step_seconds_count"), 1)
        self.assertEqual(value("tier_node_connected"), 1)


if __name__ == "__main__":
    unittest.main()
