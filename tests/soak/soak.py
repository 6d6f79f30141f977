#!/usr/bin/python3
"""The soak: mixed load over all tiers of two nodes, faults switched on and off, and a model of the truth beside it.

    soak.py MINUTES [SEED]

Node A is restarted and killed now and then, node B lives through it all, so that what grows is seen; Redis is frozen, killed and emptied,
and its values are damaged; the test faults (docs/test-faults.md) make tiers fail, late and wrong. Which happens when follows from the
seed; how it meets the load does not.

Prints a line for each round, then one for each promise, and last "N passed, M failed".
"""
import faulthandler
import os
import random
import re
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration", "node"))
import harness  # noqa: E402

harness.SLOW, harness.START_SECONDS = 5, 100  # nothing here may depend on the speed of the machine
harness.need_grpc()
if shutil.which("redis-server") is None:
    print("skipped: install redis-server")
    sys.exit(77)

import rpc  # noqa: E402
from client import BUSY, Connection, Worker  # noqa: E402
from rpc import pb  # noqa: E402
from truth import CHAIN, SENTINELS, Verdict  # noqa: E402
from world import LOG_FILE, REDIS, SSD, WRITE_QUEUE, World, pause  # noqa: E402

CLIENTS = 6
SENTINEL_CHAINS = 3
SENTINEL_LEASE_MS = 60000
GROWTH = 24 << 20  # of node B from its first quarter to the end, whatever the length
MORE_FILES, MORE_THREADS = 16, 4
PROMISES = {
    "bytes": "every byte that was read is the one that was put",
    "whole": "nothing is there that was not put whole",
    "deleted": "what was deleted stays away",
    "durable": "what was on SSD survives kill -9 and a restart",
    "leases": "what a lease holds can be had",
    "answers": "every operation ends, and with an answer that is allowed",
    "memory": "memory, files and threads stay flat",
    "disk": "the SSD tier keeps to its size, Redis to its own, queues to their bounds",
    "idle": "nothing is kept when all is over",
    "leftovers": "nothing is left behind",
    "real": "the load was real",
}


