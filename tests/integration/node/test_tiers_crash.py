"""kvasird is killed at random points under load; every chunk that comes back is right, and what was safe is there."""
import os
import random
import signal
import subprocess
import sys
import threading

import harness
from harness import SANITIZED
from tiers import CHAIN, TierTest

ROUNDS = int(os.environ.get("KVASIR_CRASH_ROUNDS", "3" if SANITIZED else "10"))
SAFE = 4  # chains that are on SSD before the load of a round begins


class Crash(TierTest):
    def load_and_kill(self, node, first, chaos):
        """Puts and gets until the node is killed after a random while."""
        with subprocess.Popen(self.command(node, "load", first, 10000), stdout=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            killer = threading.Timer(chaos.uniform(0.02, 1.0), lambda: node.signal(signal.SIGKILL))
            killer.start()
            said = client.stdout.read()
            killer.join()
        self.assertEqual(client.returncode, 0, said)
        self.assertEqual(node.wait(), -signal.SIGKILL)
        return said.count("stored")

    def test_killed_at_random_points(self):
        seed = random.randrange(1 << 32)
        chaos = random.Random(seed)
        print(f"seed {seed}, {ROUNDS} rounds")
        node = self.ssd_node(ssd__size="512MiB").start()
        stored = 0
        for number in range(ROUNDS):
            first = number * 100000
            self.put(node, first, SAFE)  # on SSD when this returns, and too young to be evicted by a second of load
            stored += self.load_and_kill(node, first + SAFE, chaos)
            node.settings["ssd.durability"] = chaos.choice(["none", "seal", "put"])
            node.start()
            found = self.get(node, first, SAFE + 200)  # the client compares every byte
            for chain in range(first, first + SAFE):
                self.assertEqual(found[chain], "1" * CHAIN, f"round {number}, chain {chain}:\n{node.log()}")
            # of the load any chunk may be there or not, since several writes are under way at once: a chain may lack one in its middle
            self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0, f"round {number}:\n{node.log()}")
        print(f"{stored} chains were stored under load")
        node.stop()
        node.check_reports()


if __name__ == "__main__":
    harness.main(ROUNDS * 60)
