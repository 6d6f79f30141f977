"""Two nodes over one real Redis: what the first stored, the second finds; and a Redis in trouble costs misses, never a stalled node."""
import json
import os
import shutil
import subprocess
import sys
import time

import harness

harness.need_grpc()
if shutil.which("redis-server") is None:
    print("skipped: install redis-server")
    sys.exit(77)

import rpc  # noqa: E402
from harness import NodeTest, until  # noqa: E402
from redis_server import Redis  # noqa: E402
from rpc import pb  # noqa: E402

TIER_REDIS = 3
REDIS = '{tier="redis"}'
# What a lookup or get may take when Redis does not answer: its own time-out, and much for a machine that others load.
TIMEOUTS = {"redis.lookup_timeout": "200ms", "redis.get_timeout": "500ms", "redis.put_timeout": "20s",
            "redis.connect_timeout": "500ms", "redis.stall_timeout": "1s", "redis.retry_longest": "200ms"}


# Where Redis is well nothing is to be late, however loaded the machine.
PATIENT = {"redis.lookup_timeout": "10s", "redis.get_timeout": "60s", "redis.put_timeout": "60s",
           "redis.connect_timeout": "10s", "redis.stall_timeout": "20s", "redis.retry_longest": "200ms"}


class RedisTest(NodeTest):
    timeouts = PATIENT

    def redis(self, *options):
        redis = Redis(*options).start()
        self.addCleanup(redis.close)
        return redis

    def serve(self, redis, **settings):
        """A node over it, a client and a space."""
        wanted = {"redis__mode": "single", "redis__addresses": f"127.0.0.1:{redis.port}"}
        wanted.update({name.replace(".", "__"): value for name, value in self.timeouts.items()})
        node = self.node(**{**wanted, **settings}).start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        return node, client, client.open_space()

    def store(self, node, client, space, n=4, size=50000):
        """Puts n chunks and waits until Redis has them."""
        chunks = {rpc.new_key(): [os.urandom(size), os.urandom(100)] for _ in range(n)}
        before = node.metric("kvasir_tier_puts_total", REDIS)
        stream = client.transfer()
        for key, segments in chunks.items():
            self.assertEqual(stream.put(space, key, segments), rpc.OK)
        stream.end()
        self.assertTrue(until(lambda: node.metric("kvasir_tier_puts_total", REDIS) - before == n), node.http("/metrics")[2])
        return chunks

    def tiers(self, client, space, keys):
        request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=b"".join(keys), key_length=32), want_tiers=True)
        return client.call("Lookup", request, pb.LookupReply)

    def get(self, client, space, key):
        stream = client.transfer()
        status, data = stream.get(space, key)
        stream.end()
        return status, data

    def ctl(self, node, *arguments, code=0):
        done = subprocess.run([os.environ["KVASIRCTL"], "--endpoint", f"unix:{node.socket}", *arguments], capture_output=True, text=True,
                              timeout=60 * harness.SLOW)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}\nnode: {node.log()}")
        return done.stdout

    def why(self, node, space, key):
        """What it says of a key that it has not."""
        return json.loads(self.ctl(node, "--json", "why-miss", "--space", space.hex(), key.hex(), code=1))

    def assert_alive(self, client, space):
        """The node itself is as quick as ever: it puts and gets what it has."""
        key, data = rpc.new_key(), os.urandom(1000)
        stream = client.transfer()
        self.assertEqual(stream.put(space, key, [data]), rpc.OK)
        self.assertEqual(stream.get(space, key), (rpc.OK, data))
        stream.end()
        client.ping()


