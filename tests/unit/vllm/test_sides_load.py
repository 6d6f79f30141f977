"""Both sides of KvasirConnector on a real node: what is stored is found, and only the right blocks are written."""
from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any
from unittest import mock

from binding_fixture import WAIT, NodeTest, main, until
from engine_fixture import BLOCK, CHUNK, Engine, Request, make_plan, prompt

import kvasir
from kvasir_vllm.worker import WorkerSide


class Load(NodeTest):
    def stored(self, n: int = 4 * CHUNK + 3, *, seed: int = 1, windows: tuple[int, ...] = (0,), tp_size: int = 1) -> tuple:
        plan = make_plan(*windows, tp_size=tp_size)
        first = Engine(self, plan)
        first.store(Request("a", prompt(n, seed)))
        self.assertEqual(first.scheduler.n_requests, 0)
        return plan, prompt(n, seed)

    def load(self, engine: Engine, request: Request, local: int = 0) -> int:
        n, asynchronous = engine.match(request, local)
        assert n
        self.assertTrue(asynchronous)
        shared = None
        if local:
            other = Request("other", request.tokens[:local])
            engine.allocate(other)
            shared = other.blocks
        engine.allocate(request, shared=shared)
        engine.scheduler.allocated(request, request.blocks, n)
        engine.step_until(lambda: request.request_id in engine.ended.received)
        return n

    def test_new_engine_finds_it(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens)
        self.assertEqual(self.load(engine, request), 4 * CHUNK)
        self.assertTrue(engine.holds(request, 0, 4 * CHUNK))
        self.assertEqual(engine.ended.received, ["b"])
        self.assertEqual((engine.ended.invalid, engine.ended.failed), (set(), []))

    def test_terms_of_loss_are_sent(self) -> None:
        """They change nothing, since pages are opaque: the bytes come as they were saved."""
        requests = []
        whole = kvasir.Connector._request

        def request(*given: object, **terms: Any) -> Any:
            requests.append({name: terms[name] for name in ("loss_max", "loss_enough", "hurry") if terms.get(name)})
            return whole(*given, **terms)  # type: ignore[arg-type]

        plan = make_plan()
        options: dict[str, Any] = {"loss_max": 6, "loss_enough": 5, "hurry": 0.5, "hints": "off", "lookup_timeout": WAIT}
        with mock.patch.object(kvasir.Connector, "_request", request):
            engine = Engine(self, plan, **options)
            engine.store(Request("a", prompt(4 * CHUNK + 3)))
            self.assertEqual(requests, [{"loss_max": 6}] * 2)  # a look-up, a put
            other = Engine(self, plan, **options)
            request_b = Request("b", prompt(4 * CHUNK + 3))
            self.assertEqual(self.load(other, request_b), 4 * CHUNK)
            self.assertEqual(requests[2:], [{"loss_max": 6}, {"loss_max": 6, "loss_enough": 5, "hurry": 0.5}])
        self.assertTrue(other.holds(request_b, 0, 4 * CHUNK))

    def test_other_bytes_are_seen(self) -> None:
        """The check of the tests above can fail."""
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens)
        self.load(engine, request)
        self.assertFalse(engine.holds(Request("c", prompt(len(tokens), 9), blocks=request.blocks), 0, CHUNK))

    def test_hole_at_the_front(self) -> None:
        """The engine's own hit ends inside a chunk: the blocks it shares are not written."""
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens)
        local = CHUNK + BLOCK
        self.assertEqual(self.load(engine, request, local), 4 * CHUNK - local)
        self.assertTrue(engine.holds(request, local, 4 * CHUNK))
        for block in request.blocks[0][:local // BLOCK]:
            self.assertEqual(engine.page(0, "g0.layer0", block), bytes(64))

    def test_hole_at_the_tail(self) -> None:
        """A prompt of exactly four chunks: the block with the last token is computed, so it is not loaded."""
        plan, tokens = self.stored(4 * CHUNK)
        engine = Engine(self, plan)
        request = Request("b", tokens)
        self.assertEqual(self.load(engine, request), 4 * CHUNK - BLOCK)
        self.assertTrue(engine.holds(request, 0, 4 * CHUNK - BLOCK))
        self.assertEqual(engine.page(0, "g0.layer1", request.blocks[0][-1]), bytes(64))

    def test_local_hit_covers_all(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        self.assertEqual(engine.scheduler.match(Request("b", tokens), 4 * CHUNK), (0, False))

    def test_common_prefix_only(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens[:2 * CHUNK + 1] + prompt(40, 5))
        self.assertEqual(self.load(engine, request), 2 * CHUNK)
        self.assertTrue(engine.holds(request, 0, 2 * CHUNK))

    def test_nothing_is_saved_again(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens + prompt(2 * CHUNK, 3))
        n = self.load(engine, request)
        request.num_computed_tokens = n
        engine.compute(request, n, 6 * CHUNK)
        orders = engine.step({"b": request.num_tokens - n}, [request])
        self.assertEqual([(save.run.first_place, save.run.n) for save in orders.saves], [(4, 2)])
        engine.scheduler.finished(request, request.blocks, aborted=True)

    def test_chunked_prefill_saves_once(self) -> None:
        engine = Engine(self, make_plan())
        request = Request("a", prompt(3 * CHUNK + 2))
        engine.match(request)
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 0)
        places = []
        for n in (5, 5, 10, 6):
            orders = engine.step({"a": n}, [request])
            places += [(save.run.first_place, save.run.n) for save in orders.saves]
        self.assertEqual(places, [(0, 1), (1, 1), (2, 1)])
        engine.scheduler.finished(request, request.blocks, aborted=False)

    def test_answer_is_kept_until_scheduled(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        request = Request("b", tokens)
        for _ in range(3):
            self.assertEqual(engine.match(request)[0], 4 * CHUNK)
            engine.step()
        self.assertEqual(engine.match(request, 2 * CHUNK)[0], 2 * CHUNK)
        self.assertEqual(engine.scheduler.counters.lookups, 1)

    def test_old_answer_is_asked_for_again(self) -> None:
        """Half a lease old: what it holds could be gone before the load has ended."""
        plan, tokens = self.stored()
        engine = Engine(self, plan, lease=60.0)
        request = Request("b", tokens)
        self.assertEqual(engine.match(request)[0], 4 * CHUNK)
        answer = engine.scheduler._states["b"].answer
        assert answer is not None
        answer.at -= 15.0
        self.assertEqual(engine.match(request)[0], 4 * CHUNK)
        self.assertEqual(engine.scheduler.counters.lookups, 1)
        answer.at -= 20.0
        self.assertEqual(engine.match(request)[0], 4 * CHUNK)
        self.assertEqual(engine.scheduler.counters.lookups, 2)

    def test_prompt_logprobs_read_nothing(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        self.assertEqual(engine.scheduler.match(Request("b", tokens, skip_reading_prefix_cache=True), 0), (0, False))
        self.assertEqual(engine.scheduler.counters.lookups, 0)

    def test_roles(self) -> None:
        plan, tokens = self.stored()
        reader = Engine(self, plan, saves=False)
        request = Request("b", tokens + prompt(CHUNK, 4))
        n = self.load(reader, request)
        request.num_computed_tokens = n
        self.assertEqual(reader.step({"b": request.num_tokens - n}, [request]).saves, [])
        writer = Engine(self, plan, loads="off")
        self.assertEqual(writer.scheduler.match(Request("c", tokens), 0), (0, False))

    def test_tensor_parallel(self) -> None:
        plan, tokens = self.stored(tp_size=2)
        engine = Engine(self, plan)
        request = Request("b", tokens)
        self.assertEqual(self.load(engine, request), 4 * CHUNK)
        self.assertTrue(engine.holds(request, 0, 4 * CHUNK))
        self.assertNotEqual(engine.page(0, "g0.layer0", request.blocks[0][0]), engine.page(1, "g0.layer0", request.blocks[0][0]))

    def test_sliding_window_loads_its_window(self) -> None:
        """The second group has a window of a chunk: only its last chunks are loaded, the full group's all."""
        plan, tokens = self.stored(5 * CHUNK + 2, windows=(0, CHUNK))
        engine = Engine(self, plan)
        request = Request("b", tokens)
        self.assertEqual(self.load(engine, request), 5 * CHUNK)
        self.assertTrue(engine.holds(request, 0, 5 * CHUNK))
        self.assertTrue(engine.holds(request, 4 * CHUNK, 5 * CHUNK, group=1))
        self.assertEqual(engine.page(0, "g1.layer0", request.blocks[1][0]), bytes(64))

    def test_layerwise(self) -> None:
        """The request runs in the step that loads it; nothing computed from it is saved before the load is known to be right."""
        plan, tokens = self.stored()
        engine = Engine(self, plan, loads="layerwise")
        request = self.start_layerwise(engine, tokens + prompt(CHUNK, 6))
        orders = engine.step({"b": request.num_tokens - 4 * CHUNK}, [request])
        self.assertEqual(orders.saves, [])
        self.assertTrue(engine.holds(request, 0, 4 * CHUNK))
        self.assertEqual((engine.ended.invalid, engine.ended.received), (set(), []))
        engine.compute(request, 4 * CHUNK, 5 * CHUNK)
        self.assertTrue(engine.scheduler.finished(request, request.blocks, aborted=False))
        engine.step_until(lambda: "b" in engine.ended.sent)
        again = Engine(self, plan)
        self.assertEqual(again.match(Request("c", request.tokens + [1]))[0], 5 * CHUNK)

    def test_others_save_nothing_in_the_step_of_a_layerwise_load(self) -> None:
        """They may have hit blocks in the engine's own cache that the load is just writing."""
        plan, tokens = self.stored()
        engine = Engine(self, plan, loads="layerwise")
        other = Request("c", prompt(CHUNK + 1, 8))
        engine.match(other)
        engine.allocate(other)
        engine.scheduler.allocated(other, other.blocks, 0)
        request = self.start_layerwise(engine, tokens)
        scheduled = {"b": request.num_tokens - 4 * CHUNK, "c": CHUNK}
        self.assertEqual(engine.step(scheduled, [request, other]).saves, [])
        orders = engine.step({"c": 1}, [other])
        self.assertEqual([save.request for save in orders.saves], ["c"])
        for one in (request, other):
            engine.scheduler.finished(one, one.blocks, aborted=True)

    def test_layerwise_without_hooks(self) -> None:
        """An attention that does not wait for layers may have read too early: all is computed again, and the next load is
        waited for before the forward."""
        plan, tokens = self.stored()
        engine = Engine(self, plan, loads="layerwise")
        request = self.start_layerwise(engine, tokens)
        engine.step({"b": request.num_tokens - 4 * CHUNK}, [request], hooks=False)
        self.assertEqual(engine.ended.invalid, set(request.blocks[0][:4 * CHUNK // BLOCK]))
        engine.scheduler.finished(request, request.blocks, aborted=True)
        engine.ended.invalid = set()
        request = self.start_layerwise(engine, tokens)
        engine.step({"b": request.num_tokens - 4 * CHUNK}, [request], hooks=False)
        self.assertTrue(engine.holds(request, 0, 4 * CHUNK))
        self.assertEqual(engine.ended.invalid, set())

    def start_layerwise(self, engine: Engine, tokens: list[int]) -> Request:
        request = Request("b", tokens)
        self.assertEqual(engine.match(request), (4 * CHUNK, False))
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, 4 * CHUNK)
        request.num_computed_tokens = 4 * CHUNK
        return request

    def test_after_a_reset_nothing_is_loaded_or_saved(self) -> None:
        """vLLM resets caches when weights may have changed under it: what is stored is then of other weights than the engine's."""
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        before, after = Request("b", tokens), Request("c", tokens)
        self.assertEqual(engine.match(before)[0], 4 * CHUNK)
        engine.scheduler.reset()
        self.assertEqual(engine.scheduler.match(before, 0), (0, False))
        engine.scheduler.on_new_request(after)
        self.assertEqual(engine.scheduler.match(after, 0), (0, False))
        for request in (before, after):
            request.tokens = request.tokens + prompt(2 * CHUNK, 4)
            engine.allocate(request)
            engine.scheduler.allocated(request, request.blocks, 0)
            orders = engine.step({request.request_id: request.num_tokens}, [request])
            self.assertEqual((orders.loads, orders.saves), ([], []))
            self.assertFalse(engine.scheduler.finished(request, request.blocks, aborted=False))
        self.assertEqual(engine.scheduler.n_requests, 0)

    def test_reset_before_a_layerwise_load_is_confirmed(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan, loads="layerwise")
        request = self.start_layerwise(engine, tokens + prompt(CHUNK, 6))
        taken = []
        take = engine.scheduler.take
        engine.scheduler.take = lambda *what: taken.append(what)  # type: ignore[method-assign, assignment]
        engine.step({"b": request.num_tokens - 4 * CHUNK}, [request])
        self.assertTrue(engine.scheduler.finished(request, request.blocks, aborted=False))
        engine.scheduler.reset()
        take(*taken[0])
        orders = engine.step()
        self.assertEqual((orders.saves, orders.held), ([], ["b"]))
        self.assertEqual(engine.ended.sent, ["b"])

    def changed_worker(self, **changes: bytes) -> tuple[Engine, Engine]:
        """An engine whose worker made another plan than its scheduler, and one whose sides agree."""
        plan = make_plan()
        engine = Engine(self, plan)
        worker = WorkerSide(dataclasses.replace(plan, **changes), engine.options, self.connect(), 0)  # type: ignore[arg-type]
        worker.register(engine.tensors[0], 64)
        engine.workers[0] = worker
        engine.store(Request("a", prompt(2 * CHUNK + 1)))
        return engine, Engine(self, plan)

    def test_worker_follows_the_scheduler(self) -> None:
        """Some models change their configuration while they are loaded, in the workers alone: what they save must be found."""
        _, other = self.changed_worker(weights=b"w" * 32)
        request = Request("b", prompt(2 * CHUNK + 1))
        self.load(other, request)
        self.assertTrue(other.holds(request, 0, 2 * CHUNK))

    def test_worker_with_other_weights_stays_apart(self) -> None:
        _, other = self.changed_worker(weights=b"w" * 32, files=b"f" * 32)
        self.assertEqual(other.match(Request("b", prompt(2 * CHUNK + 1)))[0], 0)

    def test_leases_end(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        released = []
        release = engine.scheduler_connector.release
        engine.scheduler_connector.release = lambda lease: released.append(lease) or release(lease)  # type: ignore[method-assign]
        self.load(engine, Request("b", tokens))
        self.assertEqual(len(released), 1)
        engine.match(Request("c", tokens))
        engine.scheduler.finished(Request("c", tokens), (), aborted=True)
        self.assertEqual(len(released), 2)

    def test_loads_name_the_lease_that_holds_their_chunks(self) -> None:
        plan, tokens = self.stored(windows=(0, CHUNK))
        engine = Engine(self, plan)
        granted, named = [], []
        for space in engine.workers[0]._spaces:
            get = space.get
            space.get = lambda *a, get=get, **k: named.append(k["lease"]) or get(*a, **k)
        take = engine.scheduler._lookups._take

        def spy(ask: object, part: int, done: kvasir.Completion, now: float) -> None:
            granted.append((part, done.lease))
            take(ask, part, done, now)

        engine.scheduler._lookups._take = spy  # type: ignore[method-assign, assignment]
        self.load(engine, Request("b", tokens))
        self.assertEqual(named, [lease for _, lease in sorted(granted)])
        self.assertTrue(all(named))
        self.assertEqual(len(set(named)), 2)

    def test_hint_goes_out_when_the_saves_have_ended(self) -> None:
        engine = Engine(self, make_plan())
        outcomes = []
        hint = engine.scheduler_connector.hint

        def spy(*args: object, **more: object) -> object:
            outcomes.append(hint(*args, **more))  # type: ignore[arg-type]
            return outcomes[-1]

        engine.scheduler_connector.hint = spy  # type: ignore[method-assign, assignment]
        said = {"program": "agent-7", "wait": "tool", "tool": "search", "return_p50_ms": 100}
        engine.store(Request("a", prompt(2 * CHUNK + 1), kv_transfer_params=said))
        engine.store(Request("b", prompt(3), kv_transfer_params={**said, "close": True}))  # too short to be stored
        self.assertEqual(len(outcomes), 2)
        self.assertTrue(until(lambda: engine.step() is not None and all(outcome.done for outcome in outcomes)))
        for outcome in outcomes:
            self.assertNotEqual(outcome.completion.outcome, kvasir.HintOutcome.MISSING)
            self.assertGreaterEqual(outcome.completion.status, 0)
        self.assertEqual((engine.scheduler.counters.hints, engine.scheduler.counters.hint_values_dropped), (2, 0))

    def test_match_is_quick_with_32_lookups(self) -> None:
        plan, tokens = self.stored()
        engine = Engine(self, plan)
        requests = [Request(f"r{i}", prompt(512, i)) for i in range(32)]
        for request in requests:
            request.__dict__["hashes"] = request.block_hashes
        times = []
        for _ in range(20):
            for request in requests:
                begin = time.perf_counter()
                engine.scheduler.match(_Hashed(request), 0)
                times.append(time.perf_counter() - begin)
            engine.step()
        self.assertLess(statistics.median(times), 1e-3)  # many times what it takes: only one that waits for something is slower
        self.assertTrue(until(lambda: engine.step() is not None and engine.scheduler._lookups.under_way == 0))


class _Hashed:
    """A request whose hashes are made once, as vLLM's are."""

    def __init__(self, request: Request) -> None:
        self.__dict__.update(request.__dict__)
        self.num_tokens = request.num_tokens
        self.block_hashes = request.__dict__["hashes"]


if __name__ == "__main__":
    main()
