"""What the soak runs against: two nodes with small tiers, a Redis between them, and everything that can go wrong with them."""
import os
import random
import re
import signal
import threading
import time

import harness
import rpc
from faults import FaultyNode
from redis_server import Redis
from truth import DIM, HEADS, LAYERS, PLANE, PLANES, SMALL, TOKENS, Truth

DRAM = 6 << 20
SSD = 32 << 20
LOG_FILE = 2 << 20
CHUNK = 512 << 10
REDIS = 8 << 20
WRITE_QUEUE = 64
WINDOW = 60  # chains in use: about twice what the tiers of a node hold
PATIENCE = 120

SSD_FAULTS = ["error:read:0.1", "error:write:0.2", "error:all:0.5", "error:write:full:0.3", "error:read:busy:0.2",
              "error:read:miss:0.05", "delay:read:100ms:0.3", "delay:write:300ms:0.5,error:write:0.1", "delay:all:2s:0.05",
              "delay:read:20ms,error:read:0.05,delay:write:50ms", "corrupt:read:0.05", "corrupt:write:0.2", "error:all"]
REDIS_FAULTS = ["error:read:0.1", "error:all:0.3", "error:write:full:0.5", "error:read:miss:0.2", "delay:lookup:100ms:0.5",
                "delay:all:500ms:0.2", "error:lookup:0.3,delay:read:50ms", "corrupt:read:0.1", "corrupt:write:0.3", "error:all"]
DRAM_FAULTS = ["error:write:0.1", "error:write:full:0.3", "corrupt:write:0.02", "error:read:0.02", "corrupt:write:0.1,error:read:0.05"]


class SoakNode:
    """A node, its lives, and a gate that its clients go through."""

    def __init__(self, index, redis_port, durability):
        self.index, self.name = index, "AB"[index]
        self.process = FaultyNode(
            dram__size=str(DRAM), chunk__max_size=str(CHUNK), ssd__size=str(SSD), ssd__log_file_size=str(LOG_FILE),
            ssd__durability=durability, ssd__queue=str(WRITE_QUEUE), ssd__scrub_rate="2MiB", store__max_leases="256",
            redis__mode="single", redis__addresses=f"127.0.0.1:{redis_port}", redis__max_chunk=str(SMALL),
            redis__write_queue=str(WRITE_QUEUE), redis__lookup_timeout="200ms", redis__get_timeout="1s", redis__put_timeout="2s",
            redis__connect_timeout="1s", redis__stall_timeout="1s", redis__retry_longest="200ms", log__level="info",
            drain_timeout="2s")
        self.ssd = os.path.join(self.process.folder, "ssd")
        self.process.settings["ssd.paths"] = self.ssd
        self.life = 0
        self.up = False
        self.memory_changed = False  # on purpose, in this life
        self.copies_changed = False  # in any life: what was written to SSD meanwhile stays as it was then
        self.gate = threading.Condition()
        self.open, self.inside = False, 0

    # ---- the gate ----

    def enter(self):
        with self.gate:
            if not self.open:
                return False
            self.inside += 1
            return True

    def leave(self):
        with self.gate:
            self.inside -= 1
            self.gate.notify_all()

    def let_in(self, on):
        """Closing waits until all are out. False: somebody never came out."""
        with self.gate:
            self.open = on
            return on or self.gate.wait_for(lambda: self.inside == 0, PATIENCE)

    def left(self, life):
        """Whether that life of the node has ended, or is ending."""
        return not self.up or self.life != life

    # ---- life ----

    def start(self):
        self.process.start()
        self.life += 1
        self.memory_changed = False
        self.up = True

    def end(self, number):
        self.up = False
        self.process.signal(number)
        code = self.process.wait(60)
        self.process.check_reports()
        return code

    def metrics(self):
        """Every sample of the node: name with labels to value."""
        text = self.process.http("/metrics")[2]
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.M)}

    def written(self):
        """All that was put is on SSD, or will not be."""
        def idle():
            now = self.metrics()
            return now['kvasir_tier_write_queue{tier="ssd"}'] == 0 and now['kvasir_tier_operations{tier="ssd"}'] == 0
        return harness.until(idle, PATIENCE)

    # ---- what it takes ----

    def disk(self):
        return sum(os.stat(os.path.join(self.ssd, name)).st_blocks * 512 for name in os.listdir(self.ssd))

    def files(self):
        return sorted(os.listdir(self.ssd))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.process.pid}/task"))


