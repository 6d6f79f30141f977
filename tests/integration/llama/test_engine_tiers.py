"""A prompt that does not fit into a node's memory: another process gets all of it from SSD, also after the node was stopped or
killed, and another node finds it in Redis. The logits differ by exactly 0 each time, and `kvasirctl tiers` says where it came from."""
import json
import os
import shutil
import signal
import subprocess
import sys

import harness

if shutil.which("redis-server") is None:
    print("skipped: install redis-server")
    sys.exit(77)

from engine import CHUNK, EngineTest  # noqa: E402
from harness import SLOW, until  # noqa: E402
from redis_server import Redis  # noqa: E402

KVASIRCTL = os.environ["KVASIRCTL"]
CHUNKS = 9
PROMPT = [(i * 7919 + i * i) % 1000 for i in range(CHUNKS * CHUNK + 21)]
KIND = {"kv_type": "f32"}  # 8 KiB a token, 1 MiB a chunk
CHUNK_BYTES = 8192 * CHUNK
MEMORY = 5 << 20  # of the nodes: half of the prompt
# Nothing is to be late, however loaded the machine.
PATIENT = {"redis__lookup_timeout": "10s", "redis__get_timeout": "60s", "redis__put_timeout": "60s",
           "redis__connect_timeout": "10s", "redis__stall_timeout": "20s", "redis__retry_longest": "200ms"}


class Tiers(EngineTest):
    def setUp(self):
        super().setUp()
        self.logits = os.path.join(self.folder, "logits")
        self.digest = self.alone(PROMPT, logits_out=self.logits, **KIND)

    def tiered(self, name, **settings):
        """A node with little memory and a directory of its own, which outlives it."""
        return self.serve(**{"dram__size": str(MEMORY), "chunk__max_size": str(2 * CHUNK_BYTES), "ssd__log_file_size": "8MiB",
                             "ssd__size": "128MiB", "ssd__paths": os.path.join(self.folder, name), **settings})

    def shown(self, node):
        """What `kvasirctl tiers` counts: tier to metric to value, several causes added up."""
        said = subprocess.run([KVASIRCTL, "--endpoint", node.endpoint, "--timeout", f"{60 * SLOW}s", "--json", "tiers"],
                              capture_output=True, text=True, timeout=120 * SLOW)
        self.assertEqual(said.returncode, 0, said.stderr + node.log())
        shown = {"dram": {}, "ssd": {}, "redis": {}}
        for stat in json.loads(said.stdout)["stats"]:
            for tier, counts in shown.items():
                if f'tier="{tier}"' in stat["labels"]:
                    counts[stat["name"]] = counts.get(stat["name"], 0) + stat["value"]
        return {tier: {name.removeprefix("kvasir_tier_"): value for name, value in counts.items()}
                for tier, counts in shown.items()}

    def stored(self, node, tier, count):
        """Engines ask until the tier has all of the prompt: when a disk or Redis is slower than an engine, memory may have had to
        let go of what was not written yet, which the next engine computes and saves again."""

        def quiet():
            now = self.shown(node)
            return all(now[tier]["write_queue"] == 0 and now[tier]["operations"] == 0 for tier in ("ssd", "redis"))

        for _ in range(20):
            self.right(self.ask(PROMPT, node.endpoint, logits_compare=self.logits, **KIND))
            self.assertTrue(until(quiet, 60), self.shown(node))
            if count() == CHUNKS:
                return
        self.fail(f"{tier} does not get all: {self.shown(node)}\n{node.log()}")

    def right(self, answer, **expected):
        self.same(answer, self.digest, max_abs_logit_diff=0, failed_chunks=0, **expected)

    def all_reused(self, node):
        """A new process computes nothing of the prompt but its end. Returns what the tiers did for it: as `shown`, the growth."""
        before = self.shown(node)
        answer = self.ask(PROMPT, node.endpoint, logits_compare=self.logits, **KIND)
        self.right(answer, reused=CHUNKS * CHUNK, saved_chunks=0)
        return {tier: {name: value - before[tier][name] for name, value in counts.items()}
                for tier, counts in self.shown(node).items()}

    def test_more_than_memory_and_over_restarts(self):
        node = self.tiered("ssd")
        self.stored(node, "ssd", lambda: self.shown(node)["ssd"]["objects"])
        now = self.shown(node)
        self.assertLess(now["dram"]["used_bytes"] + now["dram"]["free_bytes"], CHUNKS * CHUNK_BYTES)
        self.assertGreater(now["ssd"]["only_objects"], 0)
        grown = self.all_reused(node)
        self.assertEqual(grown["dram"]["hits_total"] + grown["ssd"]["hits_total"], CHUNKS)
        self.assertGreaterEqual(grown["ssd"]["hits_total"], CHUNKS - MEMORY // CHUNK_BYTES)
        self.assertEqual(grown["ssd"]["get_failures_total"], 0)
        self.assertGreaterEqual(grown["ssd"]["promotions_total"], grown["ssd"]["hits_total"])

        for ending in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(ending=ending):
                if ending == signal.SIGTERM:
                    node.stop()
                else:
                    node.signal(ending)
                    self.assertEqual(node.wait(), -ending)
                self.restart(node)
                now = self.shown(node)
                self.assertEqual(now["ssd"]["recovered_objects"], CHUNKS)
                self.assertEqual(now["ssd"]["only_objects"], CHUNKS)
                self.assertEqual(now["dram"]["objects"], 0)
                grown = self.all_reused(node)
                self.assertEqual(grown["ssd"]["hits_total"], CHUNKS)  # memory had none of them
                self.assertEqual(grown["dram"]["hits_total"], 0)
                self.assertEqual(grown["ssd"]["get_failures_total"], 0)
        node.stop()

    def test_another_node_finds_it_in_redis(self):
        redis = Redis().start()
        self.addCleanup(redis.close)
        shared = {"redis__mode": "single", "redis__addresses": f"127.0.0.1:{redis.port}", **PATIENT}
        first = self.tiered("first", **shared)
        self.assertTrue(until(lambda: first.metric("kvasir_redis_up") == 1, 60), first.log())
        self.stored(first, "redis", lambda: len(redis.keys()))
        first.stop()
        # With room for what comes and is still being written to its SSD at the same time.
        second = self.tiered("second", dram__size="64MiB", **shared)
        self.assertTrue(until(lambda: second.metric("kvasir_redis_up") == 1, 60), second.log())
        now = self.shown(second)
        self.assertEqual([now[tier]["objects"] for tier in ("dram", "ssd")], [0, 0])
        grown = self.all_reused(second)
        self.assertEqual([grown[tier]["hits_total"] for tier in ("dram", "ssd", "redis")], [0, 0, CHUNKS])
        self.assertEqual(grown["redis"]["get_failures_total"], 0)
        # Next time it is the node's own.
        self.assertTrue(until(lambda: self.shown(second)["ssd"]["objects"] == CHUNKS, 60), self.shown(second))
        redis.close()
        second.stop()
        self.restart(second)
        grown = self.all_reused(second)
        self.assertEqual([grown[tier]["hits_total"] for tier in ("dram", "ssd", "redis")], [0, CHUNKS, 0])
        second.stop()


if __name__ == "__main__":
    harness.main(580)
