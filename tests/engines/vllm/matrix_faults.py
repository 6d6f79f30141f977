"""Faults that take long to try: a node killed at many instants, one that stops answering, an engine that is killed, and
thousands of requests after which nothing has grown."""
from __future__ import annotations

import os
import random
import signal
import time
import unittest

import shared
from fixture import CHUNK, STORED, SiteTest, prompt, request, until
from proxy import DOWN, UP

SEED = int(os.environ.get("KVASIR_TEST_SEED", "1"))
KILLS = 12
CHURN = 5000
BATCH = 100
GROWTH = 24 << 20  # bytes that a process may grow from the 2,000th request on, beyond the same of an engine without a store


class Faults(SiteTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.site = shared.site()
        cls.first, cls.second, cls.plain = shared.engines()

    def setUp(self) -> None:
        self.first.reset()

    def test_node_killed_at_many_instants(self) -> None:
        """After a random number of bytes in a random direction, while an engine loads and saves through the proxy."""
        chance = random.Random(SEED)
        for turn in range(KILLS):
            direction, count = chance.choice((UP, DOWN)), chance.randrange(1 << 20, 8 << 20)
            with self.subTest(turn=turn, direction=direction, count=count, seed=SEED):
                stored, answers = self.store(self.second, f"kills {SEED} {turn}", 8)
                fresh = [request(prompt(f"kills {SEED} {turn} {i}")) for i in range(8)]
                truth = answers + self.plain.run(fresh, concurrent=True)
                self.first.reset()
                self.site.proxy.after(direction, count, lambda: self.site.node.signal(signal.SIGKILL))
                self.first.start_run(stored + fresh, concurrent=True)
                fired = self.site.proxy.fired.wait(60)
                if fired:
                    self.site.restart()
                self.assert_close(truth, self.first.receive()["results"])
                self.assertTrue(fired)
                self.assert_bytes_right(at_least=0)
                self.reconnect()

    def reconnect(self) -> None:
        """Until both engines use the (new) node again."""
        for attempt in range(40):
            one = [request(prompt(f"{self.id()} {time.monotonic()} {attempt}"))]
            self.first.run(one)
            self.site.settled()
            if self.cached(self.second.run(one)) == [STORED]:
                return
        self.fail("the engines do not find the node again")

    def test_node_stops_answering(self) -> None:
        """What is under way costs its deadline; then the node is known to be silent and costs no more."""
        stored, truth = self.store(self.second, "stop", 8)
        cold = max(one["seconds"] for one in truth)
        self.first.reset()
        self.site.node.signal(signal.SIGSTOP)
        self.site.proxy.hold()
        began = time.monotonic()
        try:
            answers = self.first.run(stored)
        finally:
            self.site.node.signal(signal.SIGCONT)
            self.site.proxy.release()
        self.assert_close(truth, answers)
        self.assertEqual(self.cached(answers), [0] * 8)
        # The fixture's engines wait 2 s for a look-up; the first is one, and a few may find out in between.
        self.assertLess(time.monotonic() - began, 8 * (2 * cold + 0.5) + 3 * 2.5)
        self.reconnect()

    def test_node_stops_between_look_up_and_load(self) -> None:
        stored, truth = self.store(self.second, "stop late", 4)
        self.first.reset()
        reached = self.site.gap + ".reached"
        open(self.site.gap, "w").close()
        self.first.start_run(stored, concurrent=True)
        try:
            self.assertTrue(until(lambda: os.path.exists(reached)), self.first.tail())
            self.site.node.signal(signal.SIGSTOP)
            self.site.proxy.hold()
        finally:
            os.unlink(self.site.gap)
            if os.path.exists(reached):
                os.unlink(reached)
        began = time.monotonic()
        try:
            answers = self.first.receive()["results"]
        finally:
            self.site.node.signal(signal.SIGCONT)
            self.site.proxy.release()
        self.assert_close(truth, answers)
        self.assertLess(time.monotonic() - began, 5.0 + 0.25 + 15)  # load_timeout, its grace, and computing on a busy machine
        self.reconnect()

    def test_engine_killed_while_it_saves(self) -> None:
        victim = self.site.engine("victim", endpoint=self.site.tcp).wait_ready()
        requests = [request(prompt(f"victim {i}")) for i in range(16)]
        self.site.proxy.after(UP, 5 << 20, lambda: None)
        victim.start_run(requests, concurrent=True)
        self.assertTrue(self.site.proxy.fired.wait(60), victim.tail())
        self.site.engines.pop("victim").kill()
        self.assert_at_rest()
        truth = self.plain.run(requests, concurrent=True)
        self.assert_close(truth, self.second.run(requests))

    def test_nothing_grows(self) -> None:
        """5,000 requests, some new, some found, some aborted. The memory of the node, and of the engines beside one without a
        store that has the same requests: vLLM's own processes grow for a while."""
        sizes: list[dict[str, int]] = []
        chance = random.Random(SEED)
        known = [request(prompt(f"grow {i}", CHUNK + 40), 4) for i in range(60)]
        for batch in range(CHURN // BATCH):
            requests = [{**chance.choice(known)} for _ in range(BATCH // 2)]
            requests += [request(prompt(f"grow {batch} {i}", CHUNK + 40), 4) for i in range(BATCH // 2)]
            for one in requests[::10]:
                one["abort_after"] = chance.randrange(3)
            for engine in (self.first, self.second, self.plain):
                engine.start_run(requests, concurrent=True, brief=True)
            for engine in (self.first, self.second, self.plain):
                for one in engine.receive(300)["results"]:
                    self.assertIn(one["finish"], ("length", "abort"))
            self.first.reset()
            self.plain.reset()
            if batch >= 10 and batch % 10 == 9:
                sizes.append(self.sizes())
        self.assert_at_rest()
        print("bytes of each process:", *sizes, sep="\n  ")
        grown = {process: sizes[-1][process] - size for process, size in sizes[0].items()}
        self.assertLess(grown["node"], GROWTH)
        for engine in ("first", "second"):
            for part in ("python", "VLLM::EngineCor", "VLLM::Worker"):
                self.assertLess(grown[f"{engine} {part}"] - grown[f"plain {part}"], GROWTH, f"{engine} {part}: {grown}")

    def sizes(self) -> dict[str, int]:
        """Bytes in memory of the node, and of each engine's processes by name."""
        found = {"node": self.site.node.memory()}
        for name, engine in (("first", self.first), ("second", self.second), ("plain", self.plain)):
            for about in engine.ask("memory").values():
                key = f"{name} {about['name']}"
                found[key] = found.get(key, 0) + about["rss_bytes"]
        return found


if __name__ == "__main__":
    unittest.main(verbosity=2)
