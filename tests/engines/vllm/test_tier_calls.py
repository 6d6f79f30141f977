"""KvasirTier called as vLLM's tiering calls it, on a real node, without an engine: what an engine does not do at will."""
from __future__ import annotations

import ctypes
import http.client
import itertools
import os
import re
import signal
import sys
import time
import types
import unittest
from typing import Any

import numpy as np
from fixture import until
from harness import Node
from process import TOP
from vllm.v1.kv_hints import KvHintAction, KvHintsEnvelope
from vllm.v1.kv_offload.base import Locality, LookupResult, Medium, OffloadKey, ReqContext, ScheduleEndContext, make_offload_key
from vllm.v1.kv_offload.tiering.base import JobResult, TransferJob

sys.path.insert(0, os.path.join(TOP, "connector", "vllm"))

import kvasir
from kvasir_vllm import tier_metrics
from kvasir_vllm.tier import KvasirTier
from kvasir_vllm.tier_metrics import LOOKUP_CHUNKS

ROWS, ROW_BYTES, USED, TOKENS = 8, 8192, 6144, 64
END = ScheduleEndContext(new_req_ids=(), preempted_req_ids=())
SECONDS = 20.0


class Bare(KvasirTier):
    """Without an engine there is no configuration to describe a space by: one is given."""

    def _prepare(self, config: Any, view: memoryview) -> Any:
        space = self._connector.space(kvasir.SpaceDescription(model="m", layout=kvasir.Layout.OPAQUE, tokens_per_chunk=TOKENS,
                                                              chunk_bytes=USED))
        base = ctypes.addressof(ctypes.c_char.from_buffer(view))
        return {0: [space]}, [self._connector.register([kvasir.Region(base, USED, ROW_BYTES, ROWS)])], USED


def key(number: int) -> OffloadKey:
    return make_offload_key(number.to_bytes(32, "big"), 0)


