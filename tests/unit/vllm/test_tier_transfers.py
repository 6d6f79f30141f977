"""Jobs of a tier against the real library with a store inside the process: rows laid out as vLLM's are."""
from __future__ import annotations

import os
import unittest
from unittest import mock

import tier_paths  # noqa: F401
import kvasir
from kvasir_vllm.tier_chains import Places
from kvasir_vllm.tier_rows import RowFacts, row_layout
from kvasir_vllm.tier_transfers import Part, Transfers

ROWS, BLOCKS, PAGES, WORKERS = 8, 4, (512, 512, 1024), 2
FACTS = RowFacts(row_bytes=20480, rows=ROWS, worker_bytes_per_block=sum(PAGES), blocks_per_chunk=BLOCKS, workers=WORKERS,
                 pages=(PAGES,), kv_cache_layout="LBHNC", canonical=False)
CELL = sum(PAGES) * BLOCKS
USED = CELL * WORKERS
TIMEOUT = 10.0


def key(number: int) -> bytes:
    return number.to_bytes(32, "big") + bytes(4)


def chain(count: int) -> Places:
    return Places({key(i): (i + 1) * 128 for i in range(count)}, {0: 128})


class Fixture(unittest.TestCase):
    def setUp(self) -> None:
        self.connector = kvasir.Connector("embedded:64MiB")
        self.addCleanup(self.connector.close)
        self.memory = bytearray(os.urandom(FACTS.row_bytes * ROWS))
        self.layout = row_layout(FACTS)
        base, _, self.pinned = kvasir.values.address_of(self.memory, "rows", writable=True)
        self.memories = [self.connector.register(kvasir.Region(*region) for region in self.layout.regions(base, cell))
                         for cell in range(WORKERS)]
        self.spaces = [self.connector.space(kvasir.SpaceDescription(
            model="m", layout=kvasir.Layout.OPAQUE, engine="vllm", tokens_per_chunk=128, engine_block=32, tp_rank=rank, tp_size=WORKERS,
            chunk_bytes=CELL)) for rank in range(WORKERS)]
        self.transfers = self.make()

    def make(self, most: int = 1 << 30) -> Transfers:
        return Transfers(lambda group, length: self.spaces, self.memories, USED, TIMEOUT, TIMEOUT, most)

    def row(self, number: int) -> bytes:
        return bytes(self.memory[number * FACTS.row_bytes:][:USED])

    def finish(self, transfers: Transfers | None = None):
        one = transfers or self.transfers
        one.drain()
        job, = one.take()
        return job

    def store(self, numbers: list[int], rows: list[int]):
        self.transfers.store(1, [key(i) for i in numbers], rows, chain(16))
        return self.finish()


