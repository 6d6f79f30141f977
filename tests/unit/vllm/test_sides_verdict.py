"""Load or compute: what the scheduler's side makes of the node's verdict, and how it measures what computing takes."""
from __future__ import annotations

import random
import unittest
from typing import Any

from binding_fixture import NodeTest, main
from engine_fixture import CHUNK, Engine, Request, make_plan, prompt

from kvasir import Hint
from kvasir_vllm.lookups import Verdict
from kvasir_vllm.prefills import PAUSE, Prefills

TOKENS = 4 * CHUNK + 3


class Verdicts(unittest.TestCase):
    def test_all_unless_it_is_much_faster(self) -> None:
        self.assertEqual(Verdict(10, 10, 5.0, 5.0).chunks(0, 1.2), 10)
        self.assertEqual(Verdict(10, 3, 5.0, 4.0).chunks(0, 1.2), 3)
        self.assertEqual(Verdict(10, 3, 5.0, 4.5).chunks(0, 1.2), 10)  # not that much
        self.assertEqual(Verdict(10, 3, 5.0, 4.5).chunks(0, 1), 3)
        self.assertEqual(Verdict(10, 0, 5.0, 0.1).chunks(0, 0), 10)  # never
        self.assertEqual(Verdict(0, 0, 0.0, 0.0).chunks(0, 1.2), 0)

    def test_what_the_engine_has_is_counted(self) -> None:
        """Against the seconds that are left, for any engine and medium: never slower than loading what is left."""
        rand = random.Random(7)
        for _ in range(20000):
            n = rand.randint(1, 200)
            linear, square, load, begin = (rand.random() * 10 ** rand.uniform(-4, 0) for _ in range(4))
            computing = [linear * k + square * k * k for k in range(n + 1)]
            fetch = begin + load * n
            if computing[n] >= fetch:
                continue
            verdict = Verdict(n, 0, fetch, computing[n])
            has = rand.uniform(0, n)
            if verdict.chunks(has, 1.2) == 0:
                left = computing[n] - (linear * has + square * has * has)
                self.assertLessEqual(left * 1.2, begin + load * (n - has) + 1e-9)


class Measuring(unittest.TestCase):
    def steps(self, *steps: tuple[float, dict[str, int]], unknown: tuple[str, ...] = ()) -> list[tuple[int, int, float]]:
        prefills, at, told = Prefills(), {}, []
        for now, scheduled in steps:
            measured = prefills.step(scheduled, lambda name: None if name in unknown else at.get(name, 0), now)
            told += [measured] if measured else []
            for name, n in scheduled.items():
                at[name] = at.get(name, 0) + n
        return told

    def test_a_long_prefill(self) -> None:
        chunk = {"a": 2048}
        self.assertEqual(self.steps((0, chunk), (0.1, chunk), (0.5, chunk), (0.9, chunk), (1.0, {"a": 1})), [(2048, 2048, 0.4)])
        self.assertEqual(self.steps((0, chunk), (0.1, chunk), (0.5, {"a": 1})), [])  # two steps are none: see Prefills
        more = [(0.5 * i, chunk) for i in range(int(4 * PAUSE) + 3)]
        self.assertEqual([begin for _, begin, _ in self.steps(*more)], [2048 * (1 + int(2 * PAUSE) * i) for i in range(3)])

    def test_what_is_none(self) -> None:
        def others(n: int) -> list[tuple[float, dict[str, int]]]:
            return [(i, {"a": 2048, "b": n}) for i in range(3)]

        self.assertEqual(len(self.steps(*others(128))), 1)
        self.assertEqual(self.steps(*others(129)), [])
        self.assertEqual(self.steps(*[(i, {"a": 255}) for i in range(5)]), [])
        self.assertEqual(self.steps(*[(i, {"a": 2048}) for i in range(5)], unknown=("a",)), [])
        self.assertEqual(self.steps(*[(i, {"ab"[i % 2]: 2048}) for i in range(6)]), [])
        self.assertEqual(self.steps(*[(i, {"a": 2048 + i}) for i in range(6)]), [])
        self.assertEqual(self.steps(*[(i, {}) for i in range(5)]), [])
        self.assertEqual(self.steps((0, {"a": 2048}), (1, {"a": 2048}), (2, {}), (3, {"a": 2048}), (4, {"a": 2048})), [])


