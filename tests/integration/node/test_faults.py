"""The node is killed or stopped in the middle of libkvasir's gets and puts: nothing hangs, nothing half-written is served."""
import os
import signal
import subprocess
import sys

import harness
from harness import SANITIZED, SLOW, NodeTest

CLIENT = os.environ.get("KVASIR_FAULT_CLIENT", "")
if not CLIENT:
    print("skipped: fault_client was not built")
    sys.exit(77)

TIMEOUT_MS = 1000
GRACE_MS = 250 * (4 if SANITIZED else 1)  # the promise is 250; sanitizers slow the machine, not the promise


class Faults(NodeTest):
    def serve(self, **settings):
        return self.node(dram__size="256MiB", **settings).start()

    def client(self, node, what, fault="NONE", timeout_ms=TIMEOUT_MS, unix=False):
        endpoint = f"unix:{node.socket}" if unix else f"kvasir://127.0.0.1:{node.port}"
        done = subprocess.run([CLIENT, endpoint, str(node.process.pid), what, fault, str(timeout_ms), str(GRACE_MS)],
                              capture_output=True, text=True, timeout=60 * SLOW)
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, f"{what} {fault}: {said}\nnode: {node.log()}")
        print(said.strip())
        return said

    def test_no_fault(self):
        node = self.serve()
        self.client(node, "store")
        for unix in (False, True):
            self.assertIn("get: OK, 12 of 12", self.client(node, "get", timeout_ms=20000, unix=unix))
            self.client(node, "check", unix=unix)
        node.stop()

    def killed(self, what, unix):
        node = self.serve()
        self.client(node, "store", unix=unix)
        self.client(node, what, "KILL", unix=unix)
        self.assertEqual(node.wait(), -signal.SIGKILL)
        node.start()
        self.assertIn("0 of 12", self.client(node, "get", unix=unix))  # memory only: all of it is a miss now
        self.client(node, "check", unix=unix)
        node.stop()

    def test_killed_in_a_get(self):
        self.killed("get", False)
        self.killed("get", True)

    def test_killed_in_a_put(self):
        self.killed("put", False)
        self.killed("put", True)

    def stopped(self, what, unix):
        node = self.serve()
        self.client(node, "store", unix=unix)
        for _ in range(1 if SANITIZED else 3):
            self.client(node, what, "STOP", unix=unix)
            self.client(node, "check", unix=unix)
        node.stop()

    def test_stopped_in_a_get(self):
        self.stopped("get", False)
        self.stopped("get", True)

    def test_stopped_in_a_put(self):
        self.stopped("put", False)
        self.stopped("put", True)


if __name__ == "__main__":
    harness.main(280)
