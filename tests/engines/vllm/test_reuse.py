"""What an engine with the store answers is what an engine without it answers, and the tests would see it if not."""
import os
import unittest

import audit
import compare
import shared
from fixture import BLOCK, CHUNK, LENGTH, STORED, SiteTest, prompt, request
from model import TINY_OTHER_WEIGHTS

MANY = 64 if os.environ.get("KVASIR_ENGINES") == "full" else 32


class Reuse(SiteTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.site = shared.site()
        cls.first, cls.second, cls.plain = shared.engines()

    def test_a_new_process_answers_bit_for_bit(self) -> None:
        requests, cold = self.store(self.first, "bits", 4)
        loaded = self.assert_bytes_right(at_least=0).loaded
        warm = self.second.run(requests)
        self.assertEqual(self.cached(warm), [STORED] * 4)
        self.assert_exact(cold, warm)
        self.assert_bytes_right(at_least=loaded + 4 * STORED // BLOCK)
        self.assert_close(self.plain.run(requests), warm)

    def test_the_same_process_after_it_forgot(self) -> None:
        requests, cold = self.store(self.first, "again")
        self.first.reset()
        warm = self.first.run(requests)
        self.assertEqual(self.cached(warm), [STORED] * 2)
        self.assert_exact(cold, warm)

    def test_own_prefix_ends_inside_a_chunk(self) -> None:
        """The engine has 288 tokens itself and takes the rest of the second chunk from the store; blocks that it shares
        with a request that runs stay as they are."""
        requests, cold = self.store(self.first, "holes", 1)
        self.first.reset()
        own = CHUNK + BLOCK
        other = request(prompt("other tail", LENGTH, requests[0]["prompt"][:own]), 200)
        loaded = self.assert_bytes_right(at_least=0).loaded
        both = self.first.run([other, {**requests[0], "start_after": 10}], concurrent=True)
        self.assertEqual(both[0]["cached"], CHUNK)
        self.assertEqual(both[1]["cached"], STORED)
        self.assertEqual(self.assert_bytes_right().loaded - loaded, (CHUNK + STORED - own) // BLOCK)
        self.assert_close(cold, both[1:])
        self.assert_close(self.plain.run([other]), both[:1])

    def test_cache_salt_separates(self) -> None:
        requests, _ = self.store(self.first, "salt", 1)
        salted = {**requests[0], "salt": "pepper"}
        self.assertEqual(self.cached(self.second.run([salted])), [0])

    def test_many_requests_at_once(self) -> None:
        """Two engines on one node, many requests in a batch that share prefixes and differ, in a KV cache that holds three or
        four of them, some aborted: cold, and again with everything in the store."""
        heads = [prompt(f"head{i}", CHUNK * (1 + i % 2)) for i in range(4)]
        aborts = {5: 0, 13: 1, 21: 5, 37: 20, 53: 0}
        requests = []
        for i in range(MANY):
            requests.append(request(prompt(f"many{i}", len(heads[i % 4]) + 60 + 29 * (i % 5), heads[i % 4]), 40, abort_after=aborts.get(i)))
        truth = self.plain.run([{**one, "abort_after": None} for one in requests], concurrent=True)
        for turn in range(2):
            self.first.reset()
            for engine in (self.first, self.second):
                engine.start_run(requests, concurrent=True)
            for engine in (self.first, self.second):
                results = engine.receive()["results"]
                self.assert_close(truth, results)
                self.assertEqual([i for i, one in enumerate(results) if one["finish"] == "abort"], [i for i in aborts if i < MANY])
                if turn:
                    self.assertGreater(sum(one["cached"] >= CHUNK for one in results if one["finish"] == "length"), MANY // 2)
            self.assert_at_rest()
        preempted = [engine.ask("metrics")["vllm:num_preemptions_total"] for engine in (self.first, self.second)]
        self.assertGreater(min(preempted), 0)
        self.assert_bytes_right(at_least=MANY)

    def test_other_weights_share_nothing(self) -> None:
        requests, _ = self.store(self.first, "weights")
        spaces = {space["digest"] for space in self.site.ctl("ls", "spaces")["spaces"]}
        folder = self.site.make_folder("audit-other")
        other = self.site.engine("other", TINY_OTHER_WEIGHTS, self.site.unix, audit_folder=folder).wait_ready()
        self.addCleanup(self.site.end, "other")
        answers = other.run(requests)
        self.assertEqual(self.cached(answers), [0, 0])
        more = self.site.ctl("ls", "spaces")["spaces"]
        ours = [space for space in more if space["digest"] in spaces][0]["descriptor"]
        theirs = [space for space in more if space["digest"] not in spaces][0]["descriptor"]
        self.assertEqual({field for field in ours if ours[field] != theirs[field]}, {"weights"})
        self.assertIn("weights", other.log())

    def test_a_control_that_changes_bytes_is_seen(self) -> None:
        """With a saboteur in the engine every kind of check fails: comparing bits, comparing with a tolerance, hashing."""
        requests, cold = self.store(self.first, "control", 4)
        with self.site.spoiling():
            warm = self.second.run(requests)
        self.assertEqual(self.cached(warm), [STORED] * 4)
        for i, (one, other) in enumerate(zip(cold, warm)):
            self.assertNotEqual(compare.exact(one, other), [], f"request {i}")
            self.assertNotEqual(compare.close(one, other), [], f"request {i}")
        self.assertEqual(audit.read(self.site.audit).spoiled, 4 * STORED // BLOCK)


if __name__ == "__main__":
    unittest.main(verbosity=2)
