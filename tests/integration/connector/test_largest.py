"""A chunk of 128 MiB through a node with room for little more, over the unix socket and over TCP."""
import os
import re
import subprocess

import harness
from harness import SLOW, NodeTest

PROGRAM = os.environ["KVASIR_CONNECTOR_LARGEST"]
NEEDED = 1 << 30  # the node's memory and the client's, and as much again for sanitizers


def available():
    """Bytes that this machine still has."""
    with open("/proc/meminfo") as meminfo:
        return int(re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read(), re.M).group(1)) * 1024


class Largest(NodeTest):
    def put_and_get(self, unix):
        if available() < NEEDED:
            self.skipTest(f"it takes {NEEDED >> 20} MiB of memory, and {available() >> 20} are available")
        node = self.node(dram__size="144MiB").start()
        endpoint = f"unix:{node.socket}" if unix else f"kvasir://127.0.0.1:{node.port}"
        done = subprocess.run([PROGRAM], env={**os.environ, "KVASIR_TEST_ENDPOINT": endpoint}, capture_output=True, text=True,
                              timeout=200 * SLOW)
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}\nnode:\n{node.log()}")
        self.assertEqual(node.metric("kvasir_put_bytes_total"), 128 << 20)
        node.stop()

    def test_unix(self):
        self.put_and_get(True)

    def test_tcp(self):
        self.put_and_get(False)


if __name__ == "__main__":
    harness.main(500)
