"""Look-ups, leases, hints, keys and counters."""
import hashlib
import json
import struct
import unittest
from array import array

import binding_fixture
from binding_fixture import SOURCE, WAIT, EmbeddedTest, NodeTest, Paged, description, keys, slots

import kvasir
from kvasir import Status


def store(connector: kvasir.Connector, space: kvasir.Space, named: bytes) -> None:
    cache = Paged(connector)
    n = len(named) // space.key_length
    done = space.put(named, cache.memory, array("q", range(2 * n)), Paged.PER_CHUNK).wait(WAIT)
    assert done.n_ok == n, done


class LookupCases:
    connector: kvasir.Connector

    def test_prefix_and_bitmap(self: "Cases") -> None:
        space, named = self.connector.space(description()), keys(5)
        store(self.connector, space, named[:32])
        space.put(named[48:64], Paged(self.connector).memory, slots(0, 1), 2, unchained=True).wait(WAIT)
        done = self.connector.lookup([space], named, present=True, user={"any": "thing"}).wait(WAIT)
        self.assertEqual((done.status, done.n, done.n_prefix, done.user), (Status.PARTIAL, 5, 2, {"any": "thing"}))
        self.assertEqual([done.is_present(i) for i in range(5)], [True, True, False, True, False])
        with self.assertRaises(kvasir.InvalidError):
            done.is_present(5)
        done = self.connector.lookup([space], named[:32]).wait(WAIT)
        self.assertEqual((done.status, done.n_prefix, done.lease, done.present), (Status.OK, 2, 0, None))
        done = self.connector.lookup([space], keys(3, "none")).wait(WAIT)
        self.assertEqual((done.status, done.n_prefix), (Status.MISS, 0))

    def test_several_spaces_have_a_common_prefix(self: "Cases") -> None:
        base = description(tp_size=2)
        spaces = [self.connector.space(kvasir.SpaceDescription.from_dict({**base.to_dict(), "tp_rank": rank}))
                  for rank in (0, 1)]
        self.assertNotEqual(spaces[0].digest, spaces[1].digest)
        named = keys(4)
        store(self.connector, spaces[0], named)
        store(self.connector, spaces[1], named[:16])
        self.assertEqual(self.connector.lookup([spaces[0]], named).wait(WAIT).n_prefix, 4)
        done = self.connector.lookup(spaces, named, lease=5.0).wait(WAIT)
        self.assertEqual((done.status, done.n_prefix), (Status.PARTIAL, 1))
        self.assertNotEqual(done.lease, 0)
        self.assertEqual(self.connector.release(done.lease), Status.OK)

    def test_lease(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        store(self.connector, space, named)
        found = self.connector.lookup([space], named, lease=3.0).wait(WAIT)
        self.assertNotEqual(found.lease, 0)
        self.assertTrue(0 < found.lease_time <= 3.0, found.lease_time)
        self.assertGreaterEqual(found.fetch_time, 0)
        done = space.get(named, cache.memory, slots(0, 1, 2, 3), 2, lease=found.lease).wait(WAIT)
        self.assertEqual(done.status, Status.OK)
        self.assertEqual(self.connector.release(found.lease), Status.OK)
        with self.assertRaises(kvasir.InvalidError):
            self.connector.release(0)

    def test_tokens(self: "Cases") -> None:
        space = self.connector.space(description(hash=kvasir.Hash.NATIVE, key_length=32))
        named = space.keys(range(12))
        store(self.connector, space, named)
        for tokens, expected in ((range(13), 3), (array("I", range(12)), 2), (list(range(5)), 1)):
            op = space.lookup_tokens(tokens, present=True)
            assert op is not None
            self.assertEqual(op.wait(WAIT).n_prefix, expected)
        self.assertIsNone(space.lookup_tokens(range(4)))
        self.assertIsNone(space.lookup_tokens([]))
        self.assertEqual(self.connector.in_flight, 0)
        with self.assertRaises(kvasir.Error) as refused:
            self.connector.space(description()).lookup_tokens(range(9))
        self.assertEqual(refused.exception.status, Status.ERR_UNSUPPORTED)

    def test_loss_is_told(self: "Cases") -> None:
        space = self.connector.space(description(hash=kvasir.Hash.NATIVE, key_length=32))
        named = space.keys(range(8))
        store(self.connector, space, named)
        for loss_max in (0, 15):  # what has lost nothing is there for everyone
            self.assertEqual(self.connector.lookup([space], named, loss_max=loss_max).wait(WAIT).n_prefix, 2)
            op = space.lookup_tokens(range(9), loss_max=loss_max)
            assert op is not None
            self.assertEqual(op.wait(WAIT).n_prefix, 2)
        for wrong in (16, -1, 2**32):  # the first one is the library's to refuse
            with self.assertRaises(kvasir.InvalidError):
                self.connector.lookup([space], named, loss_max=wrong)
            with self.assertRaises(kvasir.InvalidError):
                space.lookup_tokens(range(9), loss_max=wrong)
        self.assertEqual(self.connector.in_flight, 0)

    def test_hints(self: "Cases") -> None:
        hint = kvasir.Hint(program="agent-1", parent_program="root", turn=3, wait=kvasir.WaitKind.TOOL, tool="bash",
                           return_p50=2.5, return_p90=30.0, priority=10, ttl=60.0)
        space = self.connector.space(description())
        for named in (None, keys(2)):
            done = self.connector.hint(hint, space=space if named else None, keys=named).wait(WAIT)
            self.assertGreaterEqual(done.status, 0)
            self.assertIsInstance(done.outcome, kvasir.HintOutcome)
        for priority, made in ((None, (0, 0)), (0, (0, 1)), (7, (7, 1))):
            to = kvasir.Hint(priority=priority).to_abi()
            self.assertEqual((to.priority, to.has_priority), made)
        self.assertEqual(kvasir.Hint(ttl=9.0, range_tokens=77).to_abi().range_tokens, 77)
        for wrong in (kvasir.Hint(priority=101), kvasir.Hint(range_tokens=-1), kvasir.Hint(program="x" * 256), kvasir.Hint(wait=99)):  # type: ignore[arg-type]
            with self.assertRaises(kvasir.InvalidError):
                self.connector.hint(wrong)
        with self.assertRaises(kvasir.InvalidError):
            self.connector.hint(hint, keys=keys(1))
        self.assertEqual(self.connector.counters().hints, 2)

    def test_counters(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(3)
        store(self.connector, space, named[:32])
        self.connector.lookup([space], named).wait(WAIT)
        space.get(named, cache.memory, array("q", range(6)), 2).wait(WAIT)
        counters = self.connector.counters()
        self.assertEqual((counters.lookups, counters.lookup_keys, counters.lookup_hit_keys), (1, 3, 2))
        self.assertEqual((counters.put_chunks, counters.put_stored, counters.put_bytes), (2, 2, 192))
        self.assertEqual((counters.get_chunks, counters.get_hits, counters.get_bytes), (3, 2, 192))
        self.assertEqual((counters.misses, counters.in_flight), (1, 0))

    def test_the_same_description_is_the_same_space(self: "Cases") -> None:
        wanted = description()
        one, two = self.connector.space(wanted), self.connector.space(wanted)
        self.assertEqual((one.pointer, one.digest), (two.pointer, two.digest))


class Cases(LookupCases, unittest.TestCase):
    """For the type checker's sake: what the cases are mixed into."""


class Embedded(LookupCases, EmbeddedTest):
    pass


class OnNode(LookupCases, NodeTest):
    pass


del Cases  # it has no store


class Keys(unittest.TestCase):
    def test_sglang_by_hand(self) -> None:
        tokens = list(range(100, 110))
        first = hashlib.sha256(struct.pack("<4I", *tokens[:4])).digest()
        second = hashlib.sha256(first + struct.pack("<4I", *tokens[4:8])).digest()
        self.assertEqual(kvasir.keys_from_tokens(tokens, 4, hash=kvasir.Hash.SGLANG), first + second)
        self.assertEqual(kvasir.keys_from_tokens(array("I", tokens[4:]), 4, hash=kvasir.Hash.SGLANG, parent=first), second)
        self.assertEqual(kvasir.keys_from_tokens(tokens[:3], 4, hash=kvasir.Hash.SGLANG), b"")
        self.assertEqual(kvasir.keys_from_tokens([], 4, hash=kvasir.Hash.SGLANG), b"")

    def test_vllm(self) -> None:
        none_hash = kvasir.vllm_none_hash("0")
        self.assertEqual(none_hash, hashlib.sha256(b"\x61\x30").digest())  # CBOR text "0"
        step = hashlib.sha256(b"\x83\x58\x20" + none_hash + b"\x82\x01\x02" + b"\xf6").digest()
        self.assertEqual(kvasir.keys_from_tokens([1, 2], 2, hash=kvasir.Hash.VLLM_SHA256_CBOR, seed=none_hash), step)

    def test_refusals(self) -> None:
        for arguments in (([1, 2], 0), ([-1], 1), ([2**32], 1), (array("Q", [1]), 1), ("text", 1)):
            with self.assertRaises(kvasir.InvalidError, msg=arguments):
                kvasir.keys_from_tokens(*arguments, hash=kvasir.Hash.SGLANG)
        with self.assertRaises(kvasir.InvalidError):
            kvasir.keys_from_tokens([1], 1)  # native without a seed
        with self.assertRaises(kvasir.InvalidError):
            kvasir.keys_from_tokens([1], 1, seed=b"short")
        with self.assertRaises(kvasir.InvalidError):
            kvasir.vllm_none_hash("0" * 256)


class Descriptions(unittest.TestCase):
    def test_json_and_back(self) -> None:
        one = description(weights=bytes(range(32)), layout_detail="x", tp_size=2, tp_rank=1, revision="ß")
        again = kvasir.SpaceDescription.from_dict(json.loads(json.dumps(one.to_dict())))
        self.assertEqual(again, one)
        self.assertEqual(again.digest(), one.digest())

    def test_every_field_counts(self) -> None:
        values = {"model": "m", "revision": "r", "weights": "11" * 32, "engine": "e", "isa": "i", "layout": "opaque",
                  "layout_detail": "d", "tokens_per_chunk": 8, "tp_size": 2, "pp_size": 2, "cp_size": 2}
        changes = {"model": "n", "revision": "s", "weights": "12" * 32, "engine": "f", "isa": "j", "layout_detail": "e",
                   "tokens_per_chunk": 16, "engine_block": 4, "kv_group": 1, "tp_rank": 1, "tp_size": 3, "pp_rank": 1,
                   "pp_size": 3, "cp_rank": 1, "cp_size": 3, "hash": "sglang", "key_length": 16, "chunk_bytes": 8}
        self.differ(values, [{name: value} for name, value in changes.items()])

    def test_every_field_of_tensors_counts(self) -> None:
        values = {"layout": "tensors", "key_dtype": "f16", "value_dtype": "f16", "layers": 2, "kv_heads": 2, "key_dim": 4,
                  "value_dim": 4, "tokens_per_chunk": 8, "chunk_bytes": 2 * 2 * 8 * (4 + 4) * 2}
        self.differ(values, [{"key_dtype": "bf16"}, {"value_dtype": "bf16"}, {"layers": 4, "kv_heads": 1},
                             {"layers": 1, "kv_heads": 4}, {"key_dim": 2, "value_dim": 6}])
        with self.assertRaises(kvasir.InvalidError):
            kvasir.SpaceDescription.from_dict({**values, "chunk_bytes": 511}).digest()

    def differ(self, values: dict, changes: list[dict]) -> None:
        digests = {kvasir.SpaceDescription.from_dict({**values, **change}).digest() for change in [{}, *changes]}
        self.assertEqual(len(digests), len(changes) + 1)

    def test_refusals(self) -> None:
        for wrong in ({}, {"layout": "round"}, {"layout": "opaque", "modle": "x"}, {"layout": "opaque", "weights": "zz"},
                      {"layout": "opaque", "weights": "00"}, {"layout": "opaque", "layers": -1},
                      {"layout": "opaque", "model": "a\0b"}, {"layout": "opaque", "model": 7},
                      {"layout": "opaque", "tp_rank": 1}, {"layout": "opaque", "model": "x" * 256}):
            with self.assertRaises(kvasir.InvalidError, msg=wrong):
                kvasir.SpaceDescription.from_dict(wrong).digest()
        with self.assertRaises(kvasir.Error) as refused:
            description(key_length=7).digest()
        self.assertEqual(refused.exception.status, Status.ERR_KEY_LENGTH)


class Document(unittest.TestCase):
    def test_all_names_exist(self) -> None:
        for name in kvasir.__all__:
            self.assertTrue(hasattr(kvasir, name), name)
        self.assertTrue((SOURCE / "connector/vllm/kvasir/py.typed").is_file())


if __name__ == "__main__":
    binding_fixture.main()
