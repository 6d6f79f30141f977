"""The node dies, forgets, or says what nobody stored, while engines load from it and save to it: no request fails, no wrong
byte reaches a block, and it costs time at most."""
import os
import signal
import unittest

import shared
from fixture import BLOCK, STORED, SiteTest, prompt, request, until
from proxy import DOWN, UP


class Faults(SiteTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.site = shared.site()
        cls.first, cls.second, cls.plain = shared.engines()

    def setUp(self) -> None:
        self.first.reset()

    def loaded(self) -> int:
        return self.assert_bytes_right(at_least=0).loaded

    def assert_served_again(self) -> None:
        """Both engines find the node again, by themselves: what the one stores the other reuses."""
        for attempt in range(20):
            requests = [request(prompt(f"{self.id()} again {attempt}"))]
            cold = self.first.run(requests)
            self.site.settled()
            warm = self.second.run(requests)
            self.assert_exact(cold, warm)
            if self.cached(warm) == [STORED]:
                return
        self.fail("the second engine reuses nothing:\n" + self.second.tail())

    def test_node_killed_and_restarted(self) -> None:
        stored, answers = self.store(self.second, "kill", 8)
        fresh = [request(prompt(f"kill, fresh {i}")) for i in range(8)]
        truth = answers + self.plain.run(fresh, concurrent=True)
        self.site.proxy.after(DOWN, 5 << 20, lambda: self.site.node.signal(signal.SIGKILL))
        self.first.start_run(stored + fresh, concurrent=True)
        self.second.start_run(fresh + stored, concurrent=True)
        self.assertTrue(self.site.proxy.fired.wait(60), self.first.tail())
        self.site.restart()
        self.assert_close(truth, self.first.receive()["results"])
        self.assert_close(truth[8:] + truth[:8], self.second.receive()["results"])
        self.assert_served_again()

    def test_bits_flipped_on_the_way_to_the_engine(self) -> None:
        stored, truth = self.store(self.second, "down", 8)
        before = self.loaded()
        self.site.proxy.flip(DOWN, 1_500_000)
        self.addCleanup(self.site.proxy.flip, DOWN, 0)
        self.assert_close(truth, self.first.run(stored, concurrent=True))
        self.assertGreater(self.site.proxy.flipped[DOWN], 0)
        self.assertLess(self.loaded() - before, 8 * STORED // BLOCK)
        self.site.proxy.flip(DOWN, 0)
        self.assert_served_again()

    def test_bits_flipped_on_the_way_to_the_node(self) -> None:
        requests = [request(prompt(f"up {i}")) for i in range(8)]
        truth = self.plain.run(requests, concurrent=True)
        self.site.proxy.flip(UP, 1_500_000)
        self.addCleanup(self.site.proxy.flip, UP, 0)
        self.assert_close(truth, self.first.run(requests, concurrent=True))
        self.site.settled()
        self.assertGreater(self.site.proxy.flipped[UP], 0)
        self.site.proxy.flip(UP, 0)
        warm = self.second.run(requests)
        self.assert_close(truth, warm)
        self.assertLess(sum(self.cached(warm)), 8 * STORED)
        self.assert_served_again()

    def between(self, what) -> None:
        """Requests that find their chunks; before they load them, `what` happens."""
        stored, truth = self.store(self.second, self.id(), 4)
        reached = self.site.gap + ".reached"
        open(self.site.gap, "w").close()
        self.first.start_run(stored, concurrent=True)
        try:
            self.assertTrue(until(lambda: os.path.exists(reached)), self.first.tail())
            what()
        finally:
            os.unlink(self.site.gap)
            if os.path.exists(reached):
                os.unlink(reached)
        self.assert_close(truth, self.first.receive()["results"])

    def test_node_is_another_when_the_load_comes(self) -> None:
        def replace() -> None:
            self.site.node.signal(signal.SIGKILL)
            self.site.restart()

        before = self.loaded()
        self.between(replace)
        self.assertLess(self.loaded() - before, 4 * STORED // BLOCK)
        self.assert_served_again()

    def test_chunks_are_evicted_before_the_load_comes(self) -> None:
        self.between(lambda: self.site.ctl("evict", "--all"))
        self.assert_served_again()


if __name__ == "__main__":
    unittest.main(verbosity=2)
