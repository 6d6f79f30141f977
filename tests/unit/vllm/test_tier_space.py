"""The spaces of a tier beside those of KvasirConnector."""
from __future__ import annotations

import dataclasses
import types
import unittest

import tier_paths  # noqa: F401
from kvasir_vllm.compat import CompatError
from kvasir_vllm.space import Group, Plan, PlanError, describe
from kvasir_vllm.tier_rows import RowLayout
from kvasir_vllm.tier_space import descriptions, engine_configuration, row_facts

PAGES = (512, 512)
GROUP = Group(id=0, window=0, block_size=32, layers=("l0", "l1"), page_bytes=PAGES, isa="x86_64/vec/AVX512", detail="dtype=float32")
PLAN = Plan(groups=(GROUP,), n_engine_groups=1, chunk_tokens=256, hit_block=32, hash_block=32, key_length=32, hash_name="sha256_cbor",
            tp_size=2, model="m", revision="r", weights=bytes(32), engine="vllm/0.32")
LAYERS = tuple(page * 8 for page in PAGES)
ROW = RowLayout(row_bytes=16384, rows=4, cells=2, pieces=LAYERS, detail="")


class Descriptions(unittest.TestCase):
    def test_a_cell_that_is_the_connectors_chunk_is_in_its_space(self) -> None:
        made = descriptions(PLAN, ROW, {0: 256}, "", "")
        self.assertEqual(made[0], [describe(PLAN, GROUP, rank) for rank in range(2)])
        self.assertEqual([one.digest() for one in made[0]], [describe(PLAN, GROUP, rank).digest() for rank in range(2)])

    def test_anything_else_is_not(self) -> None:
        of_connector = {describe(PLAN, GROUP, rank).digest() for rank in range(2)}
        seen = set()
        for row, tokens, isa, detail in ((dataclasses.replace(ROW, detail="row=cell groups=2"), 256, "", ""),
                                         (dataclasses.replace(ROW, detail="row=canonical workers=2"), 256, "", ""),
                                         (dataclasses.replace(ROW, pieces=(2048, 2048)), 128, "", ""),
                                         (ROW, 256, "cuda/9.0", ""), (ROW, 256, "cuda/10.0", ""), (ROW, 256, "", "backend=A")):
            digests = {one.digest() for one in descriptions(PLAN, row, {0: tokens}, isa, detail)[0]}
            self.assertFalse(digests & of_connector)
            self.assertFalse(digests & seen)
            seen |= digests

    def test_the_size_of_a_chunk_is_the_cells(self) -> None:
        one = descriptions(PLAN, dataclasses.replace(ROW, pieces=(4096,), detail="row=cell groups=1"), {0: 64}, "", "")[0][0]
        self.assertEqual((one.chunk_bytes, one.tokens_per_chunk), (4096, 64))

    def test_refused(self) -> None:
        many = dataclasses.replace(ROW, cells=64)
        groups = dataclasses.replace(PLAN, groups=(GROUP, dataclasses.replace(GROUP, id=1)))
        for plan, row, tokens, detail, word in ((groups, many, {0: 256, 1: 256}, "", "64 spaces"), (PLAN, ROW, {0: 256, 1: 256}, "", r"\[1\]"),
                                                (PLAN, ROW, {0: 256}, "x" * 250, "layout_detail")):
            with self.subTest(word), self.assertRaisesRegex(PlanError, word):
                descriptions(plan, row, tokens, "", detail)

    def test_facts_of_rows(self) -> None:
        config = types.SimpleNamespace(worker_kv_bytes_per_block=1024, cache=types.SimpleNamespace(blocks_per_chunk=8), canonical_layout=False,
                                       parallel=types.SimpleNamespace(world_size=2), kv_cache_layout="LBHNC", replicated_layout=False)
        facts = row_facts(PLAN, config, 16384, 4)
        self.assertEqual((facts.workers, facts.pages, facts.blocks_per_chunk), (2, (PAGES,), 8))
        config.replicated_layout = True
        self.assertEqual(row_facts(PLAN, config, 16384, 4).workers, 1)


class Configuration(unittest.TestCase):
    def test_found_further_up(self) -> None:
        def scheduler(vllm_config: object, kv_cache_config: object) -> tuple[object, object]:
            return factory()

        def factory() -> tuple[object, object]:
            vllm_config = None  # one of the same name that is not it  # noqa: F841
            return engine_configuration()

        vllm_config, kv_cache_config = types.SimpleNamespace(model_config=1), types.SimpleNamespace(kv_cache_groups=[])
        self.assertEqual(scheduler(vllm_config, kv_cache_config), (vllm_config, kv_cache_config))

    def test_not_there(self) -> None:
        with self.assertRaisesRegex(CompatError, "configuration"):
            engine_configuration()


if __name__ == "__main__":
    unittest.main()
