"""The node is killed or stopped in the middle of libkvasir's gets and puts: nothing hangs, nothing half-written is served."""
import os
import signal
import subprocess
import sys

import harness
from harness import GRACE_MS, SANITIZED, SLOW, NodeTest, until
from proxy import DOWN, UP, Proxy

CLIENT = os.environ.get("KVASIR_FAULT_CLIENT", "")
if not CLIENT:
    print("skipped: fault_client was not built")
    sys.exit(77)

TIMEOUT_MS = 1000
MIDDLE = 6 << 20  # of fault_client's 48 MiB: in the middle of its second chunk


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

    # ---- through a proxy, at an exact byte ----

    def hurt(self, node, proxy, what, how):
        """What happens in the middle. A proxy that holds keeps what the node had sent before it was stopped."""
        if what == "put":
            self.begun = until(lambda: node.metric("kvasir_landings") > 0)
        if how == "STOP":
            node.signal(signal.SIGSTOP)
        if how == "KILL":
            node.signal(signal.SIGKILL)
        if how in ("STOP", "HOLD"):
            proxy.hold()
        else:
            proxy.cut()

    def in_the_middle(self, what, how):
        node = self.serve()
        self.client(node, "store")
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        proxy.after(UP if what == "put" else DOWN, MIDDLE, lambda: self.hurt(node, proxy, what, how))
        with subprocess.Popen([CLIENT, proxy.endpoint, str(node.process.pid), what, "OTHERS", str(TIMEOUT_MS),
                               str(GRACE_MS)], stdout=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            said = ""
            for line in client.stdout:
                if line == "freed\n":  # now the rest of the bytes may come, and must not be written anywhere
                    if how == "STOP":
                        node.signal(signal.SIGCONT)
                    proxy.release()
                said += line
        self.assertEqual(client.returncode, 0, f"{what} {how}: {said}\nnode: {node.log()}")
        self.assertTrue(proxy.fired.wait(10 * SLOW), f"{what} {how}: it ended before its middle: {said}")
        self.assertTrue(what == "get" or self.begun, "the node had begun no chunk")
        self.assertNotIn("12 of 12", said)
        print(said.strip())

        if how == "KILL":
            self.assertEqual(node.wait(), -signal.SIGKILL)
            node.start()
        for gauge in ("kvasir_landings", "kvasir_leases"):
            self.assertTrue(until(lambda: node.metric(gauge) == 0), f"{gauge} is {node.metric(gauge)}")
        if (what, how) == ("put", "CUT"):
            self.assertGreater(node.metric("kvasir_put_aborts_total"), 0)
        self.client(node, "get-put", timeout_ms=20000)  # nothing of half a chunk
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0)  # a client that finds one has the node look
        self.client(node, "check")
        node.stop()

    def test_killed_at_a_byte(self):
        self.in_the_middle("put", "KILL")
        self.in_the_middle("get", "KILL")

    def test_stopped_at_a_byte(self):
        self.in_the_middle("put", "STOP")
        self.in_the_middle("get", "STOP")

    def test_silent_network(self):
        self.in_the_middle("put", "HOLD")
        self.in_the_middle("get", "HOLD")

    def test_cut_network(self):
        self.in_the_middle("put", "CUT")
        self.in_the_middle("get", "CUT")

    def test_bits_flipped_on_the_way(self):
        node = self.serve()
        self.client(node, "store")
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        proxy.flip(DOWN, (7 << 20) + 4321)
        with subprocess.Popen([CLIENT, proxy.endpoint, str(node.process.pid), "get", "OTHERS", "20000", str(GRACE_MS)],
                              stdout=subprocess.PIPE, text=True) as client:
            self.addCleanup(client.kill)
            said = client.stdout.read()
        self.assertEqual(client.returncode, 0, said)  # it compares what it got, byte for byte
        self.assertGreater(proxy.flipped[DOWN], 0)
        self.assertNotIn("12 of 12", said)
        self.assertIn("12 of 12", self.client(node, "get", timeout_ms=20000))  # all still there, for a better line
        self.assertEqual(node.metric("kvasir_deletes_total"), 0)
        self.assertEqual(node.metric("kvasir_corrupt_chunks_total"), 0)
        node.stop()


if __name__ == "__main__":
    harness.main(280)
