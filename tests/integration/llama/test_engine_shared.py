"""Two engines at once on one node: of equal chunks one is stored, of different ones each its own, and all logits are right."""
import signal

import harness
from engine import CHUNK, COMPUTE_SECONDS, LARGE, LARGE_CHUNK, LARGE_CHUNKS, LARGE_MIDDLE, LARGE_PROMPT, EngineTest
from harness import SLOW, until
from proxy import UP, Proxy

CHUNKS = 5
ONE = [(i * 7919 + i * i) % 1000 for i in range(CHUNKS * CHUNK + 60)]
OTHER = [(i * 31 + 7 * i * i + 1) % 1000 for i in range(CHUNKS * CHUNK + 60)]
PATIENT_MS = int(2000 * COMPUTE_SECONDS)  # the first's put is held until the second has computed all that comes before it
FORK = ONE[:2 * CHUNK] + OTHER[2 * CHUNK:]  # two chunks as ONE, then its own


class Shared(EngineTest):
    def together(self, *prompts):
        """Both compute and save everything, side by side; then each prompt is loaded."""
        node = self.serve()
        digests = [self.alone(prompt) for prompt in prompts]
        engines = [self.engine(prompt, node.endpoint, no_load=True) for prompt in prompts]
        for engine, digest in zip(engines, digests):
            self.same(engine.answer(), digest, reused=0, saved_chunks=CHUNKS, failed_chunks=0)
        chunks = node.metric("kvasir_chunks")
        engines = [self.engine(prompt, node.endpoint) for prompt in prompts]
        for engine, digest in zip(engines, digests):
            self.same(engine.answer(), digest, reused=CHUNKS * CHUNK, saved_chunks=0)
        self.assertEqual(node.metric("kvasir_chunks"), chunks)
        self.assertEqual(node.metric("kvasir_put_commits_total"), chunks)
        node.stop()
        return chunks

    def test_same_prompt(self):
        self.assertEqual(self.together(ONE, ONE), CHUNKS)

    def test_different_prompts(self):
        self.assertEqual(self.together(ONE, OTHER), 2 * CHUNKS)

    def test_common_beginning(self):
        self.assertEqual(self.together(ONE, FORK), 2 * CHUNKS - 2)

    def met_in_flight(self, first_lives):
        """The first engine's put is held half way; the second meets it, and waits for how it ends."""
        node = self.serve()
        digest = self.alone(LARGE_PROMPT, **LARGE)
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        proxy.after(UP, LARGE_MIDDLE, proxy.hold)  # of the second chunk, half
        first = self.engine(LARGE_PROMPT, proxy.endpoint, timeout_ms=PATIENT_MS, **LARGE)
        self.assertTrue(proxy.fired.wait(COMPUTE_SECONDS), "the first did not get so far")
        second = self.engine(LARGE_PROMPT, node.endpoint, no_load=True, timeout_ms=PATIENT_MS, **LARGE)
        self.assertTrue(until(lambda: node.metric("kvasir_put_pending_total") > 0, COMPUTE_SECONDS / SLOW), "they did not meet")
        if first_lives:
            proxy.release()
            self.same(first.answer(), digest, saved_chunks=LARGE_CHUNKS)
        else:
            first.kill()
            self.assertEqual(first.process.wait(10 * SLOW), -signal.SIGKILL)
            proxy.cut()
            proxy.release()
        answer = second.answer()
        self.same(answer, digest, reused=0)
        # A put that waited for one which then stopped half way is made once more by the client.
        self.assertEqual(answer["failed_chunks"], 0, answer)
        self.assertEqual(answer["saved_chunks"], LARGE_CHUNKS, answer)
        self.assertEqual(node.metric("kvasir_chunks"), LARGE_CHUNKS)
        self.assertEqual(node.metric("kvasir_put_commits_total"), LARGE_CHUNKS)
        self.same(self.ask(LARGE_PROMPT, node.endpoint, **LARGE), digest, reused=LARGE_CHUNKS * LARGE_CHUNK)
        self.assertEqual(node.metric("kvasir_landings"), 0)
        node.stop()

    def test_second_meets_the_first(self):
        self.met_in_flight(True)

    def test_first_dies_while_the_second_waits(self):
        self.met_in_flight(False)


if __name__ == "__main__":
    harness.main(580)