class OnANode(NodeTest):
    def engine(self, verdict: dict[str, Any], *windows: int, **options: Any) -> Engine:
        """One whose node says this of each look-up, over a chain of four chunks."""
        plan = make_plan(*windows)
        Engine(self, plan).store(Request("a", prompt(TOKENS, 1)))
        engine = Engine(self, plan, **options)
        poll = engine.scheduler_connector.poll
        engine.scheduler_connector.poll = lambda: [  # type: ignore[method-assign]
            done._replace(**verdict) if done.present is not None else done for done in poll()]
        return engine

    def offered(self, engine: Engine, n_computed: int = 0) -> int:
        """Tokens that are offered; what is not loaded is computed, and the leases end."""
        request = Request("b", prompt(TOKENS, 1))
        n, _ = engine.match(request, n_computed)
        assert n is not None
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, n)
        if n:
            engine.step_until(lambda: "b" in engine.ended.received)
            self.assertTrue(engine.holds(request, n_computed, n_computed + n))
        engine.run(request, n_computed + n)
        self.assertEqual(engine.scheduler.n_requests, 0)
        return n

    def test_it_is_followed(self) -> None:
        for worth, recompute, n in ((0, 1.2, 0), (3, 1.2, 3), (4, 1.2, 4), (0, 3, 4), (0, 0, 4)):
            engine = self.engine({"compute_time": 1.0, "worth_time": 1.0, "n_worth": worth, "fetch_time": 2.0}, recompute=recompute)
            self.assertEqual(self.offered(engine), n * CHUNK, (worth, recompute))
            self.assertEqual(engine.scheduler.counters.requests_recomputed, n < 4)
            self.assertEqual(engine.scheduler.counters.tokens_loaded, n * CHUNK)

    def test_no_verdict(self) -> None:
        engine = self.engine({"compute_time": 0.0, "worth_time": 0.0, "n_worth": 4, "fetch_time": 100.0})
        self.assertEqual(self.offered(engine), 4 * CHUNK)

    def test_the_engine_has_some(self) -> None:
        verdict = {"compute_time": 1.0, "worth_time": 1.0, "n_worth": 3, "fetch_time": 2.0}
        for more, n_computed, n, recomputed in (({}, 1, 2, 1), ({}, 3, 1, 0),  # 1.2 * 1.75 is more than twice
                                                ({"fetch_time": 3.0}, 3, 0, 1)):
            engine = self.engine(verdict | more)
            self.assertEqual(self.offered(engine, n_computed * CHUNK), n * CHUNK)
            self.assertEqual(engine.scheduler.counters.requests_recomputed, recomputed, (more, n_computed))

    def test_the_engine_has_all_that_is_there(self) -> None:
        """There is nothing to load, so nothing is computed instead: not even what would be, if the engine had it not."""
        engine = self.engine({"compute_time": 1.0, "worth_time": 1.0, "n_worth": 1, "fetch_time": 9.0})
        request = Request("c", prompt(6 * CHUNK, 1))  # four chunks of six are there
        self.assertEqual(engine.match(request, 4 * CHUNK), (0, False))
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        self.assertEqual(engine.scheduler.counters.requests_recomputed, 0)
        engine.run(request, 4 * CHUNK)

    def test_windows(self) -> None:
        """Those have no verdict: that of full attention holds for all."""
        engine = self.engine({"compute_time": 1.0, "worth_time": 1.0, "n_worth": 0, "fetch_time": 2.0}, 0, CHUNK)
        self.assertEqual(self.offered(engine), 0)

    def test_prefills_are_told(self) -> None:
        """The node learns from three of them."""
        plan = make_plan(tp_size=2)
        engine = Engine(self, plan)
        for i in range(4):
            engine.scheduler._hints.prefill_measured(256, 256 * i, 0.1)
        engine.step_until(lambda: engine.scheduler._hints._under_way == 0)
        counters = engine.scheduler.counters
        self.assertEqual((counters.hints_of_prefills, counters.hints_accepted, counters.hints), (4, 8, 0))
        engine.store(Request("a", prompt(TOKENS, 1)))
        engine = Engine(self, plan)
        request = Request("b", prompt(TOKENS, 1))
        engine.match(request)
        answer = engine.scheduler._states["b"].answer
        assert answer is not None
        self.assertEqual([(verdict.n, verdict.worth) for verdict in answer.verdicts], [(4, 4)])

    def test_off(self) -> None:
        engine = Engine(self, make_plan(), hints="off")
        engine.scheduler._hints.prefill_measured(256, 0, 0.1)
        self.assertEqual((engine.scheduler._hints._under_way, engine.scheduler.counters.hints_of_prefills), (0, 0))

    def test_steps_are_measured(self) -> None:
        engine = Engine(self, make_plan(), n_blocks=600)
        sent: list[Hint] = []
        hint = engine.scheduler_connector.hint
        engine.scheduler_connector.hint = lambda said, **more: (sent.append(said), hint(said, **more))[1]  # type: ignore
        request = Request("a", prompt(4 * 256, 3))
        engine.match(request)
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        for _ in range(4):
            engine.step({"a": 256}, [request])
        self.assertEqual([(said.prefill_tokens, said.prefill_from) for said in sent], [(256, 256)])
        self.assertGreater(sent[0].prefill_time, 0)
        engine.scheduler.finished(request, request.blocks, aborted=True)


if __name__ == "__main__":
    main()
