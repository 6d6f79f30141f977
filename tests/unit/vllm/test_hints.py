"""Requests' parameters to hints: what is said is read, what is wrong is dropped with a reason, and nothing raises."""
import random
import unittest

import binding_fixture
from binding_fixture import EmbeddedTest

from kvasir import Hint, WaitKind
from kvasir_vllm.hints import PROBLEMS_MAX, RequestHint, hint_of_request

FULL = {"program": "p", "parent_program": "q", "turn": 3, "wait": "subagent", "tool": "bash", "return_p50_ms": 1500,
        "return_p90_ms": 9000.5, "close": False, "priority": 100, "ttl_ms": 60000, "range_tokens": 4096}
FULL_HINT = Hint(program="p", parent_program="q", turn=3, wait=WaitKind.SUBAGENT, tool="bash", return_p50=1.5,
                 return_p90=9.0005, priority=100, ttl=60.0, range_tokens=4096)


class Reading(unittest.TestCase):
    def clean(self, kv_transfer_params: object, extra_args: object) -> Hint | None:
        found = hint_of_request(kv_transfer_params, extra_args)
        self.assertEqual((found.dropped, found.problems), (0, ()))
        return found.hint

    def test_nothing_said(self) -> None:
        for nothing in (None, {}, {"do_remote_decode": True, "priority": 5, "wait": "tool"}, {"kvasir": {}}, {"kvasir": None},
                        {"is_last_step": True}, {"program": None}):
            self.assertIsNone(self.clean(nothing, None), nothing)
            self.assertIsNone(self.clean(None, nothing), nothing)

    def test_native(self) -> None:
        for params in ({"kvasir": FULL}, {**FULL, "remote_engine_id": "x"}):
            self.assertEqual(self.clean(params, None), FULL_HINT)
            self.assertEqual(self.clean(None, params), FULL_HINT)

    def test_under_kvasir_a_program_is_not_needed(self) -> None:
        self.assertEqual(self.clean({"kvasir": {"priority": 7}}, None), Hint(priority=7))
        self.assertEqual(self.clean({"kvasir": {"priority": 0}}, None), Hint(priority=0))  # which is said

    def test_wait_names(self) -> None:
        for kind in WaitKind:
            for name in (kind.name.lower(), kind.name):
                self.assertEqual(self.clean({"kvasir": {"wait": name}}, None), Hint(wait=kind))

    def test_expected_return(self) -> None:
        self.assertEqual(self.clean({"kvasir": {"expected_return_ms": 250}}, None), Hint(return_p50=0.25))
        both = {"return_p50_ms": 100, "expected_return_ms": 250}
        self.assertEqual(self.clean({"kvasir": both}, None), Hint(return_p50=0.1))

    def test_continuum(self) -> None:
        for args, expected in (
                ({"job_id": "j"}, Hint(program="j")),
                ({"job_id": 17}, Hint(program="17")),
                ({"job_id": "j", "is_last_step": False, "last_func_call": None}, Hint(program="j")),
                ({"job_id": "j", "last_func_call": "ls"}, Hint(program="j", tool="ls", wait=WaitKind.TOOL)),
                ({"job_id": "j", "last_func_call": "ls", "this_func_call": "cat"},
                 Hint(program="j", tool="cat", wait=WaitKind.TOOL)),
                ({"job_id": "j", "last_func_call": "ls", "is_last_step": True},
                 Hint(program="j", tool="ls", wait=WaitKind.END, close=True))):
            self.assertEqual(self.clean(None, args), expected, args)

    def test_flags_as_vllm_xargs_brings_them(self) -> None:
        """vLLM's front end knows no booleans there: JSON's true arrives as 1."""
        self.assertEqual(self.clean(None, {"job_id": "j", "is_last_step": 1}), Hint(program="j", wait=WaitKind.END, close=True))
        for value, close in ((1, True), (0, False)):
            hint = self.clean(None, {"program": "p", "close": value})
            self.assertEqual(hint, Hint(program="p", close=close))
            self.assertIs(type(hint.close), bool)

    def test_what_counts_of_two(self) -> None:
        found = self.clean({"program": "flat", "turn": 1, "kvasir": {"program": "native"}},
                           {"job_id": "job", "program": "other", "priority": 4, "kvasir": {"turn": 9}})
        self.assertEqual(found, Hint(program="native", turn=1, priority=4))


