"""Thousands of requests through both sides leave nothing behind: no state, no operation, no memory."""
from __future__ import annotations

import gc
import os

from binding_fixture import NodeTest, main
from engine_fixture import CHUNK, Engine, Request, make_plan, prompt

ROUND = 500  # requests
WARM, MEASURED = 2, 4  # rounds: until caches and allocators have their size; and then
GROWTH = 2 << 20  # bytes of this process in MEASURED rounds: 1 KiB a request would be as much


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Leak(NodeTest):
    def serve(self, engine: Engine, number: int) -> None:
        """A request that finds two chunks of four, computes and stores the others; every seventh is aborted while it loads."""
        tokens = prompt(2 * CHUNK, 1) + prompt(2 * CHUNK + 3, 2 + number)
        request = Request(f"r{number}", tokens)
        engine.scheduler.on_new_request(request)
        n, _ = engine.match(request)
        engine._next_block = 1  # the blocks of the request before are free again
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, n or 0)
        if number % 7 == 0:
            engine.scheduler.finished(request, request.blocks, aborted=True)
            engine.step_until(lambda: request.request_id in engine.ended.received)
        else:
            if n:
                engine.step_until(lambda: request.request_id in engine.ended.received)
            engine.compute(request, n or 0, 4 * CHUNK)
            request.num_computed_tokens = n or 0
            engine.step({request.request_id: len(tokens) - (n or 0)}, [request])
            if engine.scheduler.finished(request, request.blocks, aborted=False):
                engine.step_until(lambda: request.request_id in engine.ended.sent)
        engine.ended.received.clear()
        engine.ended.sent.clear()

    def test_nothing_stays(self) -> None:
        plan = make_plan()
        Engine(self, plan).store(Request("first", prompt(2 * CHUNK + 1, 1)))
        engine = Engine(self, plan)
        number, sizes = 0, []
        for _ in range(WARM + MEASURED):
            for _ in range(ROUND):
                self.serve(engine, number)
                number += 1
            gc.collect()
            sizes.append(resident())
        self.assertEqual(engine.scheduler.n_requests, 0)
        self.assertEqual(engine.workers[0].n_under_way, 0)
        for connector in (engine.scheduler_connector, engine.workers[0]._connector):
            engine.step_until(lambda: connector.in_flight == 0)
            self.assertEqual(connector.counters().in_flight, 0)
        self.assertGreater(engine.workers[0].counters.load_chunks, number)
        self.assertLess(sizes[-1] - sizes[WARM - 1], GROWTH, [size >> 10 for size in sizes])


if __name__ == "__main__":
    main()
