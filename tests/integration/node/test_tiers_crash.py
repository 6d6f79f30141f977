"""kvasird is killed at random points under load and while it starts; every chunk that comes back is right, what was safe is there, and what was deleted is not."""
import os
import random
import signal
import subprocess
import sys
import threading
import time

import harness
from harness import SANITIZED
from tiers import CHAIN, TierTest

ROUNDS = int(os.environ.get("KVASIR_CRASH_ROUNDS", "3" if SANITIZED else "10"))
SAFE = 4  # chains that are on SSD before the load of a round begins
LOAD = 120  # most chains that a load puts: 160 MB. Those of its round are far from the policy's oldest then, on any machine


class Truth:
    """What a node has acknowledged, and so has to know after any kill: by chain."""

    def __init__(self):
        self.deleted = set()
        self.safe = {}  # of the round that goes on: chain to its chunks, 1 where the SSD tier has said that it has it

    def put(self, first, n):
        self.safe = {chain: "1" * CHAIN for chain in range(first, first + n)}

    def heard(self, said):
        """Of what the client of a load printed: the last line may be cut short."""
        for line in said.splitlines(keepends=True):
            words = line.split()
            if words[0] == "deleted" and line.endswith("\n"):
                self.deleted.add(int(words[1]))
            elif words[0] == "safe" and line.endswith("\n"):
                chain = int(words[1])
                before = self.safe.get(chain, "0" * CHAIN)
                self.safe[chain] = "".join(max(pair) for pair in zip(before, words[2]))


class Crash(TierTest):
    def load_and_kill(self, node, first, chaos):
        """Puts, gets, deletes and look-ups until the node is killed after a random while. What the client said."""
        with subprocess.Popen(self.command(node, "load", first, LOAD), stdout=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            killer = threading.Timer(chaos.uniform(0.02, 1.0), lambda: node.signal(signal.SIGKILL))
            killer.start()
            said = client.stdout.read()
            killer.join()
        self.assertEqual(client.returncode, 0, said)
        self.assertEqual(node.wait(), -signal.SIGKILL)
        return said

    def start(self, node, chaos):
        """Sometimes it is killed while it starts, wherever that is; what it says then is no log of the round."""
        for _ in range(chaos.choice([0, 0, 1, 2])):
            node.spawn()
            time.sleep(chaos.uniform(0, self.start_seconds))
            node.signal(signal.SIGKILL)
            self.assertEqual(node.wait(), -signal.SIGKILL, node.log())
        began = time.monotonic()
        node.start()
        self.start_seconds = time.monotonic() - began

    def check(self, node, truth, first, n, what):
        """The client compares every byte; what was deleted is not there."""
        found = self.get(node, first, n)
        for chain, chunks in found.items():
            if chain in truth.deleted:
                self.assertEqual(chunks, "0" * CHAIN, f"{what}: deleted chain {chain} is back:\n{node.log()}")
        return found

    def test_killed_at_random_points(self):
        seed = random.randrange(1 << 32)
        chaos = random.Random(seed)
        print(f"seed {seed}, {ROUNDS} rounds")
        self.start_seconds = 0.1
        node = self.ssd_node(ssd__size="512MiB").start()
        truth = Truth()
        stored = safe = 0
        for number in range(ROUNDS):
            first, what = number * 1000, f"seed {seed}, round {number}"
            self.put(node, first, SAFE)  # on SSD when this returns
            truth.put(first, SAFE)
            said = self.load_and_kill(node, first + SAFE, chaos)
            truth.heard(said)
            stored += said.count("stored")
            node.settings["ssd.durability"] = chaos.choice(["none", "seal", "put"])
            self.start(node, chaos)
            found = self.check(node, truth, first, SAFE + LOAD, what)
            for chain, chunks in truth.safe.items():  # of the others any chunk may be there or not, several writes are under way at once
                safe += chunks.count("1")
                for place in range(CHAIN):
                    self.assertGreaterEqual(found[chain][place], chunks[place],
                                            f"{what}: chunk {place} of chain {chain} was safe:\n{node.log()}")
            earlier = chaos.randrange(number + 1)
            self.check(node, truth, earlier * 1000, SAFE + LOAD, f"{what}, of {earlier}")
            self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0, f"{what}:\n{node.log()}")
        for number in range(max(0, ROUNDS - 10), ROUNDS):
            self.check(node, truth, number * 1000, SAFE + LOAD, f"seed {seed}, at the end, of round {number}")
        print(f"{stored} chains were stored under load, {len(truth.deleted)} deleted; {safe} chunks were known to be safe")
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0)
        node.stop()
        node.check_reports()


if __name__ == "__main__":
    harness.main(ROUNDS * 60)