class Dropping(unittest.TestCase):
    def test_one_wrong_value_spoils_no_other(self) -> None:
        wrong = {
            "program": ("", "x" * 256, "ä" * 128, "a\0b", "\ud800", 7, ["p"], True),
            "parent_program": ("", 1.5),
            "turn": (-1, 2**32, 1.0, "1", True),
            "wait": ("nap", 1, None.__class__, [], ""),
            "tool": ("x" * 1000, {}),
            "return_p50_ms": (-1, float("nan"), float("inf"), "5", True, 2**32, 10**400),
            "return_p90_ms": (-0.5, []),
            "close": (2, "true", -1, 1.0),
            "priority": (101, -1, 50.0, False),
            "ttl_ms": ("1h", -1),
            "range_tokens": (-1, 2**32, 1.0, "1", True),
        }
        self.assertEqual(set(wrong), set(FULL))
        for name, values in wrong.items():
            for value in values:
                found = hint_of_request({"kvasir": {**FULL, name: value}}, None)
                self.assertEqual((found.dropped, len(found.problems)), (1, 1), (name, value, found.problems))
                self.assertTrue(found.problems[0].startswith(f"{name} is "), found.problems)
                self.assertIn("wanted", found.problems[0])
                lost = (name, "priority", "ttl_ms") if name == "range_tokens" else (name,)  # they would be of all tokens
                rest = {key: one for key, one in FULL.items() if key not in lost}
                self.assertEqual(found.hint, hint_of_request({"kvasir": rest}, None).hint)

    def test_p90_below_p50(self) -> None:
        found = hint_of_request({"kvasir": {"return_p50_ms": 10, "return_p90_ms": 5}}, None)
        self.assertEqual((found.hint, found.dropped), (Hint(return_p50=0.01), 1))
        self.assertEqual(found.problems, ("return_p90_ms is 5: at least return_p50_ms (10) is wanted",))

    def test_unknown_names_under_kvasir(self) -> None:
        found = hint_of_request({"kvasir": {"progam": "p", 3: 4}}, None)
        self.assertEqual((found.hint, found.dropped), (None, 2))
        self.assertIn("kvasir.'progam' is no hint; there are program", found.problems[0])

    def test_no_dicts(self) -> None:
        self.assertEqual(hint_of_request("x", 3),
                         RequestHint(None, 2, ("extra_args is no dict: 3", "kv_transfer_params is no dict: 'x'")))
        self.assertEqual(hint_of_request({"kvasir": [1]}, None).problems, ("kv_transfer_params.kvasir is no dict: a list",))

    def test_continuum_without_a_sound_program(self) -> None:
        for job in ("", True, 2**70, [1]):
            found = hint_of_request(None, {"job_id": job, "last_func_call": "ls", "is_last_step": True})
            self.assertEqual((found.hint, found.dropped), (None, 1), job)

    def test_a_flood_is_bounded(self) -> None:
        found = hint_of_request({"kvasir": {f"name{i}" * 1000: "x" for i in range(5000)}}, None)
        self.assertEqual((found.dropped, len(found.problems)), (5000, PROBLEMS_MAX))
        self.assertLess(max(map(len, found.problems)), 400)


class Anything(EmbeddedTest):
    VALUES = (None, True, False, 0, 1, -1, 100, 101, 2**32, 10**500, 1.5, -0.0, float("nan"), float("inf"), "", "x", "tool", "END",
              "x" * 300, "\ud800", "\0", b"x", [], [1], {}, {"kvasir": 1}, object())
    NAMES = (*FULL, "parent", "return_ms", "ttl_s", "kv_hints", "cache_control", "kv_cache_retention_config", "expected_return_ms",
             "job_id", "last_func_call", "this_func_call", "is_last_step", "kvasir", "other", 5)

    INNER = ("type", "ttl", "token_range_retention_configs", "decode_retention_priority", "decode_duration_ms", "token_end", "priority",
             "duration_ms", "directives", "start", "end", "duration", "covers_output", "ttl_seconds", "include_current_request", "program")
    KINDS = ("kv.retain", "kv.evict", "kvasir.hint", "kv.fetch")

    def inner(self, draw: random.Random, depth: int = 2) -> object:
        """Something like others' formats, with anything in it."""
        if depth == 0 or draw.random() < 0.2:
            return draw.choice((*self.VALUES, "ephemeral", "5m", 60))
        if draw.random() < 0.3:
            return [self.inner(draw, depth - 1) for _ in range(draw.randrange(4))]
        if draw.random() < 0.3:
            return {"actions": [{"action_type": draw.choice((*self.KINDS, 5)), "action_version": draw.choice(("1.0", "0.1", 1)),
                                 "payload": self.inner(draw, depth - 1)} for _ in range(draw.randrange(3))]}
        return {name: self.inner(draw, depth - 1) for name in draw.sample(self.INNER, draw.randrange(6))}

    def test_nothing_raises_and_every_hint_is_one_that_the_library_takes(self) -> None:
        draw = random.Random(1)
        sent = 0
        for _ in range(5000):
            sources = [{name: draw.choice(self.VALUES) for name in draw.sample(self.NAMES, draw.randrange(8))} for _ in range(3)]
            sources[0]["kvasir"] = sources[2]
            for name in ("kv_hints", "cache_control", "kv_cache_retention_config"):
                sources[1][name] = self.inner(draw, 3)
            found = hint_of_request(sources[0], draw.choice((sources[1], None, 7)), draw.choice((None, self.inner(draw))),
                                    draw.choice((None, *self.VALUES)))
            self.assertEqual(min(found.dropped, PROBLEMS_MAX), len(found.problems))
            if found.hint is not None:
                self.connector.hint(found.hint).wait(binding_fixture.WAIT)
                sent += 1
        self.assertGreater(sent, 1000)
        self.assertEqual(self.connector.counters().hints, sent)


if __name__ == "__main__":
    binding_fixture.main()
