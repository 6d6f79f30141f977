"""What a request says of its program, in any of the words that clients and routers use, to a kvasir.Hint.

Pure; nothing here raises for what a client sends, and the time that it takes is bounded. A value that is malformed is dropped, and a
sentence says why.

Native names (`program`, `parent_program`, `turn`, `wait`, `tool`, `return_p50_ms`, `return_p90_ms`, `close`, `priority`, `ttl_ms`, `range_tokens`;
shorter: `parent`, `return_ms`, `ttl_s`) stand in a dict under "kvasir", or flat beside the parameters of others. Flat they are
read only together with a flat `program`: words such as `priority` are others' too. Continuum's clients send `job_id` (the program),
`last_func_call` (the tool that was called last: what the program waits for), `this_func_call` (the one that this request
calls, which is better where it is known) and `is_last_step` (it will not come back). hint_formats.py reads the rest: `cache_control`,
`kv_cache_retention_config`, and the envelope `kv_hints`, the request's own or one in kv_transfer_params.

Of the same thing said twice the later of these counts: the request's session id, which is its program if nothing else is; its
envelope; and of extra_args, then of kv_transfer_params, `kv_hints`, `cache_control`, `kv_cache_retention_config`, Continuum's names, flat
names, those under "kvasir". A priority or time to live that comes later without a `range_tokens` of its own is of all tokens. Nothing comes
to be of more tokens than it was said of: what was said of a shorter range falls.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvasir import Hint, WaitKind

from . import hint_formats, hint_values
from .hint_values import PRIORITY_MAX, U32_MAX, Wrong, show

NATIVE = "kvasir"
PROBLEMS_MAX = 16  # a client may send a thousand wrong names; nobody reads so many sentences


class RequestHint(NamedTuple):
    """hint: None if the request says nothing. problems: what was dropped and why, a sentence each, PROBLEMS_MAX at most;
    dropped: how many there were. passed_over: actions of envelopes that are not for a store, or not known."""

    hint: Hint | None
    dropped: int = 0
    problems: tuple[str, ...] = ()
    passed_over: int = 0


def hint_of_request(kv_transfer_params: Any, extra_args: Any, kv_hints: Any = None, session_id: Any = None) -> RequestHint:
    """The hint that a request carries. The first two are what vLLM has: a dict, or None."""
    reader = _Reader()
    if session_id is not None:
        reader.take("program", session_id, "session_id")
    if kv_hints is not None:
        reader.read_envelope(kv_hints)
    for name, source in (("extra_args", extra_args), ("kv_transfer_params", kv_transfer_params)):
        if source is None:
            continue
        if not isinstance(source, Mapping):
            reader.drop(f"{name} is no dict: {show(source)}")
            continue
        reader.read_formats(source)
        reader.read_continuum(source)
        if "program" in source:
            reader.read_known(source)
        native = source.get(NATIVE)
        if isinstance(native, Mapping):
            reader.read_native(native)
        elif native is not None:
            reader.drop(f"{name}.{NATIVE} is no dict: {show(native)}")
    return reader.result()


class _Reader:
    """Gathers fields of a Hint; what is read later counts."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._dropped = self._passed_over = 0
        self._problems: list[str] = []

    def drop(self, problem: str) -> None:
        self._dropped += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)

    def read_known(self, source: Mapping[Any, Any]) -> None:
        self._read_ranged(source)
        for name in _FIELDS:
            if name in source and name not in _RANGED and name != "range_tokens":
                self.take(name, source[name])

    def _read_ranged(self, source: Mapping[Any, Any]) -> None:
        """A priority, a time, and the range that they are of. Nothing that was said of a range comes to be of more tokens than it was said of."""
        before = self._fields.get("range_tokens") or _ALL
        ranged = source.get("range_tokens") is not None
        if ranged and not self.take("range_tokens", source["range_tokens"]):
            return
        taken = set()
        for name in _RANGED:
            if name in source and self.take(name, source[name]):
                taken.add(_FIELDS[name][0])
        if taken and not ranged:
            self._fields.pop("range_tokens", None)
        if (self._fields.get("range_tokens") or _ALL) <= before:
            return
        for field in {_FIELDS[name][0] for name in _RANGED} - taken if taken else ():
            self._fields.pop(field, None)
        if not taken:
            self._fields["range_tokens"] = before

    def read_native(self, source: Mapping[Any, Any]) -> None:
        self.read_known(source)
        unknown = len(source) - sum(name in source for name in _FIELDS)
        for name in source:
            if unknown == 0 or len(self._problems) == PROBLEMS_MAX:
                break
            if name not in _FIELDS:
                unknown -= 1
                self.drop(f"{NATIVE}.{show(name)} is no hint; there are {', '.join(_FIELDS)}")
        self._dropped += unknown  # what nobody reads a sentence of is not looked at: it may be a million

    def read_envelope(self, envelope: Any) -> None:
        actions, native, passed_over = hint_formats.of_envelope(envelope, self.drop)
        self._passed_over += passed_over
        for words in actions:
            self.read_known(words)
        if native is not None:
            self.read_native(native)

    def read_formats(self, source: Mapping[Any, Any]) -> None:
        if source.get("kv_hints") is not None:
            self.read_envelope(source["kv_hints"])
        for name, read in (("cache_control", hint_formats.of_cache_control), ("kv_cache_retention_config", hint_formats.of_retention)):
            if source.get(name) is not None:
                self.read_known(read(source[name], self.drop))

    def read_continuum(self, source: Mapping[Any, Any]) -> None:
        if "job_id" not in source:
            return  # the other names mean nothing without a program
        job = source["job_id"]
        if isinstance(job, int) and not isinstance(job, bool):
            job = str(job) if abs(job) <= U32_MAX else job
        if not self.take("program", job, "job_id"):
            return
        for name in ("last_func_call", "this_func_call"):
            if source.get(name) is not None and self.take("tool", source[name], name):
                self._fields["wait"] = WaitKind.TOOL
        if "is_last_step" in source and self.take("close", source["is_last_step"], "is_last_step") and self._fields["close"]:
            self._fields["wait"] = WaitKind.END

    def take(self, name: str, value: Any, said_as: str | None = None) -> bool:
        if value is None:  # JSON's way to leave out
            return False
        field, convert = _FIELDS[name]
        try:
            self._fields[field] = convert(value)
        except Wrong as wrong:
            self.drop(f"{said_as or name} is {show(value)}: {wrong} is wanted")
            return False
        return True

    def result(self) -> RequestHint:
        p50, p90 = self._fields.get("return_p50", 0.0), self._fields.get("return_p90", 0.0)
        if 0.0 < p90 < p50:
            self.drop(f"return_p90_ms is {p90 * 1000:g}: at least return_p50_ms ({p50 * 1000:g}) is wanted")
            del self._fields["return_p90"]
        if "tool" in self._fields:
            self._fields.setdefault("wait", WaitKind.TOOL)
        hint = Hint(**self._fields) if self._fields else None
        return RequestHint(hint, self._dropped, tuple(self._problems), self._passed_over)


# Name in a request: field of kvasir.Hint, conversion. Where several are names of one field the last that is said wins: the exact one.
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "program": ("program", hint_values.text),
    "parent": ("parent_program", hint_values.text),
    "parent_program": ("parent_program", hint_values.text),
    "turn": ("turn", hint_values.count(U32_MAX)),
    "wait": ("wait", hint_values.wait),
    "tool": ("tool", hint_values.text),
    "return_ms": ("return_p50", hint_values.milliseconds),
    "expected_return_ms": ("return_p50", hint_values.milliseconds),
    "return_p50_ms": ("return_p50", hint_values.milliseconds),
    "return_p90_ms": ("return_p90", hint_values.milliseconds),
    "close": ("close", hint_values.flag),
    "priority": ("priority", hint_values.count(PRIORITY_MAX)),
    "ttl_s": ("ttl", hint_values.seconds),
    "ttl_ms": ("ttl", hint_values.milliseconds),
    "range_tokens": ("range_tokens", hint_values.count(U32_MAX)),
}
_RANGED = ("priority", "ttl_s", "ttl_ms")  # what a range is of
_ALL = U32_MAX + 1  # tokens
