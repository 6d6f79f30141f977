"""What requests say of their programs, on its way: when it goes to the node, what the node makes of it, and that nothing fails for it."""
from __future__ import annotations

import json
import os
import subprocess
import unittest
from types import SimpleNamespace
from typing import Any

from binding_fixture import Node, NodeTest, main, until
from engine_fixture import CHUNK, Engine, Request, make_plan, prompt

import kvasir
from kvasir import Hint, HintOutcome, WaitKind
from kvasir_vllm.counters import Counters
from kvasir_vllm.hint_sender import HELD_MAX, KEYS_MAX, UNDER_WAY_MAX, HintSender
from kvasir_vllm.options import Options

CTL = os.environ.get("KVASIR_CTL", "")
PROMPT = prompt(4 * CHUNK + 3, 5)


class OnANode(NodeTest):
    def engine(self, plan: Any, **options: Any) -> Engine:
        engine = Engine(self, plan, **options)
        self.sent: list[tuple[Hint, int]] = []  # and how many keys
        hint = engine.scheduler_connector.hint

        def spy(said: Hint, **more: Any) -> Any:
            self.sent.append((said, len(more["keys"] or b"") // plan.key_length))
            return hint(said, **more)

        engine.scheduler_connector.hint = spy  # type: ignore[method-assign]
        return engine

    def serve(self, engine: Engine, request: Request) -> None:
        """A request that may find something. It has ended, and all hints are answered."""
        n = engine.match(request)[0] or 0
        engine.allocate(request)
        engine.scheduler.allocated(request, request.blocks, n)
        if n:
            engine.step_until(lambda: request.request_id in engine.ended.received)
        engine.run(request, n)
        engine.step_until(lambda: engine.scheduler._hints._under_way == 0)

    def program(self, name: str) -> dict[str, Any] | None:
        done = subprocess.run([CTL, "--endpoint", self.node.endpoint, "--json", "programs"], capture_output=True, timeout=60, check=True)
        return next((program for program in json.loads(done.stdout)["programs"] if program["program"] == name), None)

    @unittest.skipUnless(CTL, "KVASIR_CTL does not name kvasirctl")
    def test_the_node_knows_who_waits_for_what(self) -> None:
        plan = make_plan()
        engine = self.engine(plan)
        said = {"kvasir": {"program": "shown", "parent": "root", "turn": 4, "tool": "pytest", "return_ms": 2000,
                           "ttl_s": 60, "range_tokens": 2 * CHUNK + 1}}
        self.serve(engine, Request("a", PROMPT, kv_transfer_params=said))
        counters = engine.scheduler.counters
        self.assertEqual((counters.hints_named, counters.hints, counters.hints_accepted), (0, 1, 1))
        shown = self.program("shown")
        assert shown is not None
        self.assertEqual([shown[field] for field in ("waits_for", "tool", "parent", "turn", "chunks", "announced_ms", "range_chunks")],
                         ["tool", "pytest", "root", 4, 4, 2000, 3])
        # It is back, in another engine, which finds its chain and says whose it is before it is answered.
        engine = self.engine(plan)
        request = Request("b", PROMPT, kv_transfer_params=said)
        self.assertEqual(engine.match(request)[0], 4 * CHUNK)
        engine.step_until(lambda: engine.scheduler.counters.hints_accepted == 1)
        self.assertEqual(self.sent, [(Hint(program="shown", parent_program="root", turn=4), 1)])
        shown = self.program("shown")
        assert shown is not None
        self.assertEqual((shown["waits_for"], shown["chunks"]), ("answer", 4))
        # It ends.
        engine.scheduler.finished(request, (), aborted=True)
        self.serve(engine, Request("c", PROMPT, session_id="shown", sampling_params=SimpleNamespace(
            extra_args={"job_id": "shown", "is_last_step": 1})))
        self.assertIsNone(self.program("shown"))
        self.assertEqual(self.sent[-1], (Hint(program="shown", close=True, wait=WaitKind.END), 0))
        counters = engine.scheduler.counters
        self.assertEqual(counters.hints_accepted, len(self.sent))
        self.assertEqual((counters.hints_failed, counters.hints_rejected, counters.hints_missing), (0, 0, 0))

    def test_a_name_is_told_once_if_there_is_no_more_to_say(self) -> None:
        plan = make_plan()
        engine = self.engine(plan)
        for name in "ab":
            self.serve(engine, Request(name, PROMPT, session_id="s"))
        self.assertEqual(self.sent, [(Hint(program="s"), 4), (Hint(program="s"), 1)])  # when the first had ended; when the second came
        counters = engine.scheduler.counters
        self.assertEqual((counters.hints, counters.hints_named, counters.hints_accepted), (1, 1, 2))

    def test_what_there_is_to_say_beside_a_name(self) -> None:
        for more in ({"priority": 0}, {"priority": 100}, {"return_p90_ms": 9000}, {"return_ms": 9}, {"ttl_s": 9}, {"wait": "human"}):
            plan = make_plan()
            self.serve(self.engine(plan), Request("a", PROMPT))  # so that the next one finds something, and its program is named
            engine = self.engine(plan)
            self.serve(engine, Request("b", PROMPT, kv_transfer_params={"kvasir": {"program": "more", **more}}))
            self.assertEqual((engine.scheduler.counters.hints_named, engine.scheduler.counters.hints), (1, 1), more)

    def test_an_answer_that_calls_a_tool(self) -> None:
        engine = self.engine(make_plan(), tool_tokens=(7, 9))
        for name, answer, wait in (("none", [1, 2], WaitKind.NONE), ("one", [1, 7, 2], WaitKind.TOOL), ("other", [9], WaitKind.TOOL),
                                   ("long ago", [7] + [1] * 10_000, WaitKind.NONE)):
            self.serve(engine, Request(name, prompt(CHUNK), session_id="s", output_token_ids=answer))
            self.assertEqual(self.sent[-1][0], Hint(program="s", wait=wait), name)
        told = {"kvasir": {"program": "s", "wait": "human"}}
        self.serve(engine, Request("told", prompt(CHUNK), kv_transfer_params=told, output_token_ids=[7]))
        self.assertEqual(self.sent[-1][0].wait, WaitKind.HUMAN)
        gone = Request("gone", prompt(CHUNK), session_id="t", output_token_ids=[7])
        engine.match(gone)
        engine.scheduler.finished(gone, (), aborted=True)
        self.assertEqual(self.sent[-1][0].wait, WaitKind.NONE)

    def test_without_a_program(self) -> None:
        """The node would reject it: it is counted as that, and not sent."""
        engine = self.engine(make_plan())
        for name in "ab":
            self.serve(engine, Request(name, PROMPT, kv_transfer_params={"cache_control": {"type": "ephemeral", "ttl": "1h"}}))
        self.assertEqual((self.sent, engine.scheduler.counters.hints_rejected), ([], 2))
        engine.scheduler_connector.hint(Hint(ttl=3600.0), keys=None, user=engine.scheduler._hints)
        engine.scheduler._hints._under_way = 1
        engine.step_until(lambda: engine.scheduler.counters.hints_rejected == 3)

    def test_nothing_said_nothing_sent(self) -> None:
        plan = make_plan()
        engine = self.engine(plan, tool_tokens=(7,))
        for name in "ab":
            self.serve(engine, Request(name, PROMPT, kv_transfer_params={"do_remote_decode": False}, output_token_ids=[7]))
        self.assertEqual(self.sent, [])
        self.assertEqual(engine.scheduler._hints._known, {})

    def test_off(self) -> None:
        engine = self.engine(make_plan(), hints="off")
        for name in "ab":
            self.serve(engine, Request(name, PROMPT, kv_transfer_params={"kvasir": {"program": "p", "turn": "x"}}))
        self.assertEqual((self.sent, engine.scheduler.counters.hint_values_dropped), ([], 0))

    def test_each_rank_and_group_is_told(self) -> None:
        engine = self.engine(make_plan(0, 2 * CHUNK, tp_size=2))
        for name in "ab":
            self.serve(engine, Request(name, PROMPT, kv_transfer_params={"kvasir": {"program": "p", "wait": "human"}}))
        counters = engine.scheduler.counters
        self.assertEqual((counters.hints, counters.hints_named), (2, 1))
        self.assertEqual((counters.hints_accepted, len(self.sent)), (12, 12))

    def test_a_node_that_is_away(self) -> None:
        node = Node().start()
        self.addCleanup(node.close)
        there, self.node = self.node, node  # type: ignore[misc]
        self.addCleanup(setattr, self, "node", there)
        engine = self.engine(make_plan())
        node.kill()
        self.assertTrue(until(lambda: not engine.scheduler_connector.usable))
        request = Request("a", PROMPT, session_id="s")
        engine.scheduler.on_new_request(request)
        self.assertFalse(engine.scheduler.finished(request, (), aborted=False))
        self.assertEqual((self.sent, engine.scheduler.counters.hints, engine.scheduler.counters.hints_failed), ([], 0, 1))


class Fake:
    """A connector whose node never answers."""

    usable = True

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Any, Any]] = []
        self.fault: kvasir.Error | None = None

    def hint(self, hint: Hint, *, space: Any, keys: Any, user: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append((hint, space, keys))


class Bounds(unittest.TestCase):
    def setUp(self) -> None:
        self.connector, self.counters = Fake(), Counters()
        self.sender = HintSender(self.connector, ["space"], 32, self.counters, Options("unix:/x"))  # type: ignore[arg-type, list-item]

    def test_hints_under_way(self) -> None:
        self.assertEqual(HintSender(self.connector, ["space"] * 5, 32, self.counters, Options(  # type: ignore[arg-type, list-item]
            "unix:/x", max_operations=16))._under_way_max, 5)
        for i in range(UNDER_WAY_MAX + 10):
            self.sender.request_ended(Request(f"r{i}", [], session_id="s"), b"", held=False)
        self.assertEqual((len(self.connector.sent), self.counters.hints_failed), (UNDER_WAY_MAX, 10))
        for outcome in (*HintOutcome, None):
            self.sender.answered(SimpleNamespace(status=0 if outcome is not None else -101,  # type: ignore[arg-type]
                                                 outcome=outcome or HintOutcome.NONE))
        counters = self.counters
        self.assertEqual((counters.hints_accepted, counters.hints_clipped, counters.hints_deferred, counters.hints_rejected,
                          counters.hints_missing, counters.hints_failed), (1, 1, 1, 1, 1, 12))
        self.sender.request_ended(Request("more", [], session_id="s"), b"", held=False)
        self.assertEqual(len(self.connector.sent), UNDER_WAY_MAX + 1)

    def test_requests_that_are_remembered(self) -> None:
        for i in range(HELD_MAX + 10):
            self.sender.request_known(Request(f"r{i}", [], session_id="s"), b"k" * 32)
            self.sender.request_ended(Request(f"w{i}", [], session_id="s"), b"k" * 32, held=True)
        self.assertEqual((len(self.sender._known), len(self.sender._waiting)), (HELD_MAX, HELD_MAX))

    def test_keys_are_the_last_ones(self) -> None:
        keys = bytes(range(256)) * KEYS_MAX
        self.sender.request_ended(Request("a", [], session_id="s"), keys, held=False)
        self.assertEqual(self.connector.sent[-1][2], keys[-KEYS_MAX * 32:])

    def test_a_refusal_is_counted(self) -> None:
        self.connector.fault = kvasir.BusyError("hint: ERR_BUSY")
        self.sender.request_ended(Request("a", [], session_id="s"), b"", held=False)
        self.assertEqual((self.counters.hints, self.counters.hints_failed), (0, 1))


if __name__ == "__main__":
    main()
