"""Bytes through registered memory and buffers: what is put comes back, and nothing else is touched."""
import os
import unittest
from array import array

import binding_fixture
from binding_fixture import WAIT, EmbeddedTest, NodeTest, Paged, description, keys, slots

import kvasir
from kvasir import Status


class TransferCases:
    """On both kinds of store: mixed into the classes at the end."""

    connector: kvasir.Connector

    def put(self: "Cases", space: kvasir.Space, named: bytes, cache: Paged, places: array, **options) -> kvasir.Completion:
        done = space.put(named, cache.memory, places, Paged.PER_CHUNK, **options).wait(WAIT)
        self.assertEqual(done.status, Status.OK)
        return done

    def test_round_trip_with_strides(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(3)
        pages = [cache.page(i) for i in range(6)]
        done = self.put(space, named, cache, slots(0, 1, 2, 3, 4, 5), statuses=True, user="put")
        self.assertEqual((done.n, done.n_ok, done.n_prefix, done.bytes, done.user), (3, 3, 3, 3 * Paged.CHUNK, "put"))
        self.assertEqual(done.statuses, (Status.OK,) * 3)
        before = bytes(cache.rows), bytes(cache.plain)
        done = space.get(named, cache.memory, slots(10, 7, 15, 6, 8, 14), Paged.PER_CHUNK, statuses=True).wait(WAIT)
        self.assertEqual((done.status, done.n_ok, done.statuses), (Status.OK, 3, (Status.OK,) * 3))
        self.assertGreater(done.elapsed, 0)
        targets = {10: 0, 7: 1, 15: 2, 6: 3, 8: 4, 14: 5}
        for slot in range(Paged.SLOTS):
            if slot in targets:
                self.assertEqual(cache.page(slot), pages[targets[slot]])
                self.assertEqual(cache.gap(slot), before[0][48 * slot + 32:48 * slot + 48])
            else:
                self.assertEqual(cache.rows[48 * slot:48 * slot + 48], before[0][48 * slot:48 * slot + 48])
                self.assertEqual(cache.plain[16 * slot:16 * slot + 16], before[1][16 * slot:16 * slot + 16])

    def test_layers_are_major_within_a_chunk(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(1)
        self.put(space, named, cache, slots(2, 5))
        blob = bytearray(Paged.CHUNK)
        self.assertEqual(space.get_buffers(named, [blob]).wait(WAIT).status, Status.OK)
        a, b = cache.page(2), cache.page(5)
        self.assertEqual(bytes(blob), a[:32] + b[:32] + a[32:] + b[32:])

    def test_holes_leave_bytes_untouched(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        self.put(space, named, cache, slots(0, 1, 2, 3))
        pages = [cache.page(i) for i in range(4)]
        other = Paged(self.connector, fill=b"\xa5")
        done = space.get(named, other.memory, slots(-1, 9, 4, -1), Paged.PER_CHUNK).wait(WAIT)
        self.assertEqual((done.status, done.n_ok), (Status.OK, 2))
        self.assertEqual((other.page(9), other.page(4)), (pages[1], pages[2]))
        for slot in set(range(Paged.SLOTS)) - {9, 4}:
            self.assertEqual(other.page(slot), b"\xa5" * 48)

    def test_slots_of_many_kinds(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(1)
        self.put(space, named, cache, slots(3, 4))
        frozen = memoryview(slots(6, 7)).toreadonly()
        for kind in ([6, 7], (6, 7), slots(6, 7), frozen, memoryview(slots(6, 7, 8))[:2], memoryview(slots(6, 0, 7))[::2]):
            done = space.get(named, cache.memory, kind, Paged.PER_CHUNK).wait(WAIT)
            self.assertEqual(done.status, Status.OK, kind)
            self.assertEqual((cache.page(6), cache.page(7)), (cache.page(3), cache.page(4)))
            cache.rows[48 * 6:48 * 8] = bytes(96)

    def test_layer_waits(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        self.put(space, named, cache, slots(0, 1, 2, 3))
        op = space.get(named, cache.memory, slots(4, 5, 6, 7), Paged.PER_CHUNK)
        self.assertEqual(op.wait_layer(0, WAIT), Status.OK)
        self.assertEqual(op.wait_layer(1, WAIT), Status.OK)
        self.assertEqual(cache.page(7), cache.page(3))
        with self.assertRaises(kvasir.InvalidError):
            op.wait_layer(2, 1.0)
        self.assertEqual(op.wait(WAIT).status, Status.OK)
        self.assertEqual(op.wait_layer(1, 0), Status.OK)  # after its completion was taken, too
        missing = space.get(keys(1, "nobody's"), cache.memory, slots(4, 5), Paged.PER_CHUNK)
        self.assertEqual(missing.wait_layer(0, WAIT), Status.MISS)
        self.assertEqual(missing.wait(WAIT).status, Status.MISS)
        self.assertEqual(missing.wait_layer(0), Status.MISS)
        put = space.put(named, cache.memory, slots(0, 1, 2, 3), Paged.PER_CHUNK)
        with self.assertRaises(kvasir.InvalidError):
            put.wait_layer(0, 1.0)
        put.wait(WAIT)

    def test_partial_and_miss(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(3)
        self.put(space, named[:32], cache, slots(0, 1, 2, 3))
        done = space.get(named, cache.memory, slots(4, 5, 6, 7, 8, 9), Paged.PER_CHUNK, statuses=True).wait(WAIT)
        self.assertEqual((done.status, done.n_ok, done.n_prefix), (Status.PARTIAL, 2, 2))
        self.assertEqual(done.statuses, (Status.OK, Status.OK, Status.MISS))
        done = space.get(keys(1, "other"), cache.memory, slots(4, 5), Paged.PER_CHUNK).wait(WAIT)
        self.assertEqual((done.status, done.n_ok, done.statuses), (Status.MISS, 0, None))

    def test_put_again_says_exists(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        self.put(space, named[:16], cache, slots(0, 1))
        done = self.put(space, named, cache, slots(0, 1, 2, 3), statuses=True)
        self.assertEqual((done.n_ok, done.statuses), (2, (Status.EXISTS, Status.OK)))

    def test_buffers_and_segments(self: "Cases") -> None:
        space, named = self.connector.space(description(chunk_bytes=0)), keys(3)
        payload = [os.urandom(1000), bytearray(os.urandom(77)), array("I", range(50))]
        done = space.put_buffers(named, payload, segments=[[400, 600], [77], [100, 50, 50]]).wait(WAIT)
        self.assertEqual((done.status, done.bytes), (Status.OK, 1277))
        rooms = [bytearray(1000), bytearray(100), bytearray(200)]
        done = space.get_buffers(named, rooms, statuses=True).wait(WAIT)
        self.assertEqual((done.status, done.bytes, done.statuses), (Status.OK, 1277, (Status.OK,) * 3))
        self.assertEqual([bytes(rooms[0]), bytes(rooms[1][:77]), bytes(rooms[2])], [bytes(one) for one in payload])
        with self.assertRaises(kvasir.InvalidError):
            space.get_buffers(named[:16], [bytes(1000)])  # nowhere to write

    def test_who_wants_less_gets_what_there_is(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        self.put(space, named, cache, slots(0, 1, 2, 3))
        less = {"loss_max": 4, "loss_enough": 3, "hurry": 0.001}
        done = space.get(named, cache.memory, slots(4, 5, 6, 7), Paged.PER_CHUNK, **less).wait(WAIT)
        self.assertEqual((done.status, done.bytes), (Status.OK, 2 * Paged.CHUNK))
        self.assertEqual([cache.page(i + 4) for i in range(4)], [cache.page(i) for i in range(4)])
        self.assertEqual(space.get_buffers(named, [bytearray(Paged.CHUNK)] * 2, **less).wait(WAIT).status, Status.OK)
        for wrong in ({"loss_max": 2, "loss_enough": 3}, {"loss_enough": -1}, {"hurry": -1.0}):
            with self.assertRaises(kvasir.InvalidError):
                space.get(named, cache.memory, slots(4, 5, 6, 7), Paged.PER_CHUNK, **wrong)
        self.assertEqual(self.connector.in_flight, 0)

    def test_delete(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(2)
        self.put(space, named, cache, slots(0, 1, 2, 3))
        self.assertEqual(space.delete(named[16:], first_place=1, parent=named[:16], extent_first=named[:16]).wait(WAIT).n_ok, 1)
        self.assertEqual(self.connector.lookup([space], named).wait(WAIT).n_prefix, 1)

    def test_buffers_stay_alive_until_the_completion(self: "Cases") -> None:
        space, named = self.connector.space(description(chunk_bytes=0)), keys(1)
        payload = os.urandom(1 << 20)
        space.put_buffers(named, [bytes(payload)]).wait(WAIT)
        room = bytearray(1 << 20)
        op = space.get_buffers(named, [room])
        with self.assertRaises(BufferError):  # pinned: it can not be resized under the library
            room.extend(b"x")
        self.assertEqual(op.wait(WAIT).status, Status.OK)
        room.extend(b"x")
        self.assertEqual(room[:-1], payload)

    def test_memory(self: "Cases") -> None:
        space, cache, named = self.connector.space(description()), Paged(self.connector), keys(1)
        self.assertEqual((cache.memory.slot_bytes, cache.memory.layers), (48, {0, 1}))
        op = space.put(named, cache.memory, slots(0, 1), Paged.PER_CHUNK)
        with self.assertRaises(kvasir.BusyError):
            cache.memory.unregister()
        op.wait(WAIT)
        cache.memory.unregister()
        cache.memory.unregister()
        with self.assertRaises(kvasir.ClosedError):
            space.get(named, cache.memory, slots(0, 1), Paged.PER_CHUNK)
        self.assertEqual(self.connector.in_flight, 0)


class Cases(TransferCases, unittest.TestCase):
    """For the type checker's sake: what the cases are mixed into."""


class Embedded(TransferCases, EmbeddedTest):
    pass


class OnNode(TransferCases, NodeTest):
    pass


del Cases  # it has no store


if __name__ == "__main__":
    binding_fixture.main()
