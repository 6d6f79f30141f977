"""What others' clients and routers say, to hints: cache_control, retention configurations, envelopes."""
import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import binding_fixture

from kvasir import Hint, WaitKind
from kvasir_vllm.hint_formats import ACTIONS_MAX, RANGES_MAX
from kvasir_vllm.hints import RequestHint, hint_of_request


@dataclass(frozen=True)
class Action:
    """As vLLM's KvHintAction."""

    action_type: Any
    payload: Any
    action_version: Any = "1.0"
    action_id: str = "a"


@dataclass(frozen=True)
class Envelope:
    """As vLLM's KvHintsEnvelope."""

    actions: Any
    protocol_version: str = "0.1"
    message_id: str = "m"


@dataclass
class Range:
    """As TensorRT-LLM's."""

    token_start: int
    token_end: int | None
    priority: int
    duration_ms: timedelta | None = None


@dataclass
class Retention:
    token_range_retention_configs: list[Range] = field(default_factory=list)
    decode_retention_priority: int = 35
    decode_duration_ms: timedelta | None = None


class Formats(unittest.TestCase):
    def clean(self, kv_transfer_params: Any = None, **more: Any) -> Hint | None:
        found = hint_of_request(kv_transfer_params, None, **more)
        self.assertEqual((found.dropped, found.problems, found.passed_over), (0, (), 0))
        return found.hint

    def wrong(self, kv_transfer_params: Any = None, **more: Any) -> RequestHint:
        found = hint_of_request(kv_transfer_params, None, **more)
        self.assertGreater(found.dropped, 0, found)
        self.assertTrue(all("wanted" in problem or "not read" in problem for problem in found.problems), found.problems)
        return found


class Sessions(Formats):
    def test_a_session_names_the_program_if_nothing_else_does(self) -> None:
        self.assertEqual(self.clean(session_id="s"), Hint(program="s"))
        self.assertEqual(self.clean({"kvasir": {"turn": 2}}, session_id="s"), Hint(program="s", turn=2))
        self.assertEqual(self.clean({"job_id": "j"}, session_id="s"), Hint(program="j"))
        self.assertEqual(self.wrong(session_id="x" * 2**20).hint, None)

    def test_short_names(self) -> None:
        self.assertEqual(self.clean({"kvasir": {"program": "p", "parent": "q", "return_ms": 1500, "ttl_s": 60}}),
                         Hint(program="p", parent_program="q", return_p50=1.5, ttl=60.0))
        self.assertEqual(self.clean({"kvasir": {"ttl_s": 60, "ttl_ms": 5}}), Hint(ttl=0.005))

    def test_a_tool_is_waited_for(self) -> None:
        self.assertEqual(self.clean({"kvasir": {"tool": "ls"}}), Hint(tool="ls", wait=WaitKind.TOOL))
        self.assertEqual(self.clean({"kvasir": {"tool": "ls", "wait": "none"}}), Hint(tool="ls"))
        self.assertEqual(self.clean({"kvasir": {"tool": "ask", "wait": "human"}}), Hint(tool="ask", wait=WaitKind.HUMAN))


