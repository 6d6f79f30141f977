"""KvasirTier below vLLM's own tiered offloading, in a real engine (cpu_tiering.py says what stands in for the GPU's worker)."""
from __future__ import annotations

import os
import signal
import unittest
from typing import Any

import compare
import model as models
from fixture import CHUNK, STORED, WIDE, Site, SiteTest, prompt, request, until
from process import Engine

# Rows for eight chunks of the tiny model: what is stored and loaded soon leaves the engine's own memory.
ROOM = 8 * models.TINY.kv_bytes_per_token() * CHUNK


def tiered(endpoint: str, room: int = ROOM, **options: Any) -> dict[str, Any]:
    """The configuration of an engine with the tier."""
    return {"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": {
        "spec_name": "CpuTieringSpec", "spec_module_path": "cpu_tiering", "cpu_bytes_to_use": room, "block_size": CHUNK,
        "secondary_tiers": [{"type": "KvasirTier", "module_path": "kvasir_vllm.tier", "endpoint": endpoint, "lookup_timeout": 2.0,
                             **options}]}}


class TierTest(SiteTest):
    def setUp(self) -> None:
        self.site = Site()
        self.addCleanup(self.site.close)

    def engine(self, name: str, connector: dict[str, Any]) -> Engine:
        folder = models.write(models.TINY, os.path.join(self.site.folder, "model"))
        engine = Engine({"model": folder, "dtype": "float32", **WIDE}, connector, {"KVASIR_TEST_SPOIL": self.site.spoil})
        self.site.engines[name] = engine
        return engine

    def count(self, engine: Engine, name: str) -> float:
        return engine.ask("metrics").get("vllm:kvasir_tier_" + name, 0.0)


class Faults(TierTest):
    def test_wrong_bytes_and_a_dead_node(self) -> None:
        engine = self.engine("first", tiered(self.site.tcp, load_timeout=3.0, retry_after=1.0)).wait_ready()
        requests = [request(prompt(i)) for i in range(6)]
        cold = engine.run(requests)
        self.site.settled()

        with self.subTest("without a fault all of it is loaded"):
            engine.reset(connector=True)
            warm = engine.run(requests)
            self.assertEqual(self.cached(warm), [STORED] * 6)
            self.assert_exact(cold, warm)

        with self.subTest("control: other bytes are noticed"):
            engine.reset(connector=True)
            with open(self.site.spoil, "w"):
                wrong = engine.run(requests[:2])
            os.unlink(self.site.spoil)
            self.assertEqual(self.cached(wrong), [STORED] * 2)
            for one, other in zip(cold, wrong):
                self.assertNotEqual(compare.close(one, other), [])

        with self.subTest("bits are flipped on the way: computed again, or loaded in a second try"):
            engine.reset(connector=True)
            self.site.proxy.flip("down", 300_000)
            damaged = engine.run(requests)
            self.site.proxy.flip("down", 0)
            self.assertGreater(self.site.proxy.flipped["down"], 0)
            self.assert_close(cold, damaged)
            self.assertGreater(self.count(engine, 'transfer_chunks_total{operation="load",result="failed"}'), 0)
            self.assertLess(sum(self.cached(damaged)), 6 * STORED)

        with self.subTest("the node is killed in the midst of loads"):
            self.assertTrue(until(lambda: self.count(engine, "node_connected") == 1 or not engine.run(requests[:1])))
            engine.reset(connector=True)
            self.site.proxy.after("down", 1_000_000, lambda: (self.site.node.signal(signal.SIGKILL), self.site.proxy.cut()))
            self.assert_close(cold, engine.run(requests, concurrent=True))
            self.assertTrue(self.site.proxy.fired.is_set())

        with self.subTest("a dead node is a miss at once"):
            engine.reset(connector=True)
            dead = engine.run(requests)
            self.assert_close(cold, dead)
            self.assertEqual(self.cached(dead), [0] * 6)
            self.assertEqual(self.count(engine, "node_connected"), 0)

        with self.subTest("a new node is taken up"):
            self.site.restart()

            def stored() -> bool:
                engine.reset(connector=True)
                engine.run(requests[:2], brief=True)
                return self.site.gauge("kvasir_chunks") == 4

            self.assertTrue(until(stored))
            engine.reset(connector=True)
            warm = engine.run(requests[:2])
            self.assertEqual(self.cached(warm), [STORED] * 2)
            self.assert_exact(cold[:2], warm)


if __name__ == "__main__":
    unittest.main()
