"""The invariants of the design, one by one, with tiers that fail, come late and damage bytes.

The number in a test's name is the invariant's; docs/test-faults.md has the table of invariant, fault and test.
"""
import os
import shutil
import signal
import sys
import threading
import time
import unittest

import harness

harness.need_grpc()

import rpc  # noqa: E402
from faults import FaultyNode  # noqa: E402
from harness import GRACE_MS, SANITIZED, until  # noqa: E402
from redis_server import Redis  # noqa: E402
from rpc import pb  # noqa: E402
from tiers import CHAIN, SSD, TierTest  # noqa: E402

BUSY, CANCELED, DEADLINE, FULL = -9, -3, -2, -200
N = 8  # chains of the client's: 10 MB, of which memory holds 4
DATA = os.urandom(16384)
SUM = rpc.crc32c(DATA)


class Invariants(TierTest):
    def node(self, **settings):
        node = FaultyNode(**settings)
        self.addCleanup(node.close)
        return node

    def rules(self, node, ssd="off", redis="off", dram="off"):
        self.assertTrue(node.rules(ssd, redis, dram), node.log())

    def off(self, node):
        """No faults, and nothing of them left."""
        self.rules(node)
        self.assertTrue(node.none_held(), node.log())

    def connect(self, node):
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        return client, client.open_space()

    def redis_nodes(self, n=1, **settings):
        if shutil.which("redis-server") is None:
            self.skipTest("install redis-server")
        redis = Redis().start()
        self.addCleanup(redis.close)
        base = dict(redis__mode="single", redis__addresses=f"127.0.0.1:{redis.port}", redis__lookup_timeout="500ms",
                    redis__get_timeout="500ms", redis__put_timeout="10s", redis__connect_timeout="10s", redis__stall_timeout="60s")
        nodes = [self.node(**{**base, **settings}).start() for _ in range(n)]
        for node in nodes:
            self.assertTrue(until(lambda node=node: node.metric("kvasir_redis_up") == 1, 60), node.log())
        return nodes

    def alive(self, node):
        """It takes and gives what needs no other tier."""
        client, space = self.connect(node)
        stream, key, data = client.transfer(), rpc.new_key(), os.urandom(1000)
        self.assertEqual(stream.put(space, key, [data]), rpc.OK)
        self.assertEqual(stream.get(space, key), (rpc.OK, data))
        stream.end()

    def fill(self, node, client, space, n):
        """Puts n chunks of DATA behind their own names, each on SSD when this returns; memory holds the last."""
        stream, keys = client.transfer(), []
        for _ in range(n):
            keys.append(rpc.new_key())
            self.assertEqual(stream.put(space, keys[-1], [keys[-1], DATA], [rpc.crc32c(keys[-1]), SUM]), rpc.OK)
            if len(keys) % 50 == 0:
                self.written(node)
        stream.end()
        self.written(node)
        return keys

    def start_gets(self, stream, space, keys, timeout_ms):
        numbers = []
        for key in keys:
            number, start = stream.start_get(space, key, 1 << 20)
            start.timeout_ms = timeout_ms
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            numbers.append(number)
        return numbers

    def ends(self, stream, numbers):
        """Statuses of all, each of which comes once."""
        ends = {}
        while len(ends) < len(numbers):
            for end in stream.receive().header.ends:
                self.assertNotIn(end.id, ends)
                ends[end.id] = end.status
        self.assertEqual(sorted(ends), sorted(numbers))
        return [ends[number] for number in numbers]

    # ---- the faults themselves ----

    def test_rules_of_the_configuration(self):
        for settings, says in ((dict(ssd__test_fault="error:reads"), "ssd.test_fault: reads"),
                               (dict(redis__test_fault="bang"), "redis.test_fault: bang"),
                               (dict(dram__test_fault="delay:write:1s"), "dram.test_fault: delay: memory is never late")):
            node = harness.Node(**settings)
            self.addCleanup(node.close)
            code, said = node.run("--check-config")
            self.assertEqual(code, 2)
            self.assertIn(says, said)
        node = self.ssd_node().start()
        self.assertIn("TEST FAULTS: operations of the tier ssd are made to fail on purpose", node.log())
        self.rules(node, "error:read", dram="error:write:0.5")
        self.assertEqual(node.metric('kvasir_test_fault_rules{tier="ssd"}'), 1)
        node.write_rules("nonsense")
        node.signal(signal.SIGHUP)
        self.assertTrue(until(lambda: "ssd.test_fault: nonsense" in node.log()))
        self.assertEqual(node.metric('kvasir_test_fault_rules{tier="ssd"}'), 1)
        self.rules(node, redis="error:all")
        self.assertTrue(until(lambda: "redis.test_fault was empty at the start, which needs a restart" in node.log()))
        self.rules(node)
        node.stop()

    def test_none_without_the_settings(self):
        node = harness.Node(ssd__size="16MiB", ssd__log_file_size="2MiB", chunk__max_size="1MiB")
        self.addCleanup(node.close)
        node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        node.start()
        self.assertNotIn("TEST FAULTS", node.log())
        self.assertNotIn("test_fault", node.http("/metrics")[2])
        node.stop()

    # ---- 1: a get returns exactly the bytes that were put, or a miss ----

    def test_1_ssd_damage_and_errors(self):
        """tier_client compares every byte of what it is given. What could not be read is dropped, and can be put again."""
        node = self.ssd_node().start()
        self.put(node, 0, N)
        for rules in ("error:read:0.3", "error:read:busy:0.3", "delay:read:20ms:0.3,error:all:0.2"):
            self.rules(node, rules)
            self.get(node, 0, N)
        self.off(node)
        self.put(node, 0, N)
        self.assertEqual(self.get(node, 0, N), {chain: "1" * CHAIN for chain in range(N)})
        for rules in ("corrupt:read:0.2", "corrupt:read:silent:0.2", "corrupt:read:0.1,error:read:miss:0.1"):
            self.rules(node, rules)
            self.put(node, 0, N)
            self.get(node, 0, N)
        self.rules(node, "corrupt:write:0.5")  # the tier compares, and keeps nothing that does not fit
        self.put(node, 100, N)
        self.off(node)
        self.get(node, 100, N)
        self.assertGreater(node.metric("kvasir_corrupt_chunks_total"), 0)
        self.assertGreater(node.faults("ssd", "corrupt"), 10)
        node.stop()
        node.start()
        self.get(node, 0, 100 + N)
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0, "nothing wrong was ever on the device")
        node.stop()

    def test_1_memory_damage_and_errors(self):
        """Memory that changes is found by who reads it, in memory or from the device: the checksums that went with it are those of its put."""
        node = self.ssd_node().start()
        self.rules(node, dram="corrupt:write:every=3")
        self.client(node, "put", 0, N)
        self.get(node, 0, N)
        damaged = node.faults("dram", "corrupt")
        self.assertGreater(damaged, 20)
        self.rules(node, dram="error:read:0.2,error:write:0.2,error:write:full:0.2")
        self.client(node, "put", 100, N)
        self.get(node, 100, N)
        self.assertGreater(node.faults("dram", "error"), 20)
        self.off(node)
        self.get(node, 0, N)
        self.put(node, 200, 2)
        self.assertEqual(self.get(node, 200, 2), {200: "1" * CHAIN, 201: "1" * CHAIN})
        node.stop()
        node.start()
        self.get(node, 0, 200)
        self.assertLessEqual(node.metric("kvasir_corrupt_chunks_total"), damaged)
        node.stop()

    def test_1_redis_damage(self):
        """Redis keeps what it is given: damaged values lie there, and readers refuse them."""
        one, two = self.redis_nodes(2, redis__get_timeout="60s")
        self.rules(one, redis="corrupt:write:every=2")
        self.client(one, "put", 0, 2)
        self.assertTrue(until(lambda: one.metric('kvasir_tier_puts_total{tier="redis"}') == 2 * CHAIN, 60), one.log())
        self.get(two, 100, 1)  # from now on it knows the space
        found = self.get(two, 0, 2)
        self.assertEqual(sum(chunks.count("1") for chunks in found.values()), CHAIN)
        self.assertGreaterEqual(two.metric('kvasir_redis_misses_total{cause="checksum"}'), CHAIN)
        self.rules(two, redis="corrupt:read:silent,error:read:miss:every=3")
        self.client(one, "put", 10, 1)
        self.get(two, 10, 1)
        one.stop()
        two.stop()

    # ---- 2: nothing is visible before it is whole; a crash at any instant keeps 1 ----

    def test_2_killed_while_writes_are_kept_back(self):
        node = self.ssd_node(dram__size="16MiB", ssd__durability="put").start()
        self.rules(node, "delay:write:20s:every=2")
        self.client(node, "put", 0, 2)
        self.assertTrue(until(lambda: node.held() >= 8 and node.metric("kvasir_tier_puts_total", SSD) >= 8, 60), node.log())
        self.assertEqual(self.get(node, 0, 2), {0: "1" * CHAIN, 1: "1" * CHAIN})  # from memory: the put was whole
        node.signal(signal.SIGKILL)
        node.wait()
        node.write_rules()
        node.start()
        there = sum(chunks.count("1") for chunks in self.get(node, 0, 2).values())
        self.assertGreaterEqual(there, 8)
        self.assertLess(there, 2 * CHAIN)
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0)
        node.stop()

    def test_2_half_a_put_is_not_there(self):
        """In no tier, however they behave, and neither by get nor by look-up."""
        node = self.redis_nodes(1)[0]
        client, space = self.connect(node)
        self.rules(node, redis="delay:all:100ms:0.5,error:all:0.2")
        for _ in range(10):
            stream, key = client.transfer(), rpc.new_key()
            number, start = stream.start_put(space, key, [len(DATA), len(DATA)])
            stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
            stream.send(rpc.put_frame(number, 0, DATA, SUM))
            self.assertEqual(client.lookup(space, [key]).status, rpc.MISS)
            other = client.transfer()
            self.assertEqual(other.get(space, key)[0], rpc.MISS)
            other.end()
            stream.send(pb.Frame(header=pb.FrameHeader(cancels=[number])))
            self.assertEqual(stream.wait_end(number), CANCELED)
            stream.end()
        self.off(node)
        self.assertEqual(node.metric("kvasir_chunks"), 0)
        self.assertEqual(node.metric('kvasir_tier_puts_total{tier="redis"}'), 0)
        node.stop()

    # ---- 3: nothing grows without a bound ----

    def test_3_writes_that_never_end(self):
        """The queue is bounded and sheds, puts go on being taken, memory stays what it is."""
        node = self.ssd_node(ssd__queue="8", dram__size="16MiB").start()
        client, space = self.connect(node)
        self.fill(node, client, space, 10)
        self.rules(node, "delay:write:1h")
        before = node.memory()
        stream = client.transfer()
        for _ in range(300):
            self.assertIn(stream.put(space, rpc.new_key(), [DATA], [SUM]), (rpc.OK, FULL))
            self.assertLessEqual(node.metric("kvasir_tier_write_queue", SSD), 8)
        stream.end()
        self.assertLessEqual(node.held(), 16)
        self.assertGreater(node.metric("kvasir_tier_put_failures_total", '{tier="ssd",cause="shed"}'), 100)
        # AddressSanitizer keeps what was freed for a while.
        self.assertLess(node.memory(), before + (64 << 20) * (4 if harness.SANITIZED else 1))
        node.stop()

    def test_3_reads_that_never_end(self):
        """Fetches are bounded: a get beyond them is told at once that the node is busy."""
        node = self.ssd_node().start()
        client, space = self.connect(node)
        keys = self.fill(node, client, space, 700)  # 11 MB: memory holds a third
        self.rules(node, "delay:read:1h")
        stream = client.transfer()
        ends = self.ends(stream, self.start_gets(stream, space, keys, 1500))
        stream.end()
        self.assertLessEqual(set(ends), {rpc.OK, rpc.MISS, BUSY, DEADLINE})
        self.assertGreater(ends.count(BUSY), 0)
        self.assertLessEqual(node.held(), 256)
        self.off(node)
        self.assertEqual(self.one_get(client, space, keys[0])[0], rpc.OK)
        node.stop()

    def one_get(self, client, space, key):
        stream = client.transfer()
        status, data = stream.get(space, key)
        stream.end()
        return status, data

    # ---- 4: every operation completes exactly once, within its deadline ----

    def test_4_deadlines_and_cancels(self):
        node = self.ssd_node().start()
        client, space = self.connect(node)
        keys = self.fill(node, client, space, 400)[:50]
        self.rules(node, "delay:read:1h")
        stream = client.transfer()
        began = time.monotonic()
        ends = self.ends(stream, self.start_gets(stream, space, keys[:20], 400))
        took_ms = (time.monotonic() - began) * 1000
        self.assertLessEqual(set(ends), {rpc.MISS, DEADLINE})
        if harness.STRICT:
            self.assertLess(took_ms, 400 + GRACE_MS)
        numbers = self.start_gets(stream, space, keys[20:], 300000)
        self.assertTrue(until(lambda: node.held() >= len(keys), 60))
        stream.send(pb.Frame(header=pb.FrameHeader(cancels=numbers)))
        self.assertEqual(set(self.ends(stream, numbers)), {CANCELED})
        waits = self.start_gets(stream, space, keys[20:], 300000)  # joins those reads, which end by the node's own deadline
        self.assertLessEqual(set(self.ends(stream, waits)), {rpc.MISS, DEADLINE, BUSY})
        stream.end()
        self.off(node)
        for key in keys:
            self.assertEqual(self.one_get(client, space, key), (rpc.OK, key + DATA))
        node.stop()

    def test_4_stopped_while_operations_are_kept_back(self):
        node = self.ssd_node(dram__size="8MiB").start()
        client, space = self.connect(node)
        keys = self.fill(node, client, space, 700)[:20]
        self.rules(node, "delay:all:1h")
        stream = client.transfer()
        numbers = self.start_gets(stream, space, keys, 300000)
        self.assertTrue(until(lambda: node.held() >= len(keys), 60))
        code = []
        stopper = threading.Thread(target=lambda: code.append((node.signal(signal.SIGTERM), node.wait())[1]))
        stopper.start()
        try:
            self.ends(stream, numbers)
        except rpc.grpc.RpcError:
            pass  # or the connection has ended, and they with it
        stopper.join()
        self.assertEqual(code, [0], node.log())
        node.check_reports()

    # ---- 5: what is dead costs misses and time-outs ----

    def test_5_redis_dead_late_and_lying(self):
        one, two = self.redis_nodes(2)
        self.client(one, "put", 0, 3)
        self.assertTrue(until(lambda: one.metric('kvasir_tier_puts_total{tier="redis"}') == 3 * CHAIN, 60))
        for chain, rules in enumerate(("error:all", "delay:all:1h", "error:lookup:0.5,delay:read:2s,corrupt:read")):
            self.rules(two, redis=rules)
            self.assertEqual(self.get(two, chain, 1), {chain: "0" * CHAIN}, rules)
            client, space = self.connect(two)
            self.assertEqual(client.lookup(space, [rpc.new_key()]).status, rpc.MISS)
            self.alive(two)
        self.off(two)
        wanted = {chain: "1" * CHAIN for chain in range(3)}
        self.assertTrue(until(lambda: self.get(two, 0, 3) == wanted, 60), "half a second may be too short, but not each time")
        one.stop()
        two.stop()

    def test_5_ssd_dead(self):
        """The node is a cache in memory then, and takes chunks to the device again when it is well."""
        node = self.ssd_node().start()
        self.put(node, 0, N)
        self.rules(node, "error:all")
        self.alive(node)
        self.client(node, "put", 100, 1)
        self.assertEqual(self.get(node, 100, 1), {100: "1" * CHAIN})
        self.get(node, 0, N)
        self.off(node)
        self.put(node, 0, N)
        self.assertEqual(self.get(node, 0, N), {chain: "1" * CHAIN for chain in range(N)})
        node.stop()

    # ---- 6: nobody gets another's chunks ----

    def test_6_spaces_do_not_mix(self):
        """The same keys in two spaces, in every tier, under faults and a kill. (Tenants: unit/tiers_faulty_store.)"""
        node = self.ssd_node().start()
        client = self.connect(node)[0]
        spaces = [client.open_space(rpc.descriptor(revision=str(i))) for i in (1, 2)]
        keys = [rpc.new_key() for _ in range(150)]
        blocks = [(bytes([65 + i]) * 16384, rpc.crc32c(bytes([65 + i]) * 16384)) for i in (0, 1)]

        def put_all():
            stream = client.transfer()
            for number, key in enumerate(keys):
                for space, (data, crc) in zip(spaces, blocks):
                    self.assertIn(stream.put(space, key, [data], [crc]), (rpc.OK, rpc.EXISTS))
                if number % 50 == 49:
                    self.written(node)
            stream.end()

        def get_all():
            hits = 0
            for key in keys:
                for space, (data, _) in zip(spaces, blocks):
                    status, got = self.one_get(client, space, key)
                    hits += status == rpc.OK
                    self.assertTrue(status != rpc.OK or got == data, "another's bytes")
            return hits

        put_all()
        for rules in ("error:all:0.2,delay:all:5ms:0.2", "corrupt:read:0.2,error:read:miss:0.1"):
            self.rules(node, rules)
            get_all()
        self.off(node)
        put_all()
        self.assertEqual(get_all(), 2 * len(keys))
        client.close()
        node.signal(signal.SIGKILL)
        node.wait()
        node.start()
        client = self.connect(node)[0]
        self.assertGreater(get_all(), 0)
        node.stop()

    # ---- 7: durations come from a monotonic clock ----

    @unittest.skipIf(SANITIZED, "a sanitizer has to be the first library")
    def test_7_a_wall_clock_that_jumps(self):
        node = self.ssd_node()
        os.environ["LD_PRELOAD"] = os.environ["KVASIR_WALL_CLOCK"]
        try:
            node.start()
        finally:
            del os.environ["LD_PRELOAD"]
        client, space = self.connect(node)
        keys = self.fill(node, client, space, 400)
        years = {line[:4] for line in node.log().splitlines()}
        self.rules(node, "delay:read:100ms:0.2")
        request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=keys[0], key_length=32, unchained=True), lease_ms=60000)
        reply = client.call("Lookup", request, pb.LookupReply)
        self.assertEqual((reply.prefix, reply.lease_ms), (1, 60000))
        for key in keys[:50]:
            self.assertEqual(self.one_get(client, space, key), (rpc.OK, key + DATA))
        self.assertEqual(node.metric("kvasir_leases"), 1)  # a minute has not passed, whatever the day
        self.rules(node, "delay:read:1h")
        stream = client.transfer()
        ends = self.ends(stream, self.start_gets(stream, space, keys[100:110], 500))
        stream.end()
        self.assertLessEqual(set(ends), {rpc.MISS, DEADLINE})
        years |= {line[:4] for line in node.log().splitlines()}
        self.assertGreater(len(years), 3, f"its clock did not jump: {node.log()[:500]}")
        node.stop()


if __name__ == "__main__":
    harness.main(500)
