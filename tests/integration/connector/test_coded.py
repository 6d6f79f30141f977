"""The connector and a node whose SSD tier has a codec: chunks go to the caller's memory as the tier holds them, and are decoded there."""
import os
import subprocess

import harness
from harness import SLOW, NodeTest, until

PROGRAM = os.environ["KVASIR_CODED_CLIENT"]
SSD = '{tier="ssd"}'
CHUNKS = 12  # as the program puts


class Coded(NodeTest):
    def coded_node(self, codec):
        node = self.node(dram__size="16MiB", ssd__size="256MiB", ssd__log_file_size="8MiB", chunk__max_size="1MiB", ssd__codec=codec)
        node.settings["ssd.paths"] = os.path.join(node.folder, "ssd")
        return node.start()

    def client(self, node, command, loss_max):
        environment = {**os.environ, "KVASIR_TEST_ENDPOINT": f"unix:{node.socket}"}
        done = subprocess.run([PROGRAM, command, str(loss_max)], env=environment, capture_output=True, text=True,
                              timeout=120 * SLOW)
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout}{done.stderr}\nnode:\n{node.log()}")

    def put_and_restart(self, node, loss_max):
        """Afterwards they are on SSD alone."""
        self.client(node, "put", loss_max)
        self.assertTrue(until(lambda: node.metric("kvasir_tier_objects", SSD) == CHUNKS and
                              node.metric("kvasir_tier_operations", SSD) == 0, 60))
        self.assertGreater(node.metric("kvasir_tier_encoded_chunks_total", SSD), 0)
        node.stop()
        node.start()

    def test_lossless(self):
        node = self.coded_node("lossless")
        self.put_and_restart(node, 0)
        self.client(node, "get", 0)
        node.stop()

    def test_ladder(self):
        node = self.coded_node("ladder")
        self.put_and_restart(node, 4)
        self.client(node, "quality", 0)
        self.client(node, "quality", 1)
        self.client(node, "get", 2)
        node.stop()


if __name__ == "__main__":
    harness.main(120)
