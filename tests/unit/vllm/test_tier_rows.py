"""Rows of vLLM's primary tier as regions: real bytes, laid out as vLLM's worker lays them."""
from __future__ import annotations

import dataclasses
import unittest

import tier_paths  # noqa: F401  (makes the packages importable)
from kvasir_vllm.tier_rows import CHUNK_BYTES_MAX, RowFacts, row_layout

PAGES = (32, 32, 48)
FACTS = RowFacts(row_bytes=4096, rows=3, worker_bytes_per_block=sum(PAGES), blocks_per_chunk=4, workers=2, pages=(PAGES,),
                 kv_cache_layout="LBHNC", canonical=False)


def page(row: int, worker: int, layer: int, block: int) -> bytes:
    """Bytes that say where they belong."""
    return bytes((row * 64 + worker * 32 + layer * 8 + block,)) * PAGES[layer]


def fill(facts: RowFacts) -> bytearray:
    """Rows as vLLM's workers fill them: cells of workers, in them tensors, in them the pages of the chunk's blocks."""
    memory = bytearray(facts.row_bytes * facts.rows)
    for row in range(facts.rows):
        at = row * facts.row_bytes
        for worker in range(facts.workers):
            for layer in range(len(PAGES)):
                for block in range(facts.blocks_per_chunk):
                    memory[at:at + PAGES[layer]] = page(row, worker, layer, block)
                    at += PAGES[layer]
    return memory


class Rows(unittest.TestCase):
    def test_chunk_is_layer_major(self) -> None:
        memory, layout = fill(FACTS), row_layout(FACTS)
        self.assertEqual(layout.detail, "")
        for worker in range(2):
            for row in range(3):
                chunk = b"".join(bytes(memory[base + stride * row:][:size])
                                 for base, size, stride, slots, _ in layout.regions(0, worker) if row < slots)
                wanted = b"".join(page(row, worker, layer, block) for layer in range(3) for block in range(4))
                self.assertEqual(chunk, wanted)

    def test_layers_are_regions(self) -> None:
        regions = row_layout(FACTS).regions(1 << 20, 1)
        cell = 4 * sum(PAGES)
        self.assertEqual([size for _, size, _, _, _ in regions], [128, 128, 192])
        self.assertEqual([base for base, *_ in regions], [(1 << 20) + cell, (1 << 20) + cell + 128, (1 << 20) + cell + 256])
        self.assertEqual([layer for *_, layer in regions], [0, 1, 2])
        self.assertEqual({(stride, slots) for _, _, stride, slots, _ in regions}, {(4096, 3)})

    def test_all_within_the_memory(self) -> None:
        for facts in (FACTS, dataclasses.replace(FACTS, canonical=True), dataclasses.replace(FACTS, kv_cache_layout="BLHNC")):
            layout = row_layout(facts)
            for cell in range(layout.cells):
                for base, size, stride, slots, _ in layout.regions(0, cell):
                    self.assertLessEqual(base + stride * (slots - 1) + size, facts.row_bytes * facts.rows)

    def test_what_is_no_connectors_chunk_says_so(self) -> None:
        for change in ({"kv_cache_layout": "BLHNC"}, {"kv_cache_layout": "LHBNC"}, {"kv_cache_layout": None},
                       {"pages": (PAGES, PAGES)}, {"worker_bytes_per_block": sum(PAGES) + 8}, {"canonical": True}, {"pages": ((),)}):
            with self.subTest(change):
                layout = row_layout(dataclasses.replace(FACTS, **change))
                self.assertNotEqual(layout.detail, "")
                self.assertEqual(len(layout.pieces), 1)

    def test_one_copy_of_all_workers(self) -> None:
        layout = row_layout(dataclasses.replace(FACTS, workers=1))
        self.assertEqual((layout.cells, layout.cell_bytes, layout.detail), (1, 448, ""))

    def test_refused(self) -> None:
        for change, word in (({"rows": 0}, "cpu_bytes_to_use"), ({"worker_bytes_per_block": 0}, "cpu_bytes_to_use"),
                             ({"workers": 10}, "do not fit"), ({"row_bytes": 1 << 40, "workers": 65}, "65 workers"),
                             ({"row_bytes": 1 << 40, "worker_bytes_per_block": CHUNK_BYTES_MAX}, "block_size")):
            with self.subTest(change), self.assertRaisesRegex(ValueError, word):
                row_layout(dataclasses.replace(FACTS, **change))


if __name__ == "__main__":
    unittest.main()
