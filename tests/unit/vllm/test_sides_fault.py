"""Both sides of KvasirConnector when things go wrong: every request is reported exactly once, and no step waits."""
from __future__ import annotations

import signal
import statistics
import time
import unittest.mock
from typing import Any

from binding_fixture import GRACE, Node, NodeTest, main, until
from engine_fixture import BLOCK, CHUNK, Engine, Request, make_plan, prompt

import kvasir

BIG = 64 * CHUNK


class Fault(NodeTest):
    """Each test has a node of its own, since it is hurt."""

    @classmethod
    def setUpClass(cls) -> None:
        pass

    def setUp(self) -> None:
        self.node = Node().start()
        self.addCleanup(self.node.close)

    def resume(self) -> None:
        assert self.node._process is not None
        self.node._process.send_signal(signal.SIGCONT)

    def loading(self, windows: tuple[int, ...] = (0,), **options: object) -> tuple[Engine, Request]:
        """A request that is about to load four chunks."""
        plan = make_plan(*windows)
        Engine(self, plan).store(Request("a", prompt(4 * CHUNK + 3)))
        engine = Engine(self, plan, **options)
        request = Request("b", prompt(4 * CHUNK + 3))
        n, _ = engine.match(request)
        self.assertEqual(n, 4 * CHUNK)
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, n)
        return engine, request

    # ---- a node that is away ----

    def test_dead_node_costs_nothing(self) -> None:
        engine = Engine(self, make_plan())
        self.node.kill()
        self.assertTrue(until(lambda: not engine.scheduler_connector.state().ok))
        times = []
        for i in range(100):
            request = Request(f"r{i}", prompt(2 * CHUNK, i))
            begin = time.perf_counter()
            engine.scheduler.on_new_request(request)
            self.assertEqual(engine.scheduler.match(request, 0), (0, False))
            times.append(time.perf_counter() - begin)
        self.assertLess(statistics.median(times), 1e-3)
        self.assertEqual(engine.scheduler.counters.lookups, 0)

    def test_dead_node_and_saves(self) -> None:
        engine = Engine(self, make_plan())
        self.node.kill()
        request = Request("a", prompt(2 * CHUNK))
        engine.match(request)
        engine.allocate(request)
        engine.run(request)
        self.assertEqual(engine.workers[0].n_under_way, 0)
        self.assertEqual(engine.workers[0].counters.save_chunks, 0)

    def test_stopped_node_is_a_miss_at_the_deadline_then_at_once(self) -> None:
        engine = Engine(self, make_plan(), lookup_timeout=0.1, retry_after=60.0)
        self.node.pause()
        begin = time.monotonic()
        self.assertEqual(engine.scheduler.match(Request("a", prompt(20)), 0), (None, False))
        self.assertEqual(engine.match(Request("a", prompt(20))), (0, False))
        self.assertLess(time.monotonic() - begin, 0.1 + GRACE)
        self.assertEqual(engine.scheduler.counters.lookup_timeouts, 1)
        self.assertEqual(engine.scheduler.match(Request("b", prompt(20, 2)), 0), (0, False))
        self.assertEqual(engine.scheduler.counters.lookups, 1)

    def test_node_comes_back(self) -> None:
        engine = Engine(self, make_plan(), lookup_timeout=0.1, retry_after=0.2)
        self.node.pause()
        self.assertEqual(engine.match(Request("a", prompt(20))), (0, False))
        self.resume()

        def asked(names: list[int] = []) -> bool:  # noqa: B006  (counts over the calls)
            names.append(len(names))
            engine.match(Request(f"again{len(names)}", prompt(20, len(names))))
            return engine.scheduler.counters.chunks_missed >= 4

        self.assertTrue(until(asked))

    # ---- loads that fail ----

    def test_failed_load_is_told_by_block(self) -> None:
        engine, request = self.loading(load_timeout=0.3)
        self.node.kill()
        engine.step_until(lambda: engine.ended.received)
        self.assertEqual(engine.ended.received, ["b"])
        self.assertEqual(engine.ended.invalid, set(request.blocks[0][:4 * CHUNK // BLOCK]))
        self.assertEqual(engine.scheduler.match(request, 0), (0, False))  # it is not tried again for this request

    def test_failed_load_is_saved_after_it_was_computed(self) -> None:
        engine, request = self.loading(load_timeout=0.3)
        space = engine.scheduler_connector.space(engine.workers[0]._spaces[0].description)
        space.delete(request_keys(engine, request)[2 * 32:3 * 32], first_place=2, unchained=True).wait(5)
        engine.step_until(lambda: engine.ended.received)
        self.assertEqual(engine.ended.invalid, set(request.blocks[0][2 * CHUNK // BLOCK:4 * CHUNK // BLOCK]))
        self.assertTrue(engine.holds(request, 0, 2 * CHUNK))
        request.num_computed_tokens = 2 * CHUNK
        engine.compute(request, 2 * CHUNK, 4 * CHUNK)
        orders = engine.step({"b": request.num_tokens - 2 * CHUNK}, [request])
        self.assertEqual([(save.run.first_place, save.run.n) for save in orders.saves], [(2, 2)])
        engine.scheduler.finished(request, request.blocks, aborted=False)

    def test_failed_load_of_several_groups_is_told_by_request(self) -> None:
        engine, request = self.loading(windows=(0, CHUNK), load_timeout=0.3)
        self.node.kill()
        engine.step_until(lambda: engine.ended.received)
        self.assertEqual((engine.ended.received, engine.ended.failed, engine.ended.invalid), (["b"], ["b"], set()))

    def test_failed_load_of_a_sliding_window_is_told_by_request(self) -> None:
        """By block, vLLM would compute on from the first one that did not come; but the window before it was never loaded."""
        engine, request = self.loading(windows=(CHUNK,), load_timeout=0.3)
        self.node.kill()
        engine.step_until(lambda: engine.ended.received)
        self.assertEqual((engine.ended.received, engine.ended.failed, engine.ended.invalid), (["b"], ["b"], set()))

    def test_stopped_node_ends_a_load_at_its_deadline(self) -> None:
        engine, _ = self.loading(load_timeout=0.2)
        self.node.pause()
        begin = time.monotonic()
        engine.step_until(lambda: engine.ended.received)
        self.assertLess(time.monotonic() - begin, 0.2 + GRACE)

    def test_layerwise_load_that_fails(self) -> None:
        engine, request = self.loading(loads="layerwise", load_timeout=0.2)
        self.node.pause()
        request.num_computed_tokens = 4 * CHUNK
        begin = time.monotonic()
        engine.step({"b": 3}, [request])
        self.assertLess(time.monotonic() - begin, 0.2 + GRACE)
        self.assertEqual(engine.ended.invalid, set(request.blocks[0][:4 * CHUNK // BLOCK]))
        self.assertEqual(engine.scheduler.finished(request, request.blocks, aborted=True), False)

    def test_layerwise_load_that_fails_with_speculative_decoding(self) -> None:
        """vLLM asks for the results before it lets saves start: the failure must be told in this very step all the same, or the
        tokens sampled from it are given out."""
        engine, request = self.loading(loads="layerwise", load_timeout=0.2)
        self.node.pause()
        request.num_computed_tokens = 4 * CHUNK
        engine.step({"b": 3}, [request], deferred=True)
        self.assertEqual(engine.ended.invalid, set(request.blocks[0][:4 * CHUNK // BLOCK]))
        self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=True))

    # ---- requests that end at odd moments ----

    def test_abort_while_looking_up(self) -> None:
        engine = Engine(self, make_plan())
        self.node.pause()
        request = Request("a", prompt(20))
        self.assertEqual(engine.scheduler.match(request, 0), (None, False))
        self.assertFalse(engine.scheduler.finished(request, (), aborted=True))
        self.resume()
        self.assertTrue(until(lambda: engine.step() is not None and engine.scheduler_connector.in_flight == 0))
        self.assertEqual((engine.scheduler.n_requests, engine.ended.received, engine.ended.sent), (0, [], []))

    def test_lease_that_comes_after_the_end_is_released(self) -> None:
        plan = make_plan()
        Engine(self, plan).store(Request("a", prompt(4 * CHUNK + 3)))
        engine = Engine(self, plan)
        released: list[int] = []
        engine.scheduler_connector.release = released.append  # type: ignore[method-assign, assignment]
        request = Request("b", prompt(4 * CHUNK + 3))
        engine.scheduler.on_new_request(request)
        ask = engine.scheduler._states["b"].ask
        assert ask is not None
        ended = ask.operations[0].wait(5)  # the answer was on its way when the request ended
        self.assertGreater(ended.lease, 0)
        self.assertFalse(engine.scheduler.finished(request, (), aborted=True))
        engine.scheduler._lookups._take(ask, 0, ended, time.monotonic())
        self.assertEqual(released, [ended.lease])

    def test_abort_while_loading(self) -> None:
        """vLLM frees the blocks when the request is reported as received, once; it must not be reported as sent."""
        engine, request = self.loading()
        self.node.pause()
        engine.step()
        self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=True))
        engine.step_until(lambda: engine.ended.received)
        for _ in range(3):
            engine.step()
        self.assertEqual((engine.ended.received, engine.ended.sent, engine.ended.invalid), (["b"], [], set()))

    def test_abort_before_the_load_was_sent(self) -> None:
        engine, request = self.loading()
        self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=True))
        engine.step_until(lambda: engine.ended.received)
        self.assertEqual(engine.ended.received, ["b"])

    def saving(self, **options: object) -> tuple[Engine, Request]:
        """A running request whose puts are in flight at a node that stands still."""
        engine = Engine(self, make_plan(), n_blocks=512, **options)
        request = Request("a", prompt(BIG))
        engine.match(request)
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        engine.compute(request, 0, BIG)
        self.node.pause()
        engine.step({"a": BIG}, [request])
        self.assertEqual(engine.workers[0].n_under_way, 1)
        return engine, request

    def test_finished_while_saving(self) -> None:
        engine, request = self.saving()
        self.assertTrue(engine.scheduler.finished(request, request.blocks, aborted=False))
        for _ in range(3):
            engine.step()
        self.assertEqual(engine.ended.sent, [])
        self.resume()
        engine.step_until(lambda: engine.ended.sent)
        engine.step()
        self.assertEqual((engine.ended.sent, engine.ended.received), (["a"], []))
        self.assertEqual(engine.match(Request("b", prompt(BIG) + [1]))[0], BIG)

    def test_aborted_while_saving(self) -> None:
        engine, request = self.saving()
        self.assertTrue(engine.scheduler.finished(request, request.blocks, aborted=True))
        self.resume()
        engine.step_until(lambda: engine.ended.sent)
        self.assertEqual(engine.ended.sent, ["a"])

    def test_finished_after_saving_holds_nothing(self) -> None:
        engine, request = self.saving()
        self.resume()
        engine.step_until(lambda: engine.workers[0].n_under_way == 0)
        self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=False))
        engine.step()
        self.assertEqual(engine.ended.sent, [])

    def test_preempted_while_saving(self) -> None:
        """Its blocks are overwritten next: the puts have ended when the step goes on. It comes again and is saved then."""
        engine, request = self.saving()
        request.num_preemptions += 1
        request.num_computed_tokens = 0
        begin = time.monotonic()
        engine.step(preempted=("a",))
        self.assertLess(time.monotonic() - begin, GRACE)
        self.assertEqual(engine.workers[0].n_under_way, 0)
        self.resume()
        self.assertIsNotNone(engine.match(request)[0])
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        engine.compute(request, 0, BIG)
        engine.step({"a": BIG}, [request])
        if engine.scheduler.finished(request, request.blocks, aborted=False):
            engine.step_until(lambda: engine.ended.sent)
        self.assertEqual(engine.match(Request("b", prompt(BIG) + [1]))[0], BIG)
        self.assertLessEqual(len(engine.ended.sent), 1)

    def test_preempted_and_aborted(self) -> None:
        engine, request = self.saving()
        request.num_preemptions += 1
        self.assertFalse(engine.scheduler.finished(request, ([],), aborted=True))
        engine.step(preempted=("a",))
        self.assertEqual((engine.workers[0].n_under_way, engine.ended.sent), (0, []))

    # ---- bounds ----

    def test_bytes_in_flight_are_bounded(self) -> None:
        engine, request = self.saving(max_save_bytes=BIG // BLOCK * 128)
        other = Request("b", prompt(2 * CHUNK, 5))
        engine.allocate(other)
        engine.scheduler.on_new_request(other)
        engine.scheduler.allocated(other, other.blocks, 0)
        engine.step({"b": 2 * CHUNK}, [other])
        self.assertEqual(engine.workers[0].counters.saves_dropped, 2)
        self.assertFalse(engine.scheduler.finished(other, other.blocks, aborted=False))
        self.resume()
        engine.step_until(lambda: engine.workers[0].n_under_way == 0)
        saved = engine.workers[0].counters.save_chunks
        engine.store(Request("c", prompt(2 * CHUNK, 6)))  # what has ended counts no more
        self.assertEqual((engine.workers[0].counters.saves_dropped, engine.workers[0].counters.save_chunks), (2, saved + 2))

    def test_a_node_that_declines_is_no_failure(self) -> None:
        """What it does not want is counted by itself."""
        engine = Engine(self, make_plan())
        worker = engine.workers[0]
        took = worker._took_save

        def declined(saving: Any, run: Any, done: Any) -> None:
            statuses = (kvasir.Status.OK,) + (kvasir.Status.DECLINED,) * (done.n - 1)
            took(saving, run, done._replace(status=kvasir.Status.PARTIAL, n_ok=1, n_prefix=1, statuses=statuses))

        worker._took_save = declined
        with self.assertNoLogs("vllm.kvasir", "WARNING"):
            self.assertEqual(self.chains_told(engine), {3})
        counters = worker.counters
        self.assertEqual((counters.save_chunks, counters.save_chunks_declined, counters.save_chunks_failed), (1, 2, 0))

    def test_several_spaces_are_not_weighed(self) -> None:
        """Each would be by itself, and what one has is of no use where another was declined: nothing is, if the length is not said."""
        self.assertEqual(self.chains_told(Engine(self, make_plan())), {3})
        self.assertEqual(self.chains_told(Engine(self, make_plan(0, CHUNK))), {0})
        self.assertEqual(self.chains_told(Engine(self, make_plan(tp_size=2))), {0})

    def chains_told(self, engine: Engine) -> set[int]:
        """How long the puts of a prompt of three chunks say that it is."""
        space = type(engine.workers[0]._spaces[0])
        put, chains = space.put, set()

        def told(own: Any, *arguments: Any, **named: Any) -> Any:
            chains.add(named["chain_chunks"])
            return put(own, *arguments, **named)

        with unittest.mock.patch.object(space, "put", told):
            engine.store(Request("a", prompt(3 * CHUNK + 1)))
        return chains

    def test_blocks_of_a_window_are_read_before_the_step_ends(self) -> None:
        """The engine gives them to others while the request runs: the step waits for the put, here until its deadline."""
        engine = Engine(self, make_plan(0, CHUNK), save_timeout=0.3)
        request = Request("a", prompt(2 * CHUNK))
        engine.match(request)
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        engine.compute(request, 0, 2 * CHUNK)
        self.node.pause()
        begin = time.monotonic()
        engine.step({"a": 2 * CHUNK}, [request])
        self.assertGreaterEqual(time.monotonic() - begin, 0.25)
        self.assertEqual([saving.save.run.group for rest in engine.workers[0]._saving.values() for saving in rest if
                          saving.save.run.group == 1], [])

    def test_too_many_operations(self) -> None:
        """The library refuses to start more: a load that cannot start has failed, and is told at once."""
        engine, request = self.loading()
        engine.workers[0]._spaces[0] = _Busy()  # type: ignore[call-overload]
        engine.step()
        self.assertEqual((engine.ended.received, engine.ended.invalid), (["b"], set(request.blocks[0][:4 * CHUNK // BLOCK])))


class _Busy:
    """A space that takes nothing."""

    def get(self, *_: object, **__: object) -> None:
        raise kvasir.BusyError("get: ERR_BUSY")


def request_keys(engine: Engine, request: Request) -> bytes:
    return b"".join(request.block_hashes[i] for i in range(1, len(request.block_hashes), 2))


if __name__ == "__main__":
    main()
