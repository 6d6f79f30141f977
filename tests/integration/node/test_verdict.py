"""Load or compute: a node whose SSD is slow says which is faster, by what an engine has told of its prefills."""
import os
import random

import harness

harness.need_grpc()

import rpc  # noqa: E402
from harness import NodeTest, until  # noqa: E402
from rpc import pb  # noqa: E402

ACCEPTED, CLIPPED, DEFERRED, REJECTED, MISSING = 1, 2, 3, 4, 5
DRAM, DISK = 1, 2
CHUNK = 128 << 10
CHUNKS = 20  # of a chain: 2.5 MiB, of which memory holds one
DELAY_US = 400_000
DATA = [random.Random(place).randbytes(CHUNK) for place in range(CHUNKS)]
CRCS = [rpc.crc32c(data) for data in DATA]
SSD = '{tier="ssd"}'


class Verdict(NodeTest):
    def serve(self):
        self.served = self.node(store__policy="lru", dram__size="4MiB", chunk__max_size="1MiB", ssd__log_file_size="2MiB", ssd__size="64MiB",
                                ssd__test_fault=f"delay:read:{DELAY_US // 1000}ms")
        self.served.settings["ssd.paths"] = os.path.join(self.served.folder, "ssd")
        self.served.start()
        self.client = rpc.Client(f"127.0.0.1:{self.served.port}")
        self.addCleanup(self.client.close)
        self.space = self.client.open_space()

    def keys(self, name):
        return [f"{name} {place}".encode().ljust(32, b".") for place in range(CHUNKS)]

    def put(self, name):
        keys, stream = self.keys(name), self.client.transfer()
        for place in range(CHUNKS):
            number, start = stream.start_put(self.space, keys[place], [CHUNK])
            start.keys.CopyFrom(pb.Keys(keys=keys[place], key_length=32, first_place=place, parent=keys[place - 1] if place else b""))
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            stream.send(rpc.put_frame(number, 0, DATA[place], CRCS[place]))
            self.assertEqual(stream.wait_end(number), rpc.OK)
        stream.end()
        self.assertTrue(until(lambda: self.served.metric("kvasir_tier_write_queue", SSD) == 0 and
                              self.served.metric("kvasir_tier_operations", SSD) == 0, 60))

    def look(self, name):
        keys = pb.Keys(keys=b"".join(self.keys(name)), key_length=32)
        return self.client.call("Lookup", pb.LookupRequest(spaces=[self.space], keys=keys, want_tiers=True), pb.LookupReply)

    def told(self, tokens, us, **fields):
        ask = pb.HintRequest(**{"space": self.space, "prefill_tokens": tokens, "prefill_us": us, **fields})
        return self.client.call("Hint", ask, pb.HintReply).outcome

    def engine(self, chunk_us):
        """It computes a chunk in so long, whatever it did before."""
        for _ in range(16):
            self.assertEqual(self.told(256, chunk_us), ACCEPTED)

    def test_a_slow_medium(self):
        self.serve()
        for name in ("slow", "other", "last"):
            self.put(name)
        stream = self.client.transfer()
        self.assertEqual(stream.get(self.space, self.keys("slow")[-1]), (rpc.OK, DATA[-1]))  # so that it is known how slow it is
        stream.end()
        reply = self.look("slow")
        self.assertEqual((reply.prefix, reply.compute_us, reply.worth, reply.worth_us), (CHUNKS, 0, 0, 0))
        self.assertEqual(reply.tiers[0], DISK)
        self.assertGreaterEqual(reply.fetch_us, DELAY_US)

        self.engine(2_000)  # 40 ms for all of it
        reply = self.look("slow")
        self.assertEqual((reply.prefix, reply.worth), (CHUNKS, 0))
        self.assertEqual(reply.worth_us, reply.compute_us)
        self.assertTrue(CHUNKS * 2_000 <= reply.compute_us < CHUNKS * 2_500, reply.compute_us)
        self.assertLess(reply.compute_us, reply.fetch_us)
        reply = self.look("last")  # it lies in memory
        self.assertEqual(list(reply.tiers), [DRAM] * CHUNKS)
        self.assertEqual((reply.prefix, reply.worth), (CHUNKS, CHUNKS))
        self.assertLess(reply.worth_us, reply.compute_us)

        self.engine(500_000)  # ten seconds
        reply = self.look("slow")
        self.assertEqual((reply.prefix, reply.worth), (CHUNKS, CHUNKS))
        self.assertTrue(abs(reply.worth_us - reply.fetch_us) <= 1, (reply.worth_us, reply.fetch_us))
        self.assertGreater(reply.compute_us, reply.fetch_us)
        self.served.stop()

    def test_what_is_told_is_checked(self):
        self.serve()
        self.assertEqual(self.told(10, 1000), DEFERRED)
        self.assertEqual(self.told(256, 0), REJECTED)
        self.assertEqual(self.told(256, 1000, space=b""), REJECTED)
        self.assertEqual(self.told(256, 1000, space=bytes(32)), MISSING)
        self.assertEqual(self.told(256, 1 << 60), CLIPPED)
        self.assertEqual(self.told(256, 1000, program="agent"), ACCEPTED)
        self.served.stop()


if __name__ == "__main__":
    harness.main(100)