class Calls(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Node().start()
        self.addCleanup(self.node.close)
        self.rows = np.random.default_rng(1).integers(-128, 127, (ROWS, ROW_BYTES), dtype=np.int8)
        self.view = memoryview(self.rows)
        self.tier = self.make()
        self.request = ReqContext("r")
        self.jobs = 0

    def make(self, **options: Any) -> KvasirTier:
        config = types.SimpleNamespace(groups=[types.SimpleNamespace(group_id=0, tokens_per_block=TOKENS)],
                                       cache=types.SimpleNamespace(blocks_per_chunk=1))
        spec = types.SimpleNamespace(config=config, kv_events_config=types.SimpleNamespace(enable_kv_cache_events=True))
        given = {"endpoint": "unix:" + self.node.socket, "lookup_timeout": 0.5, "load_timeout": 2.0, "save_timeout": 2.0, **options}
        tier = Bare(spec, self.view, "KvasirTier", **given)
        self.addCleanup(tier.shutdown)
        self.assertTrue(until(lambda: self.sees_node(tier)))
        return tier

    @staticmethod
    def sees_node(tier: KvasirTier) -> bool:
        """Steps once. The tier looks at the node's state in a step, but not in each."""
        tier.on_schedule_end(END)
        return tier._connected

    def job(self, load: bool, numbers: list[int], rows: list[int]) -> TransferJob:
        self.jobs += 1
        return TransferJob(self.jobs, [key(i) for i in numbers], np.array(rows, dtype=np.int32), load, self.request)

    def results(self) -> list[JobResult]:
        """Steps until no job is under way."""
        found: list[JobResult] = []

        def step() -> bool:
            found.extend(self.tier.get_finished_jobs())
            self.tier.on_schedule_end(END)
            return not self.tier.has_pending_work()

        self.assertTrue(until(step, SECONDS))
        return found

    def verdict(self, number: int) -> LookupResult:
        """Steps until it is known."""
        answers: list[LookupResult] = []

        def step() -> bool:
            answers.append(self.tier.lookup(key(number), self.request))
            self.tier.on_schedule_end(END)
            return answers[-1] is not LookupResult.RETRY

        self.assertTrue(until(step, SECONDS))
        return answers[-1]

    def store(self, numbers: list[int], rows: list[int]) -> list[JobResult]:
        for number in numbers:
            self.request.set_offload_key_position(key(number), (number + 1) * TOKENS)
        self.tier.submit_store(self.job(False, numbers, rows))
        return self.results()

    def gauge(self, name: str) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.node.admin_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert found is not None, f"no {name}"
        return float(found.group(1))

    def test_store_look_up_load(self) -> None:
        wanted = self.rows.copy()
        result, = self.store([0, 1], [0, 1])
        self.assertEqual((result.success, result.successful_keys, result.transfer_bytes), (True, None, 2 * USED))
        self.assertIs(self.tier.lookup(key(0), self.request), LookupResult.RETRY)
        self.assertIs(self.verdict(0), LookupResult.HIT)
        self.assertIs(self.verdict(1), LookupResult.HIT)
        self.assertIs(self.verdict(2), LookupResult.MISS)
        self.assertGreater(self.gauge("kvasir_leases"), 0)
        self.tier.submit_load(self.job(True, [1, 0], [4, 5]))
        result, = self.results()
        self.assertTrue(result.success)
        self.assertEqual(self.rows[4, :USED].tobytes() + self.rows[5, :USED].tobytes(),
                         wanted[1, :USED].tobytes() + wanted[0, :USED].tobytes())
        self.assertEqual(self.rows[:, USED:].tobytes(), wanted[:, USED:].tobytes())
        self.tier.on_request_finished(self.request)
        self.assertTrue(until(lambda: self.gauge("kvasir_leases") == 0))

    def test_a_load_that_lacks_one(self) -> None:
        self.store([0, 2], [0, 2])
        self.assertIs(self.verdict(0), LookupResult.HIT)
        self.tier.submit_load(self.job(True, [0, 1, 2], [4, 5, 6]))
        result, = self.results()
        self.assertEqual((result.success, set(result.successful_keys or ())), (False, {key(0), key(2)}))
        self.tier.submit_load(self.job(True, [1], [5]))
        result, = self.results()
        self.assertEqual((result.success, result.successful_keys), (False, None))

    def test_a_failed_load_is_not_promoted_again(self) -> None:
        self.store([0], [0])
        self.assertIs(self.verdict(0), LookupResult.HIT)
        self.tier._spaces[0][0].delete(key(0)[:32], unchained=True).wait(SECONDS)
        self.tier.submit_load(self.job(True, [0], [4]))
        self.assertEqual([result.success for result in self.results()], [False])
        self.assertIs(self.tier.lookup(key(0), self.request), LookupResult.MISS)

    def test_drain_leaves_nothing_on_the_rows(self) -> None:
        for i in range(4):
            self.tier.submit_store(self.job(False, [i], [i]))
        self.tier.drain_jobs()
        self.assertEqual(self.tier._transfers.under_way, 0)
        self.assertEqual([result.success for result in self.tier.get_finished_jobs()], [True] * 4)
        self.tier.drain_jobs()

    def test_events(self) -> None:
        self.tier = self.make(enable_kv_events=True, locality="REMOTE")
        self.store([0, 1], [0, 1])
        event, = self.tier.take_events()
        self.assertEqual((set(event.keys), event.medium, event.removed, event.locality, event.ownership, event.removal_expected),
                         ({key(0), key(1)}, Medium.STORAGE, False, Locality.REMOTE, "KvasirTier", False))
        self.assertEqual(list(self.tier.take_events()), [])

    def test_touch_is_told_to_the_node(self) -> None:
        self.store([0], [0])
        before = self.tier._connector.counters().lookup_hit_keys
        self.tier.touch([key(0), key(1)], self.request)
        self.results()
        self.assertEqual(self.tier._connector.counters().lookup_hit_keys, before + 1)
        self.assertEqual(self.gauge("kvasir_leases"), 0)

    def test_hints(self) -> None:
        said = ReqContext("said", kv_transfer_params={"kvasir": {"program": "p", "wait": "tool", "priority": "high"}})
        self.request = said
        for number in (0, 1):
            said.set_offload_key_position(key(number), (number + 1) * TOKENS)
        self.tier.submit_store(self.job(False, [0, 1], [0, 1]))
        self.tier.on_request_finished(said)
        self.assertEqual(self.tier._connector.counters().hints, 0, "the hint did not wait for the chunks")
        self.results()
        self.assertEqual(self.tier._connector.counters().hints, 1)
        self.assertEqual(self.tier._counters.hint_values_dropped, 1)
        self.tier.on_request_finished(ReqContext("nothing", kv_transfer_params={"other": 1}))
        self.assertEqual(self.tier._connector.counters().hints, 1)
        self.assertEqual((self.tier._request_of, self.tier._jobs_of), ({}, {}))

    def test_who_uses_what_is_there(self) -> None:
        """The node is told at the first load or use of a chunk, what the node said is counted, and nothing is kept."""
        self.tier.get_stats()
        actions = [KvHintAction("a", "kvasir.hint", "1.0", {"program": "p", "tool": "pytest"}), KvHintAction("b", "kv.fetch", "1.0", {})]
        said = self.request = ReqContext("said", kv_hints=KvHintsEnvelope("0.1", "m", actions))
        self.store([0, 1], [0, 1])
        self.assertEqual(self.tier._connector.counters().hints, 0)
        self.tier.touch([key(0), key(1)], said)
        self.assertIs(self.verdict(1), LookupResult.HIT)
        self.tier.submit_load(self.job(True, [1], [4]))
        self.results()
        self.assertEqual(self.tier._connector.counters().hints, 1)
        self.tier.on_request_finished(said)
        self.assertTrue(until(lambda: self.sees_node(self.tier) and self.tier._hints._under_way == 0))
        counters = self.tier._counters
        self.assertEqual((counters.hints_named, counters.hints, counters.hints_accepted, counters.hint_actions_passed_over), (1, 1, 2, 1))
        told = self.tier.get_stats()
        self.assertIsNotNone(told)
        self.assertEqual(told._values[tier_metrics.HINT_ANSWERS], {("accepted",): 2})
        self.assertEqual(self.tier._hints._known, {})

    def test_hints_off(self) -> None:
        tier = self.make(hints="off")
        said = ReqContext("said", kv_transfer_params={"kvasir": {"program": "p", "wait": "tool", "priority": "high"}})
        tier.on_request_finished(said)
        self.assertEqual((tier._connector.counters().hints, tier._counters.hint_values_dropped), (0, 0))

    def test_a_node_that_stands_still(self) -> None:
        self.store([0], [0])
        self.node.signal(signal.SIGSTOP)
        try:
            self.tier.submit_load(self.job(True, [0], [4]))
            began = time.monotonic()
            self.assertIs(self.verdict(1), LookupResult.MISS)
            self.assertLess(time.monotonic() - began, 5.0)
            fresh = itertools.count(100)

            def paused() -> bool:
                """A key that nobody has asked for yet is a miss without a question."""
                self.tier.get_finished_jobs()
                answer = self.tier.lookup(key(next(fresh)), self.request)
                self.tier.on_schedule_end(END)
                return answer is LookupResult.MISS

            self.assertTrue(until(paused, SECONDS))
            stats = self.tier.get_stats()
            assert stats is not None
            self.assertGreaterEqual(stats.reduce()[f"{LOOKUP_CHUNKS}:('unanswered',)"], 1)
            self.tier.drain_jobs()
        finally:
            self.node.signal(signal.SIGCONT)
        self.request = ReqContext("another")
        self.assertTrue(until(lambda: self.again() is LookupResult.HIT))

    def again(self) -> LookupResult:
        self.request = ReqContext(f"r{time.monotonic()}")
        try:
            return self.verdict(0)
        finally:
            self.tier.on_request_finished(self.request)

    def test_a_dead_node_is_a_miss_at_once(self) -> None:
        self.store([0], [0])
        self.node.process.kill()
        self.node.wait()
        self.assertTrue(until(lambda: not self.sees_node(self.tier)))
        self.assertIs(self.tier.lookup(key(0), self.request), LookupResult.MISS)
        self.tier.submit_store(self.job(False, [1], [1]))
        self.tier.submit_load(self.job(True, [0], [4]))
        self.assertEqual([result.success for result in self.results()], [False, False])
        stats = self.tier.get_stats()
        assert stats is not None
        self.assertEqual(stats.reduce()["vllm:kvasir_tier_node_connected"], 0)

    def test_shutdown_gives_the_rows_back(self) -> None:
        self.tier.submit_store(self.job(False, [0], [0]))
        self.tier.shutdown()
        self.view.release()  # BufferError if an export of it were left
        self.tier.shutdown()

    def test_many_requests_leave_nothing(self) -> None:
        self.store([0], [0])
        for i in range(300):
            self.request = ReqContext(f"many {i}")
            for number in (0, 1, 2 + i):
                self.tier.lookup(key(number), self.request)
            if i % 3:
                self.verdict(0)
            self.tier.on_schedule_end(END)
            self.tier.on_request_finished(self.request)
        self.results()
        self.assertEqual(len(self.tier._lookups), 0)
        self.assertEqual(self.tier._lookups._of_request, {})
        self.assertEqual(self.tier._connector.in_flight, 0)
        self.assertTrue(until(lambda: self.gauge("kvasir_leases") == 0))


if __name__ == "__main__":
    unittest.main()
