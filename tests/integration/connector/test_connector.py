"""The connector's tests on a kvasird, over the unix socket and over TCP: an engine must see no difference to embedded."""
import os
import subprocess

import harness
from harness import SLOW, NodeTest, until

PROGRAMS = os.environ["KVASIR_CONNECTOR_TESTS"].split(":")


class Connector(NodeTest):
    def run_all(self, unix):
        node = self.node(dram__size="256MiB").start()
        environment = dict(os.environ)
        environment["KVASIR_TEST_ENDPOINT"] = f"unix:{node.socket}" if unix else f"kvasir://127.0.0.1:{node.port}"
        for program in PROGRAMS:
            done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=120 * SLOW)
            self.assertEqual(done.returncode, 0, f"{program}:\n{done.stdout}{done.stderr}\nnode:\n{node.log()}")
        for gauge in ("kvasir_leases", "kvasir_landings"):  # nothing is left of what was cancelled and closed
            self.assertTrue(until(lambda: node.metric(gauge) == 0), f"{gauge} is {node.metric(gauge)}")
        node.stop()

    def test_unix(self):
        self.run_all(True)

    def test_tcp(self):
        self.run_all(False)


if __name__ == "__main__":
    harness.main(250)