class World:
    def __init__(self, seed, verdict):
        self.seed, self.verdict = seed, verdict
        self.chaos = random.Random(f"{seed}/world")
        self.truth = Truth(seed, verdict, WINDOW)
        tensors = dict(layout=1, key_dtype=3, value_dtype=3, layers=LAYERS, kv_heads=HEADS, key_dim=DIM, value_dim=DIM,
                       tokens_per_chunk=TOKENS, engine_block=TOKENS, chunk_bytes=PLANES * PLANE)
        self.spaces = [rpc.descriptor(model="soak"), rpc.descriptor(model="soak", revision="2"),
                       rpc.descriptor(model="soak", **tensors)]
        self.ended = threading.Event()
        self.quiet = 0        # changes whenever faults come; even: there are none
        self.frozen = False
        self.redis = Redis("--maxmemory", str(REDIS), "--maxmemory-policy", "allkeys-lru").start()
        self.nodes = [SoakNode(i, self.redis.port, self.chaos.choice(["none", "seal", "put"])) for i in (0, 1)]

    def start(self):
        for node in self.nodes:
            node.start()
            node.let_in(True)

    def close(self):
        for node in self.nodes:
            node.process.close()
        if self.frozen:
            self.redis.freeze(False)
        self.redis.close()

    def calm(self):
        """None while anything is made to fail; else a token that changes with the next time, and with the nodes' lives."""
        quiet = self.quiet
        return (quiet, [node.life for node in self.nodes]) if quiet % 2 == 0 and all(n.up for n in self.nodes) else None

    # ---- trouble ----

    def faults_on(self):
        self.quiet += 1
        said = []
        for node in self.nodes:
            ssd = self.chaos.choice(["off", *SSD_FAULTS])
            redis = self.chaos.choice(["off", "off", *REDIS_FAULTS])
            dram = self.chaos.choice(["off", "off", "off", *DRAM_FAULTS])
            seed = self.chaos.randrange(1000)
            rules = [f"{text},seed={seed}" if text != "off" else text for text in (ssd, redis, dram)]
            node.memory_changed |= "corrupt" in dram
            node.copies_changed |= node.memory_changed
            if not node.process.rules(*rules):
                self.verdict.fail("answers", f"node {node.name} does not take rules: {node.process.log()[-2000:]}")
            said.append(f"{node.name}: {ssd} | {redis} | {dram}")
        return said

    def faults_off(self):
        for node in self.nodes:
            if not node.process.rules() or not node.process.none_held():
                self.verdict.fail("answers", f"node {node.name}: operations stay in the test faults")
        self.quiet += 1

    def trouble_redis(self, wait):
        """Returns what was done. It is well again when this returns."""
        what = self.chaos.choice(["nothing", "nothing", "freeze", "kill", "flush", "foreign"])
        if what == "freeze":
            self.redis.freeze(True)
            self.frozen = True
            wait(self.chaos.uniform(0.2, 2.5))
            self.redis.freeze(False)
            self.frozen = False
        elif what == "kill":
            self.redis.kill()
            wait(self.chaos.uniform(0.1, 1.5))
            self.redis.again()
        elif what == "flush":
            self.redis.ask("FLUSHALL")
        elif what == "foreign":  # somebody else writes to our keys
            for key in (self.redis.keys() or [])[:10]:
                value = self.redis.ask("GET", key)
                if isinstance(value, bytes):
                    self.redis.ask("SET", key, self.chaos.choice([value[:-7], value[:len(value) // 2] + b"x" * (len(value) // 2), b""]))
        return what

    def restart(self, node, hard):
        """With its clients at it, who are kept out when it comes again: node.let_in(True) is the caller's."""
        code = node.end(signal.SIGKILL if hard else signal.SIGTERM)
        # the drain may be cut short by a client that is in the middle of something: 3
        if code not in ((-signal.SIGKILL,) if hard else (0, 3)):
            self.verdict.fail("answers", f"node {node.name} ended with {code}: {node.process.log()[-3000:]}")
        if not hard and os.path.exists(node.process.socket):
            self.verdict.fail("leftovers", f"node {node.name} ended and left its socket")
        node.process.settings["ssd.durability"] = self.chaos.choice(["none", "seal", "put"])
        node.process.write_rules()
        all_out = node.let_in(False)
        node.start()
        return all_out


def pause(ended, seconds):
    """Lets the load run; for the chaos alone, never to wait for a result."""
    ended.wait(seconds)
    return time.monotonic()