class Shared(RedisTest):
    def serve(self, redis, **settings):
        served = super().serve(redis, **settings)
        self.assertTrue(until(lambda: served[0].metric("kvasir_redis_up") == 1), served[0].log())
        return served

    def test_what_one_stores_another_finds(self):
        redis = self.redis()
        first, one, space = self.serve(redis)
        chunks = self.store(first, one, space)
        keys = list(chunks)
        self.assertEqual(len(redis.keys()), len(chunks))
        second, two, _ = self.serve(redis)
        absent = rpc.new_key()
        reply = self.tiers(two, space, [*keys, absent])
        self.assertEqual((reply.status, reply.prefix, list(reply.tiers)), (rpc.OK, len(keys), [TIER_REDIS] * len(keys) + [0]))
        self.assertGreater(reply.fetch_us, 0)
        self.assertEqual((reply.compute_us, reply.worth), (0, 0))
        for us, worth in ((1000000, len(keys)), (26, 0)):  # for a chunk: a second, or as fast as is believed
            for _ in range(16):
                told = pb.HintRequest(space=space, prefill_tokens=256, prefill_us=us)
                self.assertEqual(two.call("Hint", told, pb.HintReply).outcome, 1)
            reply = self.tiers(two, space, [*keys, absent])
            self.assertEqual((reply.prefix, reply.worth), (len(keys), worth))
            self.assertTrue(us * len(keys) <= reply.compute_us < 1.1 * us * len(keys), reply.compute_us)
        for key, segments in chunks.items():
            self.assertEqual(self.get(two, space, key), (rpc.OK, b"".join(segments)))
        self.assertEqual(self.get(two, space, absent)[0], rpc.MISS)
        reply = self.tiers(two, space, keys)
        self.assertEqual(list(reply.tiers), [1] * len(keys))  # they were promoted
        self.assertEqual(second.metric("kvasir_tier_promotions_total", REDIS), len(keys))
        self.assert_seconds(second, "kvasir_tier_read_latency_seconds", REDIS)
        self.assertEqual(first.metric("kvasir_redis_up"), 1)
        first.stop()
        second.stop()

    def test_a_node_that_restarts_finds_its_own(self):
        redis = self.redis()
        node, client, space = self.serve(redis)
        chunks = self.store(node, client, space)
        client.close()
        node.stop()
        node.start()
        client = rpc.Client(f"127.0.0.1:{node.port}")
        self.addCleanup(client.close)
        client.open_space()
        for key, segments in chunks.items():
            self.assertEqual(self.get(client, space, key), (rpc.OK, b"".join(segments)))
        node.stop()

    def test_more_than_memory_holds(self):
        redis = self.redis()
        node, client, space = self.serve(redis, dram__size="8MiB")
        chunks = self.store(node, client, space, n=30, size=500000)
        for key, segments in chunks.items():
            self.assertEqual(self.get(client, space, key), (rpc.OK, b"".join(segments)))
        self.assertGreater(node.metric("kvasir_tier_promotions_total", REDIS), 10)
        node.stop()

    def test_a_time_that_ran_out(self):
        """What is not in Redis any more since its time there is over has expired, and the node says so; what went from there sooner has not."""
        redis = self.redis()
        node, client, space = self.serve(redis, redis__ttl="60s")
        longer = list(self.store(node, client, space, n=1))[0]
        number = node.metric("kvasir_tier_puts_total", REDIS)
        shorter, stream = rpc.new_key(), client.transfer()
        sent, start = stream.start_put(space, shorter, [1000])
        start.ttl_ms = int(3000 * harness.SLOW)  # it goes from the node before that
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        data = os.urandom(1000)
        stream.send(rpc.put_frame(sent, 0, data, rpc.crc32c(data)))
        self.assertEqual(stream.wait_end(sent), rpc.OK)
        stream.end()
        self.assertTrue(until(lambda: node.metric("kvasir_tier_puts_total", REDIS) == number + 1))
        self.ctl(node, "evict", "--all")
        self.assertTrue(until(lambda: len(redis.keys()) == 1))  # its time is over
        document = self.why(node, space, shorter)
        self.assertEqual((document["cause"], document["departure"]["cause"]), ("expired", "evicted"))
        self.assertTrue(0 <= document["lapsed_ms"] < 60000 * harness.SLOW)
        self.assertRegex(document["text"], r"^Its time in Redis was over .* ago, as this node reckons.* From this node: It was evicted .* asked for it")
        self.assertEqual(self.get(client, space, shorter)[0], rpc.MISS)
        self.assertEqual(node.metric("kvasir_get_misses_total", '{cause="expired"}'), 1)
        self.assertEqual(redis.ask("DEL", redis.keys()[0]), 1)
        document = self.why(node, space, longer)
        self.assertEqual((document["cause"], document["lapsed_ms"]), ("evicted", None))
        self.assertEqual(self.get(client, space, longer)[0], rpc.MISS)
        self.assertEqual(node.metric("kvasir_get_misses_total", '{cause="evicted"}'), 1)
        node.stop()

    def test_a_tenant_at_its_bound(self):
        """What a tenant has in Redis of what this node has written is no more than its bound: what would be more is not written, is counted, and is served from memory; and time gives room again."""
        redis = self.redis()
        path = os.path.join(redis.folder, "tenants.yaml")
        with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("name: alpha\nredis: 250KiB\nanonymous: true\n---\nname: beta\n")
        settings = {"tenants": path, "redis__ttl": "60s", "redis__codec": "none"}
        code, said = self.node(redis__mode="single", redis__addresses="a:1", tenants=path, redis__ttl="0").run("--check-config")
        self.assertNotEqual(code, 0)
        self.assertIn("redis: the bound of alpha needs a redis.ttl", said)
        node, client, space = self.serve(redis, **settings)
        self.store(node, client, space, n=4)  # 50100 bytes each, and a little more
        refused = {rpc.new_key(): os.urandom(100000) for _ in range(3)}
        stream = client.transfer()
        for key, data in refused.items():
            self.assertEqual(stream.put(space, key, [data]), rpc.OK)
        self.assertTrue(until(lambda: node.metric("kvasir_tier_put_failures_total", '{tier="redis",cause="quota"}') == 3))
        for key, data in refused.items():
            self.assertEqual(stream.get(space, key), (rpc.OK, data))
        self.assertEqual(len(redis.keys()), 4)
        alpha = json.loads(self.ctl(node, "--json", "tenants"))["tenants"][0]
        there = sum(redis.ask("STRLEN", key) + len(key) + 128 for key in redis.keys())  # 128: Redis' own for each
        self.assertEqual((alpha["name"], alpha["redis_bytes"], alpha["redis_quota"], alpha["redis_refused"]), ("alpha", there, 250 << 10, 3))
        self.assertEqual(node.metric("kvasir_tenant_redis_bytes", '{tenant="alpha"}'), there)
        self.assertEqual(node.metric("kvasir_tenant_redis_quota_bytes", '{tenant="alpha"}'), 250 << 10)
        self.assertEqual(node.metric("kvasir_tenant_redis_writes_refused_total", '{tenant="alpha"}'), 3)
        self.assertRegex(self.ctl(node, "tenants"), r"REDIS +OF +CHUNKS +EVICTED +REFUSED +RENT\n *alpha .* 19[67].[0-9] KiB +250.0 KiB +7 +0 +3")
        for key in redis.keys():
            redis.ask("PEXPIRE", key, 1)  # what a node does not know changes nothing
        keys = pb.Keys(keys=b"".join(list(refused)[:1]), key_length=32)
        self.assertEqual(client.call("Delete", pb.DeleteRequest(space=space, keys=keys), pb.DeleteReply, service="Cache").deleted, 1)
        self.assertEqual(stream.put(space, keys.keys, [os.urandom(100000)]), rpc.OK)
        self.assertTrue(until(lambda: node.metric("kvasir_tenant_redis_writes_refused_total", '{tenant="alpha"}') == 4))
        stream.end()
        node.stop()

        node, client, space = self.serve(redis, **{**settings, "redis__ttl": "2s"})
        self.store(node, client, space, n=4)
        self.assertTrue(until(lambda: node.metric("kvasir_tenant_redis_bytes", '{tenant="alpha"}') == 0))  # their time is over
        self.assertTrue(until(lambda: redis.keys() == []))
        self.store(node, client, space, n=4)
        node.stop()

    def test_deleted_is_deleted_there(self):
        redis = self.redis()
        node, client, space = self.serve(redis)
        keys = list(self.store(node, client, space))
        request = pb.DeleteRequest(space=space, keys=pb.Keys(keys=keys[0], key_length=32))
        reply = client.call("Delete", request, pb.DeleteReply, service="Cache")
        self.assertEqual((reply.status, reply.deleted, reply.unconfirmed), (rpc.OK, 1, 0))
        self.assertEqual(len(redis.keys()), len(keys) - 1)  # told when it is so
        self.assertEqual(self.get(client, space, keys[0])[0], rpc.MISS)
        reply = client.call("Delete", request, pb.DeleteReply, service="Cache")
        self.assertEqual((reply.status, reply.deleted), (rpc.MISS, 0))
        node.stop()

    def test_what_is_used_again_is_written(self):
        redis = self.redis()
        node, client, space = self.serve(redis, redis__write="reused")
        chunks = {rpc.new_key(): [os.urandom(50000)] for _ in range(3)}
        stream = client.transfer()
        for key, segments in chunks.items():
            self.assertEqual(stream.put(space, key, segments), rpc.OK)
        stream.end()
        self.assertEqual(node.metric("kvasir_tier_put_off_total", REDIS), 3)
        self.assertEqual(redis.keys(), [])
        for key, segments in list(chunks.items())[:2]:
            self.assertEqual(self.get(client, space, key), (rpc.OK, b"".join(segments)))
        self.assertTrue(until(lambda: len(redis.keys()) == 2))
        node.stop()

    def test_reading_alone(self):
        redis = self.redis()
        node, client, space = self.serve(redis, redis__write="none")
        self.assert_alive(client, space)
        self.assertEqual(redis.keys(), [])
        node.stop()

    def test_refused_configurations(self):
        for settings, says in (({"redis__mode": "single"}, "redis.addresses"),
                               ({"redis__mode": "single", "redis__addresses": "a:1", "redis__tls": "true"}, "TLS"),
                               ({"redis__mode": "single", "redis__addresses": "a:1,b:1"}, "several"),
                               ({"redis__mode": "cluster", "redis__addresses": "a:x"}, "host:port"),
                               ({"redis__mode": "single", "redis__addresses": "a:1", "redis__username": "u"}, "password")):
            code, said = self.node(**settings).run("--check-config")
            self.assertNotEqual(code, 0)
            self.assertIn(says, said)


