"""The verdicts of a tier's look-ups, with a node made of lists."""
from __future__ import annotations

import unittest

import tier_paths  # noqa: F401
from kvasir_vllm.tier_lookups import BATCH_KEYS_MAX, Batch, Lookups, block_hash_of, group_of


def key(number: int, group: int = 0) -> bytes:
    return number.to_bytes(32, "big") + group.to_bytes(4, "big")


class Fixture(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.asked: list[tuple[int, list[bytes], Batch]] = []
        self.released: list[int] = []
        self.willing = True
        self.lookups = Lookups(self.ask, self.released.append, 0.5, clock=lambda: self.now)

    def ask(self, group: int, hashes: list[bytes], batch: Batch) -> bool:
        if self.willing:
            self.asked.append((group, hashes, batch))
        return self.willing

    def note(self, request: str, *keys: bytes) -> None:
        for one in keys:
            self.assertIsNone(self.lookups.verdict(one, request))


class Verdicts(Fixture):
    def test_key_parts(self) -> None:
        self.assertEqual(block_hash_of(key(5, 3)), (5).to_bytes(32, "big"))
        self.assertEqual(group_of(key(5, 0x10203)), 0x10203)

    def test_one_look_up_a_step_and_group(self) -> None:
        self.note("a", key(1), key(2), key(9, 1))
        self.note("b", key(2), key(3))
        self.assertEqual(self.asked, [])
        self.lookups.flush()
        self.assertEqual([(group, hashes) for group, hashes, _ in self.asked],
                         [(0, [block_hash_of(key(i)) for i in (1, 2, 3)]), (1, [block_hash_of(key(9, 1))])])
        self.lookups.flush()
        self.note("c", key(1))
        self.lookups.flush()
        self.assertEqual(len(self.asked), 2, "a key under way was asked for again")
        self.lookups.answer(self.asked[0][2], [True, False, True], 0)
        self.assertEqual([self.lookups.verdict(key(i), "a") for i in (1, 2, 3)], [True, False, True])
        self.note("a", key(9, 1))

    def test_many_keys_are_cut(self) -> None:
        self.note("a", *(key(i) for i in range(BATCH_KEYS_MAX + 1)))
        self.lookups.flush()
        self.assertEqual([len(hashes) for _, hashes, _ in self.asked], [BATCH_KEYS_MAX, 1])

    def test_too_late_is_a_miss_and_stays_one(self) -> None:
        self.note("a", key(1))
        self.lookups.flush()
        self.now += 0.4
        self.note("a", key(1))
        self.now += 0.2
        self.assertIs(self.lookups.verdict(key(1), "a"), False)
        self.assertEqual(self.lookups.answer(self.asked[0][2], [True], 7), (0, 1))
        self.assertIs(self.lookups.verdict(key(1), "a"), False)

    def test_not_started_is_a_miss(self) -> None:
        self.willing = False
        self.note("a", key(1))
        self.lookups.flush()
        self.assertIs(self.lookups.verdict(key(1), "a"), False)

    def test_short_answer_is_a_miss(self) -> None:
        self.note("a", key(1), key(2))
        self.lookups.flush()
        self.assertEqual(self.lookups.answer(self.asked[0][2], [True], 0), (1, 0))
        self.assertIs(self.lookups.verdict(key(2), "a"), False)

    def test_failed_load_is_a_miss(self) -> None:
        self.note("a", key(1))
        self.lookups.flush()
        self.lookups.answer(self.asked[0][2], [True], 0)
        self.lookups.mark_miss([key(1), key(2)])
        self.assertIs(self.lookups.verdict(key(1), "a"), False)
        self.note("a", key(2))


class Ends(Fixture):
    def test_lease_is_released_with_the_last_request(self) -> None:
        self.note("a", key(1), key(2))
        self.note("b", key(2))
        self.lookups.flush()
        self.lookups.answer(self.asked[0][2], [True, True], 7)
        self.assertEqual(self.lookups.lease_of([key(1), key(2)]), 7)
        self.lookups.forget("a")
        self.assertEqual(self.released, [])
        self.lookups.forget("b")
        self.assertEqual(self.released, [7])
        self.assertEqual(len(self.lookups), 0)
        self.lookups.forget("b")
        self.assertEqual(self.released, [7])

    def test_answer_after_the_end_releases(self) -> None:
        self.note("a", key(1))
        self.lookups.flush()
        self.lookups.forget("a")
        self.note("b", key(1))  # a new question
        self.lookups.answer(self.asked[0][2], [True], 7)
        self.assertEqual(self.released, [7])
        self.note("b", key(1))
        self.lookups.flush()
        self.assertEqual(len(self.asked), 2)

    def test_ended_before_the_flush_is_not_asked_for(self) -> None:
        self.note("a", key(1))
        self.lookups.forget("a")
        self.lookups.flush()
        self.assertEqual(self.asked, [])

    def test_keys_of_two_look_ups_have_no_lease_together(self) -> None:
        for number, lease in ((1, 7), (2, 8)):
            self.note("a", key(number))
            self.lookups.flush()
            self.lookups.answer(self.asked[-1][2], [True], lease)
        self.assertEqual(self.lookups.lease_of([key(1), key(2)]), 0)
        self.assertEqual(self.lookups.lease_of([key(1), key(3)]), 0)


if __name__ == "__main__":
    unittest.main()