class Jobs(Fixture):
    def test_store_and_load(self) -> None:
        wanted = [self.row(i) for i in range(3)]
        padding = bytes(self.memory[USED:FACTS.row_bytes])
        job = self.store([0, 1, 2], [0, 1, 2])
        self.assertEqual((job.number, job.load, job.good, job.bytes), (1, False, [True] * 3, 3 * USED))
        self.assertGreater(job.seconds, 0)
        self.transfers.load(2, [key(2), key(0)], [5, 6], 0)
        job = self.finish()
        self.assertEqual((job.number, job.load, job.good, job.bytes), (2, True, [True, True], 2 * USED))
        self.assertEqual([self.row(5), self.row(6)], [wanted[2], wanted[0]])
        self.assertEqual(bytes(self.memory[USED:FACTS.row_bytes]), padding)
        self.assertFalse(self.transfers.busy)

    def test_terms_of_loss_are_sent(self) -> None:
        transfers = Transfers(lambda group, length: self.spaces, self.memories, USED, TIMEOUT, TIMEOUT, 1 << 30,
                              loss_max=6, loss_enough=5, hurry=0.5)
        with mock.patch.object(self.connector, "_request", wraps=self.connector._request) as request:
            transfers.store(1, [key(0)], [0], chain(1))
            self.assertTrue(self.finish(transfers).whole)
            transfers.load(2, [key(0)], [5], 0)
            self.assertTrue(self.finish(transfers).whole)
        sent = [tuple(call.kwargs[name] for name in ("loss_max", "loss_enough", "hurry")) for call in request.mock_calls]
        self.assertEqual(sent, [(6, 0, 0.0)] * WORKERS + [(6, 5, 0.5)] * WORKERS)

    def test_completions_by_poll(self) -> None:
        self.transfers.store(1, [key(0)], [0], chain(1))
        while self.transfers.under_way:
            for done in self.connector.poll():
                self.assertIsInstance(done.user, Part)
                self.transfers.complete(done)
        self.assertEqual([job.good for job in self.transfers.take()], [[True]])

    def test_stored_twice_is_good(self) -> None:
        self.store([0], [0])
        self.assertEqual(self.store([0, 1], [0, 1]).good, [True, True])

    def test_part_of_a_load(self) -> None:
        self.store([0, 2], [0, 2])
        wanted = self.row(2)
        self.transfers.load(2, [key(0), key(1), key(2)], [5, 6, 7], 0)
        job = self.finish()
        self.assertEqual((job.good, job.whole, job.reason), ([True, False, True], False, "never"))
        self.assertEqual(self.row(7), wanted)

    def test_one_rank_lacks_it(self) -> None:
        self.store([0, 1], [0, 1])
        self.spaces[1].delete(key(1)[:32], unchained=True).wait(TIMEOUT)
        self.transfers.load(2, [key(0), key(1)], [5, 6], 0)
        self.assertEqual(self.finish().good, [True, False])

    def test_chain_reaches_the_store(self) -> None:
        """A second request that goes on with the chain is linked to it: keys found from the first on."""
        self.store([0, 1], [0, 1])
        self.store([3, 2], [3, 2])
        done = self.connector.lookup(self.spaces, b"".join(key(i)[:32] for i in range(4))).wait(TIMEOUT)
        self.assertEqual(done.n_prefix, 4)

    def test_too_many_bytes_under_way(self) -> None:
        few = self.make(most=2 * USED)
        few.store(1, [key(i) for i in range(3)], [0, 1, 2], chain(3))
        job = self.finish(few)
        self.assertEqual((job.good, job.reason), ([False] * 3, "max_save_bytes"))
        for number in (2, 3):  # what was counted is given back
            few.store(number, [key(0), key(1)], [0, 1], chain(2))
            self.assertTrue(self.finish(few).whole)

    def test_refused(self) -> None:
        self.transfers.refuse(4, False, [key(0)], "unreachable")
        job, = self.transfers.take()
        self.assertEqual((job.number, job.good, job.reason), (4, [False], "unreachable"))

    def test_a_start_that_fails(self) -> None:
        self.transfers.load(1, [key(0)], [ROWS], 0)  # no such row
        job = self.finish()
        self.assertEqual((job.good, job.reason), ([False], "err_invalid"))

    def test_closed_under_way(self) -> None:
        self.connector.close()
        self.transfers.store(1, [key(0)], [0], chain(1))
        self.assertEqual(self.finish().reason, "err_closed")

    def test_node_away(self) -> None:
        with kvasir.Connector("unix:/nowhere/kvasird.sock") as away:
            spaces = [away.space(space.description) for space in self.spaces]
            base, _, pinned = kvasir.values.address_of(self.memory, "rows", writable=True)
            memories = [away.register(kvasir.Region(*region) for region in self.layout.regions(base, cell)) for cell in range(WORKERS)]
            transfers = Transfers(lambda group, length: spaces, memories, USED, TIMEOUT, TIMEOUT, 1 << 30)
            before = bytes(self.memory)
            transfers.load(1, [key(0)], [0], 0)
            job = self.finish(transfers)
            self.assertEqual(job.good, [False])
            self.assertEqual(bytes(self.memory), before)
            for memory in memories:
                memory.unregister()


class SameAsTheConnector(Fixture):
    """KvasirConnector registers a tensor a layer and gives a chunk's blocks as slots; a tier has them in one row."""

    def setUp(self) -> None:
        super().setUp()
        self.tensors = [bytearray(os.urandom(page * 16)) for page in PAGES]
        self.engine = self.connector.register([kvasir.Region.of(tensor, page, layer=i)
                                               for i, (tensor, page) in enumerate(zip(self.tensors, PAGES))])

    def cell(self, blocks: list[int]) -> bytes:
        return b"".join(bytes(tensor[block * page:][:page]) for tensor, page in zip(self.tensors, PAGES) for block in blocks)

    def test_connector_stores_tier_loads(self) -> None:
        blocks = [7, 3, 12, 0]
        for space in self.spaces:
            done = space.put(key(0)[:32], self.engine, blocks, BLOCKS).wait(TIMEOUT)
            self.assertEqual(done.status, kvasir.Status.OK)
        self.transfers.load(1, [key(0)], [4], 0)
        self.assertTrue(self.finish().whole)
        self.assertEqual(self.row(4), self.cell(blocks) * WORKERS)

    def test_tier_stores_connector_loads(self) -> None:
        self.store([0], [4])
        blocks = [1, 2, 9, 5]
        operation = self.spaces[1].get(key(0)[:32], self.engine, blocks, BLOCKS)
        self.assertEqual(operation.wait(TIMEOUT).status, kvasir.Status.OK)
        self.assertEqual(self.cell(blocks), self.row(4)[CELL:])


if __name__ == "__main__":
    unittest.main()