class Sentinel(RedisTest):
    timeouts = TIMEOUTS

    def test_failover(self):
        """The master dies; Sentinel makes its replica the master; the nodes follow and find what they wrote."""
        master = self.redis("--repl-diskless-sync-delay", "0")
        replica = self.redis("--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
        self.assertTrue(until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), 30))
        sentinel = Redis()
        self.addCleanup(sentinel.close)
        sentinel.start_sentinel(f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
                                "sentinel down-after-milliseconds mymaster 3000\nsentinel failover-timeout mymaster 3000\n")
        self.assertTrue(until(lambda: b"slaves=1" in sentinel.ask("INFO", "sentinel"), 30))
        node, client, space = self.serve(sentinel, redis__mode="sentinel", dram__size="8MiB")
        chunks = self.store(node, client, space, n=20, size=500000)
        self.assertEqual(master.ask("DBSIZE"), len(chunks))  # WAIT would speak of what its own connection wrote
        self.assertTrue(until(lambda: replica.ask("DBSIZE") == len(chunks), 30))
        master.kill()
        self.assert_alive(client, space)
        for key, segments in chunks.items():  # misses at first, then all of them, wherever they are
            self.assertTrue(until(lambda: self.get(client, space, key) == (rpc.OK, b"".join(segments)), 60))
        self.assertGreaterEqual(node.metric("kvasir_redis_failovers_total"), 1)
        node.stop()


