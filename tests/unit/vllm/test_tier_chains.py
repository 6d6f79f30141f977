"""Places and runs of chunks in their prefix chain."""
from __future__ import annotations

import random
import unittest

import tier_paths  # noqa: F401
from kvasir_vllm.tier_chains import EXTENT_CHUNKS, REQUEST_CHUNKS, Places, load_runs, store_runs
from kvasir_vllm.tier_lookups import block_hash_of

TOKENS = {0: 256, 1: 64}


def key(number: int, group: int = 0) -> bytes:
    return number.to_bytes(32, "big") + group.to_bytes(4, "big")


def chain(count: int, group: int = 0) -> dict[bytes, int]:
    return {key(i, group): (i + 1) * TOKENS[group] for i in range(count)}


class Runs(unittest.TestCase):
    def test_in_order_from_any_order(self) -> None:
        keys = [key(i) for i in range(10)]
        random.Random(3).shuffle(keys)
        run, = store_runs(keys, Places(chain(10), TOKENS))
        self.assertEqual([keys[i] for i in run.indexes], [key(i) for i in range(10)])
        self.assertEqual((run.first_place, run.parent, run.extent_first, run.unchained), (0, None, None, False))

    def test_parent_and_extent(self) -> None:
        places = Places(chain(70), TOKENS)
        run, = store_runs([key(66), key(67)], places)
        self.assertEqual((run.first_place, run.parent, run.extent_first, run.unchained),
                         (66, block_hash_of(key(65)), block_hash_of(key(64)), False))
        run, = store_runs([key(EXTENT_CHUNKS)], places)
        self.assertEqual((run.first_place, run.parent, run.extent_first, run.unchained), (64, block_hash_of(key(63)), None, False))

    def test_gaps_are_runs_of_their_own(self) -> None:
        runs = store_runs([key(1), key(2), key(5)], Places(chain(6), TOKENS))
        self.assertEqual([(run.first_place, len(run.indexes)) for run in runs], [(1, 2), (5, 1)])

    def test_groups_apart(self) -> None:
        positions = {**chain(3, 0), **chain(3, 1)}
        runs = store_runs([key(0, 1), key(2, 0), key(1, 1), key(1, 0)], Places(positions, TOKENS))
        self.assertEqual([(run.group, run.first_place, run.indexes) for run in runs], [(1, 0, (0, 2)), (0, 1, (3, 1))])

    def test_unknown_chain_is_unchained(self) -> None:
        self.assertEqual([run.unchained for run in store_runs([key(3)], Places({}, TOKENS))], [True])
        only = {key(3): 4 * 256}
        self.assertEqual([run.unchained for run in store_runs([key(3)], Places(only, TOKENS))], [True])
        no_extent = {key(65): 66 * 256, key(66): 67 * 256}
        self.assertEqual([run.unchained for run in store_runs([key(66)], Places(no_extent, TOKENS))], [True])

    def test_partial_tail_has_no_place(self) -> None:
        positions = {**chain(2), key(77): 600}
        runs = store_runs([key(77), key(1)], Places(positions, TOKENS))
        self.assertEqual([(run.indexes, run.unchained) for run in runs], [((1,), False), ((0,), True)])

    def test_places_grow_with_the_request(self) -> None:
        positions = chain(2)
        places = Places(positions, TOKENS)
        self.assertFalse(store_runs([key(1)], places)[0].unchained)
        positions[key(2)] = 3 * 256
        run, = store_runs([key(2)], places)
        self.assertEqual((run.first_place, run.parent), (2, block_hash_of(key(1))))

    def test_hashes_of_a_request(self) -> None:
        self.assertEqual(Places(chain(3), {0: 256}).hashes(), b"".join(block_hash_of(key(i)) for i in range(3)))
        self.assertEqual(Places({}, {0: 256}).hashes(), b"")
        self.assertEqual(Places({**chain(2, 0), **chain(2, 1)}, TOKENS).hashes(), b"", "keys of chunks of two sizes")

    def test_long_jobs_are_cut(self) -> None:
        count = 2 * REQUEST_CHUNKS + 3
        keys = [key(i) for i in range(count)]
        stores = store_runs(keys, Places(chain(count), TOKENS))
        self.assertEqual([(run.first_place, len(run.indexes)) for run in stores], [(0, 512), (512, 512), (1024, 3)])
        self.assertEqual(stores[1].parent, block_hash_of(key(511)))
        loads = load_runs(keys)
        self.assertEqual([len(run.indexes) for run in loads], [512, 512, 3])
        self.assertEqual(sorted(i for run in loads for i in run.indexes), list(range(count)))


if __name__ == "__main__":
    unittest.main()
