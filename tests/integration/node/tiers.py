"""What the tests of tiers share: a node with an SSD tier, and a client whose chains of chunks every process can tell."""
import os
import subprocess
import sys

from harness import SLOW, NodeTest, until

CLIENT = os.environ.get("KVASIR_TIER_CLIENT", "")
if not CLIENT:
    print("skipped: tier_client was not built")
    sys.exit(77)

CHAIN = 10
SSD = '{tier="ssd"}'


class TierTest(NodeTest):
    def ssd_node(self, **settings):
        """A node whose SSD tier lies in a folder that outlives it. 4 MiB of memory hold three chains of the client's."""
        base = dict(dram__size="4MiB", chunk__max_size="1MiB", ssd__log_file_size="2MiB", ssd__size="256MiB")
        node = self.node(**{**base, **settings})
        if "ssd__paths" not in settings:
            node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        return node

    def command(self, node, what, first, n):
        return [CLIENT, f"kvasir://127.0.0.1:{node.port}", what, str(first), str(n)]

    def client(self, node, what, first, n):
        done = subprocess.run(self.command(node, what, first, n), capture_output=True, text=True, timeout=120 * SLOW)
        self.assertEqual(done.returncode, 0, f"{what}: {done.stdout}{done.stderr}\nnode: {node.log()}")
        return done.stdout

    def put(self, node, first, n):
        """Puts chains one after the other, each when the one before is on SSD: memory holds only a few."""
        for chain in range(first, first + n):
            self.assertIn(f"stored {chain}\n", self.client(node, "put", chain, 1))
            self.written(node)

    def written(self, node):
        """All that was put is on SSD, or will not be."""
        self.assertTrue(until(lambda: node.metric("kvasir_tier_write_queue", SSD) == 0 and
                              node.metric("kvasir_tier_operations", SSD) == 0, 60))

    def get(self, node, first, n):
        """What the node has of the chains: number to a text of 1 and 0. The client checks the bytes."""
        lines = [line.split() for line in self.client(node, "get", first, n).splitlines()]
        return {int(words[1]): words[2] for words in lines if words[0] == "chain"}