class Soak:
    def __init__(self, minutes, seed):
        self.seconds, self.seed = minutes * 60, seed
        self.verdict = Verdict()
        self.world = World(seed, self.verdict)
        self.chaos = random.Random(f"{seed}/soak")
        self.workers = [Worker(number, self.world) for number in range(CLIENTS)]
        self.sentinels = 0
        self.rounds = self.kills = self.restarts = 0
        self.early = None  # memory, files and threads of node B in the first quarter

    # ---- rounds ----

    def run(self):
        began = time.monotonic()
        self.world.start()
        for worker in self.workers:
            worker.start()
        while time.monotonic() - began < self.seconds:
            self.rounds += 1
            said = self.round()
            self.look_at_bounds()
            elapsed = time.monotonic() - began
            if self.early is None and elapsed > self.seconds / 4:
                self.early = self.sizes()
            get = self.verdict.get
            print(f"{elapsed:6.0f} s  round {self.rounds}: {'; '.join(said)}\n"
                  f"          {get('operations')} operations, {get('gets')} gets, {get('hits')} hits, {get('puts')} puts, "
                  f"{get('deletes')} deletes, {get('cut off')} cut off, node B {self.sizes()[0] >> 20} MiB", flush=True)
        self.finish()

    def round(self):
        world = self.world
        wait = lambda seconds: pause(world.ended, seconds)  # noqa: E731
        said = world.faults_on()
        wait(self.chaos.uniform(0.5, 3))
        said.append("redis: " + world.trouble_redis(wait))
        world.faults_off()
        wait(self.chaos.uniform(0.5, 2))
        what = self.chaos.choice(["kill", "kill", "restart", "nothing"]) if self.rounds > 1 else "kill"
        if what != "nothing":
            chains, leasing = self.put_sentinels(world.nodes[0])
            wait(self.chaos.uniform(0, 0.5))
            hard = what == "kill"
            # A drain ends leases, and lets puts go on that make room: either clients are at it, or what is there is known.
            if not hard and self.chaos.random() < 0.5:
                chains = []
            elif not hard and not world.nodes[0].let_in(False):
                self.hung(world.nodes[0])
            if not world.restart(world.nodes[0], hard):
                self.hung(world.nodes[0])
            leasing.close()
            self.kills += hard
            self.restarts += not hard
            self.look_for(world.nodes[0], chains)
            world.nodes[0].let_in(True)
        said.append(f"A: {what}")
        return said

    # ---- what must survive ----

    def put_sentinels(self, node):
        """Chains that are on SSD when this returns, and the connection that leases them: nothing else keeps a policy from letting them go for others."""
        if not node.let_in(False):
            self.hung(node)
        chains = []
        try:
            connection = Connection(node, self.world.spaces)
            node.written()
            before = node.metrics()
            for _ in range(SENTINEL_CHAINS):
                self.sentinels += 1
                chain = self.world.truth.chain(SENTINELS + self.sentinels * 4)
                for chunk in chain.chunks:
                    self.world.truth.put_begins(chunk)
                stream = connection.stream()
                ends = stream.put_chain(connection.spaces[chain.space], chain, 0, CHAIN)
                stream.end()
                if any(end != rpc.OK for end in ends):
                    self.verdict.fail("durable", f"with nothing in its way a put ended with {ends}")
                if not node.written():
                    self.verdict.fail("answers", "writes to SSD never end")
                chains.append(chain)
            after = node.metrics()
            grown = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
            if grown.get('kvasir_tier_puts_total{tier="ssd"}', 0) < SENTINEL_CHAINS * CHAIN:
                # leases may have left no room
                self.verdict.count("sentinels without room")
                if not grown.get('kvasir_tier_put_failures_total{tier="ssd",cause="full"}'):
                    failures = {name: n for name, n in grown.items() if "failures" in name or "puts" in name}
                    self.verdict.fail("durable", f"not all chunks were written to an idle SSD tier: {failures}")
                chains = []
            for chain in list(chains):
                space = connection.spaces[chain.space]
                request = pb.LookupRequest(spaces=[space], keys=chain.keys(), lease_ms=SENTINEL_LEASE_MS)
                reply = connection.call("Lookup", request, pb.LookupReply)
                if not reply.lease or reply.prefix < CHAIN:
                    self.verdict.count("sentinels without a lease")
                    chains.remove(chain)
        finally:
            node.let_in(True)
        return chains, connection

    def look_for(self, node, chains):
        connection = Connection(node, self.world.spaces)
        for chain in chains:
            for chunk in chain.chunks:
                self.look_for_one(node, connection, chain, chunk)
        connection.close()

    def look_for_one(self, node, connection, chain, chunk):
        said = []

        def there():  # a miss may be a deadline of the node's own, on a slow machine; what is lost stays lost
            stream = connection.stream()
            status, _, data, _ = stream.get_chain(connection.spaces[chain.space], chain, chunk.place, 1)[0]
            stream.end()
            said.append((status, len(data)))
            return status == rpc.OK and data == chunk.data()

        if any(there() for _ in range(5)):
            self.verdict.count("survived")
        elif (BUSY, 0) in said:  # memory is full of what others read
            self.verdict.count("survived, perhaps: busy")
        else:
            self.verdict.fail("durable", f"sentinel {chain.number}/{chunk.place}: {said}; the node: {node.process.log()[-1500:]}")

    def hung(self, node):
        for worker in self.workers:
            if worker.doing != "nothing":
                self.verdict.fail("answers", f"never ended at node {node.name}: {worker.doing}")
        faulthandler.dump_traceback()

    # ---- bounds ----

    def sizes(self):
        steady = self.world.nodes[1]
        return steady.process.memory(), steady.process.open_files(), steady.threads()

    def look_at_bounds(self):
        for node in self.world.nodes:
            now = node.metrics()
            for tier in ("ssd", "redis"):
                queue = now[f'kvasir_tier_write_queue{{tier="{tier}"}}']
                if queue > WRITE_QUEUE:
                    self.verdict.fail("disk", f"node {node.name}: {queue} in the write queue of {tier}")
            if node.disk() > SSD + (1 << 20):
                self.verdict.fail("disk", f"node {node.name}: {node.disk()} bytes on disk")
            if now['kvasir_tier_devices_failed{tier="ssd"}']:
                self.verdict.fail("disk", f"node {node.name}: its SSD tier is out: {node.process.log()[-2000:]}")

    # ---- the end ----

    def finish(self):
        self.world.ended.set()
        for worker in self.workers:
            worker.join(120)
            if worker.is_alive():
                self.verdict.fail("answers", f"{worker.name} never ended: {worker.doing}")
        steady = self.world.nodes[1]
        self.look_at_load()
        for node in self.world.nodes:
            self.look_at_idle(node)
        self.look_at_memory()
        self.look_at_redis()
        for node in self.world.nodes:
            code = node.end(signal.SIGTERM)
            if code != 0:
                self.verdict.fail("answers", f"node {node.name} ended with {code}")
            left = sorted(os.listdir(node.process.folder))
            if left != ["log", "node.yaml", "notify", "ssd"]:
                self.verdict.fail("leftovers", f"node {node.name}: {left}")
            if node.files() != ["kvasir.lock"] + [f"log-{number:05}.kvl" for number in range(SSD // LOG_FILE)] + ["waiters.kvw", "waiters.kvw.lock"]:
                self.verdict.fail("leftovers", f"node {node.name}: {node.files()}")
        steady.start()  # and it comes again
        steady.end(signal.SIGTERM)

    def look_at_load(self):
        """A soak in which nothing happened is none."""
        now = self.world.nodes[1].metrics()
        seen = {name: self.verdict.get(name) for name in ("hits", "put stored", "deletes", "lookups", "survived")}
        seen["promotions"] = now['kvasir_tier_promotions_total{tier="ssd"}']
        for tier in ("ssd", "redis"):
            seen[f"encoded for {tier}"] = now[f'kvasir_tier_encoded_chunks_total{{tier="{tier}"}}']
        seen["decodes"] = now["kvasir_tier_decodes_total"]
        seen["kills"] = self.kills
        print(f"counts: { {**self.verdict.counts} }")
        print("node B: " + ", ".join(f"{name} {now[name]:.0f}" for name in sorted(now) if re.match(
            r"kvasir_(test_faults|tier_(put_failures|get_failures|promotions|demotions|evictions|reclaims|puts|copied_ch|encoded_ch|unencoded|decode)|get_misses)", name)
            and now[name]))
        for name, value in seen.items():
            if not value:
                self.verdict.fail("real", f"no {name}")

    def look_at_idle(self, node):
        """Everything comes to rest, and when all chunks are deleted no memory is taken."""
        wanted = ["kvasir_landings", "kvasir_grpc_transfers", "kvasir_grpc_streams", "kvasir_grpc_connections"]
        wanted += [f'kvasir_{name}{{tier="{tier}"}}' for tier in ("ssd", "redis")
                   for name in ("tier_operations", "tier_write_queue", "test_fault_operations")]
        if not harness.until(lambda: all(node.metrics().get(name) == 0 for name in wanted), 60):
            now = node.metrics()
            self.verdict.fail("idle", f"node {node.name}: { {name: now.get(name) for name in wanted if now.get(name)} }")
        connection = Connection(node, self.world.spaces)
        held = ["kvasir_chunks", "kvasir_leases", 'kvasir_tier_used_bytes{tier="dram"}', 'kvasir_tier_objects{tier="dram"}',
                'kvasir_tier_zombie_bytes{tier="dram"}']

        def emptied():
            for space in connection.spaces:
                connection.call("Evict", pb.EvictRequest(space=space, bytes=1 << 40), pb.EvictReply, service="Admin")
            return all(node.metrics()[name] == 0 for name in held)

        if not harness.until(emptied, 120):  # leases run out after a minute
            now = node.metrics()
            self.verdict.fail("idle", f"node {node.name}, all evicted: { {name: now[name] for name in held if now[name]} }")
        connection.close()

    def look_at_memory(self):
        early, late = self.early or self.sizes(), self.sizes()
        print(f"node B: memory {early[0] >> 20} MiB to {late[0] >> 20} MiB, files {early[1]} to {late[1]}, threads {early[2]} to {late[2]}")
        if late[0] > early[0] + GROWTH or late[1] > early[1] + MORE_FILES or late[2] > early[2] + MORE_THREADS:
            self.verdict.fail("memory", f"node B: {early} to {late}")

    def look_at_redis(self):
        info = self.world.redis.ask("INFO", "memory").decode()
        used = int(re.search(r"used_memory_dataset:(\d+)", info).group(1))
        print(f"redis: {used >> 10} KiB of data")
        if used > REDIS + (2 << 20):
            self.verdict.fail("disk", f"Redis holds {used} bytes")

    def report(self):
        bad = [name for name in PROMISES if name in self.verdict.failures]
        for node in self.world.nodes if bad else ():
            print(f"---- the end of node {node.name}'s log:\n{node.process.log()[-4000:]}\n----")
        for name, text in PROMISES.items():
            print(f"{'FAILED' if name in bad else 'ok    '} {name}: {text}")
        print(f"seed {self.seed}, {self.rounds} rounds, {self.kills} kills, {self.restarts} restarts")
        print(f"{len(PROMISES) - len(bad)} passed, {len(bad)} failed")
        return not bad


def main():
    minutes = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"soak of {minutes:g} minutes, seed {seed}", flush=True)
    faulthandler.dump_traceback_later(minutes * 60 + 900, exit=True)
    soak = Soak(minutes, seed)
    try:
        soak.run()
        return 0 if soak.report() else 1
    finally:
        soak.world.ended.set()
        soak.world.close()


if __name__ == "__main__":
    sys.exit(main())