class Troubles(RedisTest):
    timeouts = TIMEOUTS

    def filled(self, *options, **settings):
        """A Redis with chunks that the node does not have in memory."""
        redis = self.redis(*options)
        first, one, space = self.serve(redis, **settings)
        chunks = self.store(first, one, space)
        one.close()
        first.stop()
        node, client, _ = self.serve(redis, **settings)
        self.assertTrue(until(lambda: node.metric("kvasir_redis_up") == 1))
        return redis, node, client, space, chunks

    def test_down_and_back(self):
        redis, node, client, space, chunks = self.filled()
        key = next(iter(chunks))
        redis.kill()
        self.assertEqual(self.tiers(client, space, [key]).status, rpc.MISS)
        self.assertEqual(self.get(client, space, key)[0], rpc.MISS)
        self.assert_alive(client, space)
        self.assertGreater(node.metric("kvasir_redis_misses_total", '{cause="down"}'), 0)
        redis.again()  # empty
        self.assertTrue(until(lambda: node.metric("kvasir_redis_up") == 1, 30))
        again = self.store(node, client, space)
        self.assertEqual(len(again), 4)
        node.stop()

    def test_slow(self):
        redis, node, client, space, chunks = self.filled()
        redis.freeze(True)
        for key in chunks:
            began = time.monotonic()
            self.assertEqual(self.tiers(client, space, [key]).status, rpc.MISS)
            self.assertEqual(self.get(client, space, key)[0], rpc.MISS)
            # 200 and 500 ms were asked for; what is tested is that it does not take until Redis wakes up
            self.assertLess(time.monotonic() - began, 10 * harness.SLOW)
            self.assert_alive(client, space)
        self.assertGreater(node.metric("kvasir_redis_misses_total", '{cause="deadline"}'), 0)
        redis.freeze(False)
        self.assertTrue(until(lambda: all(self.get(client, space, key) == (rpc.OK, b"".join(chunks[key])) for key in chunks), 30))
        node.stop()

    def test_stopped_while_redis_is_slow(self):
        redis, node, client, space, chunks = self.filled()
        redis.freeze(True)
        request = pb.LookupRequest(spaces=[space], keys=pb.Keys(keys=b"".join(chunks), key_length=32))
        stub = client.channel.unary_unary("/kvasir.v1.Cache/Lookup", pb.LookupRequest.SerializeToString,
                                          pb.LookupReply.FromString)
        calls = [stub.future(request, timeout=rpc.TIMEOUT) for _ in range(8)]
        stream = client.transfer()
        number, start = stream.start_get(space, next(iter(chunks)), 1 << 20)
        stream.send(pb.Frame(header=pb.FrameHeader(starts=[start])))
        node.stop()
        for call in calls:
            call.exception()  # each has ended, one way or the other
        redis.freeze(False)

    def test_wrong_type_and_cut_value(self):
        redis, node, client, space, chunks = self.filled()
        keys = list(chunks)
        for key in keys:
            names = [name for name in redis.keys() if name.endswith(key)]
            self.assertEqual(len(names), 1)
            value = redis.ask("GET", names[0])
            redis.ask("DEL", names[0])
            if key == keys[0]:
                redis.ask("RPUSH", names[0], "x")
            elif key == keys[1]:
                redis.ask("SET", names[0], value[:-1000])
            elif key == keys[2]:
                redis.ask("SET", names[0], value[:-1000] + bytes(1000))
            else:
                redis.ask("SET", names[0], value)
        for key in keys[:3]:
            self.assertEqual(self.get(client, space, key)[0], rpc.MISS)
        self.assertEqual(self.get(client, space, keys[3]), (rpc.OK, b"".join(chunks[keys[3]])))
        for cause in ("wrong_type", "length", "checksum"):
            self.assertEqual(node.metric("kvasir_redis_misses_total", f'{{cause="{cause}"}}'), 1, cause)
        node.stop()

    def test_wrong_password(self):
        redis = self.redis("--requirepass", "right")
        node, client, space = self.serve(redis, redis__password="wrong")
        self.assert_alive(client, space)
        self.assertEqual(self.get(client, space, rpc.new_key())[0], rpc.MISS)
        self.assertEqual(self.tiers(client, space, [rpc.new_key()]).status, rpc.MISS)
        self.assertTrue(until(lambda: node.metric("kvasir_redis_misses_total", '{cause="denied"}') > 0))
        self.assertNotIn("right", node.log() + node.http("/metrics")[2])
        node.stop()
        self.assertIn("WRONGPASS", node.log())
        self.assertNotIn("wrong", node.log().replace("wrong number", ""))

    def test_full(self):
        redis = self.redis("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
        node, client, space = self.serve(redis)
        stream = client.transfer()
        for _ in range(20):
            self.assertEqual(stream.put(space, rpc.new_key(), [os.urandom(500000)]), rpc.OK)
        stream.end()
        self.assertTrue(until(lambda: node.metric("kvasir_tier_put_failures_total", '{tier="redis",cause="full"}') > 0))
        self.assertEqual(node.metric("kvasir_redis_up"), 1)
        self.assert_alive(client, space)
        node.stop()


if __name__ == "__main__":
    harness.main(250)