class CacheControl(Formats):
    def test_times(self) -> None:
        for ttl, seconds in (({}, 300.0), ({"ttl": None}, 300.0), ({"ttl": "5m"}, 300.0), ({"ttl": "1h"}, 3600.0), ({"ttl": 90}, 90.0)):
            self.assertEqual(self.clean({"cache_control": {"type": "ephemeral", **ttl}}), Hint(ttl=seconds))

    def test_the_last_breakpoint_counts(self) -> None:
        points = [{"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}]
        self.assertEqual(self.clean({"cache_control": points}), Hint(ttl=300.0))
        self.assertEqual(self.clean({"cache_control": []}), None)

    def test_wrong(self) -> None:
        for value in ("5m", 7, {}, {"type": "eternal"}, {"type": ["ephemeral"]}, [3]):
            self.assertIsNone(self.wrong({"cache_control": value}).hint, value)
        for ttl in ("2h", "", "x" * 2**20, -1, True, float("nan"), float("inf"), 10**400, [], {}):
            self.assertIsNone(self.wrong({"cache_control": {"type": "ephemeral", "ttl": ttl}}).hint, ttl)
        self.assertEqual(self.wrong({"cache_control": [{"type": "ephemeral"}, 5]}).hint, Hint(ttl=300.0))

    def test_native_words_count_more(self) -> None:
        self.assertEqual(self.clean({"cache_control": {"type": "ephemeral"}, "kvasir": {"ttl_s": 7}}), Hint(ttl=7.0))


class RetentionConfig(Formats):
    def hint(self, *ranges: dict[str, Any], **decode: Any) -> Hint | None:
        return self.clean({"kv_cache_retention_config": {"token_range_retention_configs": list(ranges), **decode}})

    def test_priorities_keep_their_order_and_35_says_nothing_special(self) -> None:
        for priority, expected in ((0, 1), (34, 48), (35, 50), (36, 50), (50, 61), (80, 84), (100, 100)):
            self.assertEqual(self.hint({"token_start": 0, "token_end": None, "priority": priority}), Hint(priority=expected))

    def test_the_range_that_ends_last_of_those_that_keep_counts(self) -> None:
        first = {"token_start": 0, "token_end": 100, "priority": 100, "duration_ms": None}
        for last in ({"token_start": 100, "token_end": 200, "priority": 20}, {"token_start": 100, "priority": 20}):
            self.assertEqual(self.hint(first, last), Hint(priority=100, range_tokens=100))
            self.assertEqual(self.hint(last, first), Hint(priority=100, range_tokens=100))
            self.assertEqual(self.hint(last), Hint(priority=29))  # what lets go is of all
        self.assertEqual(self.hint(first, {**first, "priority": 0}), Hint(priority=100, range_tokens=100))  # of one end, the higher
        longer = {"token_start": 100, "token_end": 200, "priority": 80, "duration_ms": 5000}
        for ranges in ((first, longer), (longer, first)):
            self.assertEqual(self.hint(*ranges), Hint(priority=84, ttl=5.0, range_tokens=200))
        self.assertEqual(self.hint(first, {"token_start": 100, "priority": 80}), Hint(priority=84))
        self.assertIsNone(self.hint({**first, "token_end": 0}))

    def test_a_range_that_says_next_to_nothing_does_not_end_what_is_before_it(self) -> None:
        first = {"token_start": 0, "token_end": 100, "priority": 100, "duration_ms": 3600000}
        self.assertEqual(self.hint(first, {"token_start": 100, "token_end": 200, "priority": 36}), Hint(priority=100, ttl=3600.0, range_tokens=100))
        self.assertEqual(self.hint(first, {"token_start": 200, "token_end": 150, "priority": 80}), Hint(priority=100, ttl=3600.0, range_tokens=100))

    def test_a_range_is_of_what_it_was_said_with(self) -> None:
        config = {"token_range_retention_configs": [{"token_start": 0, "token_end": 100, "priority": 80}]}
        said = {"kv_cache_retention_config": config, "cache_control": {"type": "ephemeral"}}
        self.assertEqual(self.clean(said), Hint(priority=84, ttl=300.0, range_tokens=100))
        self.assertEqual(self.clean({**said, "kvasir": {"priority": 60}}), Hint(priority=60), "the time was of 100 tokens")
        self.assertEqual(self.clean({**said, "kvasir": {"range_tokens": 7}}), Hint(priority=84, ttl=300.0, range_tokens=7))
        self.assertEqual(self.clean({**said, "kvasir": {"turn": 7}}), Hint(turn=7, priority=84, ttl=300.0, range_tokens=100))
        self.assertEqual(self.clean({"cache_control": {"type": "ephemeral"}, "kvasir": {"range_tokens": 7}}), Hint(ttl=300.0, range_tokens=7))

    def test_nothing_comes_to_be_of_more_tokens_than_it_was_said_of(self) -> None:
        config = {"kv_cache_retention_config": {"token_range_retention_configs": [{"token_start": 0, "token_end": 100, "priority": 80}]}}
        ranged = Action("kv.retain", {"directives": [{"start": 0, "end": 100, "priority": 80}]})
        self.assertEqual(self.clean(kv_hints=Envelope([ranged, Action("kv.retain", {"ttl_seconds": 30})])), Hint(ttl=30.0))
        self.assertEqual(self.clean({"cache_control": {"type": "ephemeral"}}, kv_hints=Envelope([ranged])), Hint(ttl=300.0))
        self.assertEqual(self.clean({**config, "kvasir": {"ttl_s": 5, "range_tokens": 0}}), Hint(ttl=5.0))
        self.assertEqual(self.clean({**config, "kvasir": {"ttl_s": 5, "range_tokens": 101}}), Hint(ttl=5.0, range_tokens=101))
        self.assertEqual(self.clean({**config, "kvasir": {"ttl_s": 5, "range_tokens": 99}}), Hint(priority=84, ttl=5.0, range_tokens=99))
        self.assertEqual(self.clean({**config, "kvasir": {"range_tokens": 101}}), Hint(priority=84, range_tokens=100))

    def test_a_duration_is_a_time_to_live_of_what_is_kept(self) -> None:
        self.assertEqual(self.hint({"token_end": None, "priority": 80, "duration_ms": 30000}), Hint(priority=84, ttl=30.0))
        self.assertEqual(self.hint({"token_end": None, "priority": 10, "duration_ms": 30000}), Hint(priority=15))

    def test_decoding_ends_last(self) -> None:
        one = {"token_end": None, "priority": 80}
        self.assertEqual(self.hint(one, decode_retention_priority=100, decode_duration_ms=500), Hint(priority=100, ttl=0.5))
        self.assertEqual(self.hint(one, decode_retention_priority=35), Hint(priority=84), "the default says nothing")
        one = {"token_end": 50, "priority": 80}
        for decode in (0, 35):
            self.assertEqual(self.hint(one, decode_retention_priority=decode), Hint(priority=84, range_tokens=50))
        self.assertEqual(self.hint(one, decode_retention_priority=100), Hint(priority=100))

    def test_its_own_objects(self) -> None:
        config = Retention([Range(0, None, 80, timedelta(seconds=30))])
        self.assertEqual(self.clean({"kv_cache_retention_config": config}), Hint(priority=84, ttl=30.0))
        self.assertIsNone(self.clean({"kv_cache_retention_config": Retention()}))

    def test_wrong(self) -> None:
        for value in ("x", 5, [], {}, {"token_range_retention_configs": "x"}, {"token_range_retention_configs": [None]},
                      {"decode_retention_priority": 101}, {"decode_retention_priority": float("nan")}):
            self.assertIsNone(self.wrong({"kv_cache_retention_config": value}).hint, value)
        for name, values in {"priority": (-1, 101, True, 1.5, float("nan"), "9" * 2**20, None), "token_end": (-1, 1.5, "x", 10**400),
                             "duration_ms": (-1, float("nan"), float("inf"), "5", 10**400, timedelta(days=-1), timedelta.max)}.items():
            for value in values:
                one = {"token_start": 0, "token_end": 10, "priority": 50, name: value}
                self.assertIsNone(self.wrong({"kv_cache_retention_config": {"token_range_retention_configs": [one]}}).hint, one)


class Envelopes(Formats):
    def test_retain_with_directives(self) -> None:
        payload = {"scope": "alice", "directives": [{"start": 0, "end": 32, "priority": 80, "duration": 60.0},
                                                    {"start": 32, "end": None, "priority": 40, "duration": 20}]}
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.retain", payload)])), Hint(priority=69, ttl=20.0))
        first = {"directives": [payload["directives"][0], {"start": 32, "priority": 0}]}  # what is taken back keeps nothing
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.retain", first)])), Hint(priority=89, ttl=60.0, range_tokens=32))
        first = {"directives": [payload["directives"][0], {"start": 32, "priority": 1}]}
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.retain", first)])), Hint(priority=89, ttl=60.0, range_tokens=32))
        payload["directives"].append({"covers_output": True, "priority": 100})
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.retain", payload)])), Hint(priority=100))
        self.assertIsNone(self.clean(kv_hints=Envelope([Action("kv.retain", {"directives": [{"priority": 0}]})])))

    def test_retain_of_a_router(self) -> None:
        payload = {"priority": 3, "ttl_seconds": 2.5, "execute_at": "request_completion", "include_current_request": True,
                   "block_hashes": ["11"]}
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.retain", payload)])), Hint(priority=51, ttl=2.5))
        self.assertIsNone(self.clean(kv_hints=Envelope([Action("kv.retain", {**payload, "priority": 0})])))

    def test_evict_ends_the_session_of_this_request_only(self) -> None:
        own = {"include_current_request": True, "block_hashes": ["11"]}
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.evict", own)]), session_id="s"), Hint(program="s", close=True))
        self.assertEqual(self.clean(kv_hints=Envelope([Action("kv.evict", {"block_hashes": ["11"]})]), session_id="s"), Hint(program="s"))

    def test_own_action_and_json(self) -> None:
        action = {"action_id": "a", "action_type": "kvasir.hint", "action_version": "1.0",
                  "payload": {"program": "p", "tool": "pytest", "return_ms": 2000}}
        hint = Hint(program="p", tool="pytest", wait=WaitKind.TOOL, return_p50=2.0)
        self.assertEqual(self.clean({"kv_hints": {"actions": [action]}}), hint)
        self.assertEqual(self.clean({"kv_hints": {"actions": [action]}, "kvasir": {"program": "q"}}).program, "q")

    def test_others_are_passed_over_and_counted(self) -> None:
        actions = [Action("kv.fetch", {"keys": [1]}), Action("vllm.set_priority", {}), Action("kv.retain", {}, "2.0"),
                   Action("kv.retain", {}, "x" * 2**20), Action(5, {}), Action(["kv.retain"], {}), Action("x" * 2**20, {}), None,
                   Action("kv.retain", {"priority": 100})]
        found = hint_of_request(None, None, Envelope(actions))
        self.assertEqual((found.hint, found.dropped, found.passed_over), (Hint(priority=100), 0, 8))

    def test_wrong(self) -> None:
        for envelope in (Envelope("x"), Envelope({}), Envelope([Action("kv.retain", 5)]), Envelope([Action("kv.evict", {
                "include_current_request": "yes"})]), Envelope([Action("kv.retain", {"directives": {}})])):
            self.assertIsNone(self.wrong(kv_hints=envelope).hint, envelope)
        for name, values in {"priority": (-1, 101, True, float("nan")), "ttl_seconds": (-1, float("nan"), 10**400, "5")}.items():
            for value in values:
                self.assertIsNone(self.wrong(kv_hints=Envelope([Action("kv.retain", {name: value})])).hint, (name, value))
        for nothing in (5, "x", b"x", [], object()):
            self.assertIsNone(self.clean(kv_hints=nothing))


class Looked(list):
    """A list that counts what is read of it."""

    read = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.read += 1
            yield item


class LookedDict(dict):
    read = 0

    def __iter__(self) -> Iterator[Any]:
        for name in super().__iter__():
            self.read += 1
            yield name


class Floods(Formats):
    """A client may send a million entries: they are not looked at one by one, since an engine's step would wait for that."""

    N = 100_000

    def test_lists(self) -> None:
        directive = {"start": 0, "end": 1, "priority": 50}
        for items, params, most in (
                (five := Looked([5] * self.N), {"cache_control": five}, RANGES_MAX),
                (five := Looked([5] * self.N), {"kv_cache_retention_config": {"token_range_retention_configs": five}}, RANGES_MAX),
                (bad := Looked([Action("kv.retain", 5)] * self.N), {"kv_hints": {"actions": bad}}, ACTIONS_MAX),
                (some := Looked([directive] * self.N), {"kv_hints": {"actions": [Action("kv.retain", {"directives": some})]}}, RANGES_MAX)):
            found = hint_of_request(params, None)
            self.assertIn("are not read", found.problems[0])
            self.assertEqual(found.dropped, 1 if items is some else most + 1)
            self.assertLessEqual(items.read, most)
        self.assertEqual(hint_of_request({"kv_hints": {"actions": [5] * self.N}}, None).passed_over, self.N)

    def test_names(self) -> None:
        names = LookedDict.fromkeys(map(str, range(self.N)))
        self.assertEqual(hint_of_request({"kvasir": names}, None).dropped, self.N)
        self.assertLess(names.read, 100)


if __name__ == "__main__":
    binding_fixture.main()
