"""The node dies, stops or is cut off in the middle of an engine's put or get: the engine computes what it did not get,
its logits are right, its deadlines hold, and no engine after it is given anything half-written."""
import signal

import harness
from engine import COMPUTE_SECONDS, LARGE, LARGE_CHUNK, LARGE_CHUNKS, LARGE_MIDDLE, LARGE_PROMPT, TIMEOUT_MS, EngineTest
from harness import GRACE_MS, SANITIZED, SLOW, until
from proxy import DOWN, UP, Proxy

LATE_MS = 2000 if SANITIZED else 500  # a loaded machine's, beside the promise


class EngineFaults(EngineTest):
    digest = None  # of an engine without Kvasir, computed once

    def setUp(self):
        super().setUp()
        if EngineFaults.digest is None:
            EngineFaults.digest = self.alone(LARGE_PROMPT, **LARGE)
        self.node_ = self.serve()
        self.proxy = Proxy(self.node_.port)
        self.addCleanup(self.proxy.close)
        self.begun = False

    def hurt(self, direction, how):
        node, proxy = self.node_, self.proxy
        if direction == UP:  # so many bytes are sent; the node shall have begun to write the chunk down
            self.begun = until(lambda: node.metric("kvasir_landings") > 0)
        if how == "STOP":
            node.signal(signal.SIGSTOP)
            proxy.hold()
        elif how == "KILL":
            node.signal(signal.SIGKILL)
            proxy.cut()
        elif how == "CUT":
            proxy.cut()
        elif how == "ENGINE":
            self.victim.kill()
            proxy.cut()  # what it had sent already, but the system had not delivered

    def run_hurt(self, direction, how):
        """An engine through the proxy; at LARGE_MIDDLE bytes it happens."""
        self.proxy.after(direction, LARGE_MIDDLE, lambda: self.hurt(direction, how))
        self.victim = self.engine(LARGE_PROMPT, self.proxy.endpoint, timeout_ms=TIMEOUT_MS, **LARGE)
        # Each of its exchanges may take a deadline and the grace, and no more.
        answer = self.victim.answer(COMPUTE_SECONDS + (LARGE_CHUNKS + 2) * (TIMEOUT_MS + GRACE_MS) / 1000)
        self.assertTrue(self.proxy.fired.wait(10 * SLOW), f"it never got so far: {answer}")
        return answer

    def mend(self, how):
        if how == "KILL":
            self.assertEqual(self.node_.wait(), -signal.SIGKILL)
            self.restart(self.node_)
        if how == "STOP":
            self.node_.signal(signal.SIGCONT)
            self.proxy.release()
        for gauge in ("kvasir_landings", "kvasir_leases"):
            self.assertTrue(until(lambda: self.node_.metric(gauge) == 0), f"{gauge} is {self.node_.metric(gauge)}")

    def later_engines_are_right(self, at_most):
        chunks = self.node_.metric("kvasir_chunks")
        second = self.ask(LARGE_PROMPT, self.node_.endpoint, **LARGE)
        self.same(second, self.digest, failed_chunks=0)
        self.assertEqual(second["reused"], chunks * LARGE_CHUNK, second)  # what the node has is whole
        self.assertLessEqual(second["reused"], at_most * LARGE_CHUNK, second)
        self.assertEqual(second["reused"] // LARGE_CHUNK + second["saved_chunks"], LARGE_CHUNKS, second)
        self.same(self.ask(LARGE_PROMPT, self.node_.endpoint, **LARGE), self.digest, reused=LARGE_CHUNKS * LARGE_CHUNK)
        self.node_.stop()

    def put(self, how, at_most):
        answer = self.run_hurt(UP, how)
        self.same(answer, self.digest, reused=0)
        self.assertEqual(answer["saved_chunks"] + answer["failed_chunks"], LARGE_CHUNKS, answer)
        self.assertGreater(answer["failed_chunks"], 0, answer)
        self.assertTrue(self.begun)
        self.mend(how)
        if how == "CUT":
            self.assertEqual(self.node_.metric("kvasir_put_aborts_total"), 1)
        self.later_engines_are_right(at_most)

    def get(self, how, at_most):
        self.same(self.ask(LARGE_PROMPT, self.node_.endpoint, **LARGE), self.digest, saved_chunks=LARGE_CHUNKS)
        answer = self.run_hurt(DOWN, how)
        self.same(answer, self.digest)
        self.assertLess(answer["reused"], LARGE_CHUNKS * LARGE_CHUNK, answer)
        self.assertLessEqual(answer["load_ms"], TIMEOUT_MS + GRACE_MS + LATE_MS, answer)
        self.mend(how)
        self.later_engines_are_right(at_most)

    def test_node_killed_in_a_put(self):
        self.put("KILL", 0)

    def test_node_killed_in_a_get(self):
        self.get("KILL", 0)

    def test_node_stopped_in_a_put(self):
        self.put("STOP", LARGE_CHUNKS)

    def test_node_stopped_in_a_get(self):
        self.get("STOP", LARGE_CHUNKS)

    def test_connection_cut_in_a_put(self):
        self.put("CUT", LARGE_CHUNKS)

    def test_connection_cut_in_a_get(self):
        self.get("CUT", LARGE_CHUNKS)

    def test_engine_killed_in_a_put(self):
        """The node lives on with half a chunk: that one was never there."""
        self.proxy.after(UP, LARGE_MIDDLE, lambda: self.hurt(UP, "ENGINE"))
        self.victim = self.engine(LARGE_PROMPT, self.proxy.endpoint, **LARGE)
        self.assertEqual(self.victim.process.wait(COMPUTE_SECONDS), -signal.SIGKILL)
        self.assertTrue(self.begun)
        self.mend("ENGINE")
        self.assertEqual(self.node_.metric("kvasir_put_aborts_total"), 1)
        self.later_engines_are_right(1)


if __name__ == "__main__":
    harness.main(580)
