"""The same questions to engines of other kinds: another process answers as the first one did, bit for bit; batches with
preemption and aborts answer as an engine without a store; and what differs in a way that matters does not share."""
from __future__ import annotations

import unittest
from dataclasses import replace
from typing import Any

import model as models
from fixture import CHUNK, SMALL, STORED, WIDE, Site, SiteTest, prompt, request
from process import Engine

KV_TOKENS = SMALL["block_size"] * SMALL["num_gpu_blocks_override"]


def sized(block: int) -> dict[str, Any]:
    """Engine arguments of another block size, with the same small KV cache."""
    return {"block_size": block, "num_gpu_blocks_override": KV_TOKENS // block}


class Variants(SiteTest):
    def setUp(self) -> None:
        self.site = Site()
        self.addCleanup(self.site.close)

    def variant(self, model: models.Model = models.TINY, options: dict[str, Any] | None = None, **engine: Any) -> Engine:
        site = self.site
        cold_engine = site.engine("cold", model, site.unix, options, **engine).wait_ready()
        requests, cold = self.store(cold_engine, "variant", 4, (options or {}).get("chunk_tokens", CHUNK))
        warm_engine = site.engine("warm", model, site.unix, options, **engine).wait_ready()
        warm = warm_engine.run(requests)
        self.assertEqual(self.cached(warm), [STORED] * 4)
        self.assert_exact(cold, warm)
        self.assert_bytes_right(at_least=4)

        heads = [prompt(f"head{i}", CHUNK * (1 + i % 2)) for i in range(3)]
        batch = [request(prompt(f"batch{i}", len(heads[i % 3]) + 60 + 29 * (i % 5), heads[i % 3]), 40,
                         abort_after={7: 3, 19: 0}.get(i)) for i in range(30)]
        wide = {**WIDE, **{name: engine[name] for name in ("block_size",) if name in engine}}
        truth = site.engine("plain", model, **wide).wait_ready().run([{**one, "abort_after": None} for one in batch], True)
        for _ in range(2):
            cold_engine.reset()
            warm_engine.reset()
            for one in (cold_engine, warm_engine):
                one.start_run(batch, concurrent=True)
            for one in (cold_engine, warm_engine):
                self.assert_close(truth, one.receive()["results"], model.dtype)
            self.assert_at_rest()
        return warm_engine

    def test_float32(self) -> None:
        self.variant()

    def test_bfloat16(self) -> None:
        self.variant(models.TINY_BF16)

    def test_blocks_of_128(self) -> None:
        self.variant(**sized(128))

    def test_blocks_of_64_chunks_of_512(self) -> None:
        self.variant(options={"chunk_tokens": 512}, **sized(64))

    def test_layer_by_layer(self) -> None:
        engine = self.variant(options={"load": "layerwise"}, async_scheduling=False)
        self.assertIn("load layerwise", engine.log())

    def test_no_own_prefix_cache(self) -> None:
        self.variant(enable_prefix_caching=False)

    def test_sliding_window(self) -> None:
        self.variant(models.TINY_WINDOW)

    def test_hybrid(self) -> None:
        self.variant(models.TINY_HYBRID)

    def test_tensor_parallel_2(self) -> None:
        self.variant(tensor_parallel_size=2)

    def test_other_dtype_and_other_blocks_share_nothing(self) -> None:
        first = self.site.engine("first", endpoint=self.site.unix).wait_ready()
        requests, _ = self.store(first, "apart")
        known = self.site.ctl("ls", "spaces")["spaces"]
        half = replace(models.TINY, dtype="bfloat16")
        for name, model, engine, field in (("dtype", half, {}, "dtype"), ("blocks", models.TINY, sized(128), "engine_block")):
            with self.subTest(name):
                other = self.site.engine(name, model, self.site.unix, **engine).wait_ready()
                self.assertEqual(self.cached(other.run(requests)), [0, 0])
                spaces = self.site.ctl("ls", "spaces")["spaces"]
                digests = {space["digest"] for space in known}
                theirs = next(space for space in spaces if space["digest"] not in digests)["descriptor"]
                ours = known[0]["descriptor"]
                differ = {key for key in ours if ours[key] != theirs[key]}
                print(f"{name}: the spaces differ in {sorted(differ)}")
                self.assertTrue(differ)
                known = spaces + known
                self.site.end(name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
