"""Two engines with KvasirTier and one with KvasirConnector on one node: what one stored the others load."""
from __future__ import annotations

import unittest
from typing import Any

import model as models
from fixture import CHUNK, LENGTH, STORED, prompt, request, until
from test_tier import TierTest, tiered


def plain(endpoint: str) -> dict[str, Any]:
    """The configuration of an engine with KvasirConnector."""
    return {"kv_connector": "KvasirConnector", "kv_connector_module_path": "kvasir_vllm.connector", "kv_role": "kv_both",
            "kv_load_failure_policy": "recompute", "kv_connector_extra_config": {"endpoint": endpoint, "lookup_timeout": 2.0}}


class Sharing(TierTest):
    def test_two_tiers_and_a_connector(self) -> None:
        first = self.engine("first", tiered(self.site.unix)).wait_ready()
        second = self.engine("second", tiered(self.site.unix))
        requests = [request(prompt(i)) for i in range(3)]
        cold = first.run(requests)
        self.assertEqual(self.cached(cold), [0, 0, 0])
        self.assertEqual(self.site.settled(), 3 * STORED // CHUNK)
        self.assertEqual(self.count(first, 'transfer_chunks_total{operation="store",result="ok"}'), 6)
        second.wait_ready()
        third = self.engine("third", plain(self.site.unix))

        with self.subTest("another engine loads what the first stored"):
            warm = second.run(requests)
            self.assertEqual(self.cached(warm), [STORED] * 3)
            self.assert_exact(cold, warm)
            self.assertEqual(self.count(second, 'transfer_chunks_total{operation="load",result="ok"}'), 6)
            self.assertEqual(self.count(second, 'lookup_chunks_total{result="hit"}'), 6)
            self.assertEqual(self.count(second, "node_connected"), 1)

        with self.subTest("what is neither here nor there is a miss"):
            self.assertEqual(self.cached(second.run([request(prompt("new"))])), [0])

        with self.subTest("again after the engine has forgotten everything, with loads under way when it forgets"):
            for _ in range(3):
                second.start_run(requests, concurrent=True)
                self.assert_close(cold, second.receive()["results"])
                second.reset(connector=True)
            warm = second.run(requests)
            self.assertEqual(self.cached(warm), [STORED] * 3)
            self.assert_exact(cold, warm)

        with self.subTest("nothing is held when nothing is under way"):
            self.assert_at_rest()
            self.assertEqual(self.count(second, "operations_in_flight"), 0)

        third.wait_ready()
        with self.subTest("KvasirConnector loads what the tier stored"):
            warm = third.run(requests)
            self.assertEqual(self.cached(warm), [STORED] * 3)
            self.assert_exact(cold, warm)
            seen = third.ask("metrics")
            self.assertEqual(seen["vllm:kvasir_lookups_total"], 3)
            self.assertEqual(seen['vllm:kvasir_lookup_chunks_total{result="hit"}'], 6)
            self.assertEqual(seen['vllm:kvasir_load_chunks_total{result="ok"}'], 6)
            self.assertEqual(seen["vllm:kvasir_loaded_tokens_total"], 3 * STORED)
            self.assertEqual(seen["vllm:kvasir_load_bytes_total"], 3 * STORED * models.TINY.kv_bytes_per_token())
            self.assertEqual(seen["vllm:kvasir_node_connected"], 1)
            self.assertGreater(seen['vllm:kvasir_step_seconds_count{side="scheduler"}'], 0)
            self.assertGreater(seen['vllm:kvasir_step_seconds_count{side="worker"}'], 0)

        with self.subTest("the tier loads what KvasirConnector stored"):
            others = [request(prompt("other", LENGTH)), request(prompt("another", LENGTH))]
            before = self.site.settled()
            cold = third.run(others)
            self.assertEqual(self.cached(cold), [0, 0])
            self.assertTrue(until(lambda: self.site.gauge("kvasir_chunks") == before + 4))
            warm = second.run(others)
            self.assertEqual(self.cached(warm), [STORED] * 2)
            self.assert_exact(cold, warm)


if __name__ == "__main__":
    unittest.main()
