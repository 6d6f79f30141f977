"""What a request says of its program: `kv_transfer_params` and `SamplingParams.extra_args` to a kvasir.Hint.

Pure; nothing here raises for what a client sends. A value that is malformed is dropped, and a sentence says why.

Native names (`program`, `parent_program`, `turn`, `wait`, `tool`, `return_p50_ms`, `return_p90_ms`, `expected_return_ms`,
`close`, `priority`, `ttl_ms`) stand in a dict under "kvasir", or flat beside the parameters of others. Flat they are read
only together with a flat `program`: words such as `priority` are others' too. Continuum's clients send `job_id` (the program),
`last_func_call` (the tool that was called last: what the program waits for), `this_func_call` (the one that this request
calls, which is better where it is known) and `is_last_step` (it will not come back).

Of the same thing said twice the later of these counts: Continuum's names, flat names, those under "kvasir"; and extra_args,
kv_transfer_params.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kvasir import Hint, WaitKind

NATIVE = "kvasir"
TEXT_MAX = 255  # bytes of UTF-8, of <kvasir/connector.h>
PRIORITY_MAX = 100
PROBLEMS_MAX = 16  # a client may send a thousand wrong names; nobody reads so many sentences
_U32_MAX = 2**32 - 1
_SHOWN = 40  # characters of a wrong value in a sentence


class RequestHint(NamedTuple):
    """hint: None if the request says nothing. problems: what was dropped and why, a sentence each, PROBLEMS_MAX at most;
    dropped: how many there were."""

    hint: Hint | None
    dropped: int = 0
    problems: tuple[str, ...] = ()


def hint_of_request(kv_transfer_params: Any, extra_args: Any) -> RequestHint:
    """The hint that a request carries. Both are what vLLM has: a dict, or None."""
    reader = _Reader()
    for name, source in (("extra_args", extra_args), ("kv_transfer_params", kv_transfer_params)):
        if source is None:
            continue
        if not isinstance(source, Mapping):
            reader.drop(f"{name} is no dict: {_show(source)}")
            continue
        reader.read_continuum(source)
        if "program" in source:
            reader.read_known(source)
        native = source.get(NATIVE)
        if isinstance(native, Mapping):
            reader.read_native(native)
        elif native is not None:
            reader.drop(f"{name}.{NATIVE} is no dict: {_show(native)}")
    return reader.result()


class _Wrong(ValueError):
    """A value that is dropped; the text says what was wanted."""


class _Reader:
    """Gathers fields of a Hint; what is read later counts."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._dropped = 0
        self._problems: list[str] = []

    def drop(self, problem: str) -> None:
        self._dropped += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(problem)

    def read_known(self, source: Mapping[Any, Any]) -> None:
        for name in _FIELDS:
            if name in source:
                self._take(name, source[name])

    def read_native(self, source: Mapping[Any, Any]) -> None:
        self.read_known(source)
        for name in source:
            if name not in _FIELDS:
                self.drop(f"{NATIVE}.{_show(name)} is no hint; there are {', '.join(_FIELDS)}")

    def read_continuum(self, source: Mapping[Any, Any]) -> None:
        if "job_id" not in source:
            return  # the other names mean nothing without a program
        job = source["job_id"]
        if isinstance(job, int) and not isinstance(job, bool):
            job = str(job) if abs(job) <= _U32_MAX else job
        if not self._take("program", job, "job_id"):
            return
        for name in ("last_func_call", "this_func_call"):
            if source.get(name) is not None and self._take("tool", source[name], name):
                self._fields["wait"] = WaitKind.TOOL
        if "is_last_step" in source and self._take("close", source["is_last_step"], "is_last_step") and self._fields["close"]:
            self._fields["wait"] = WaitKind.END

    def _take(self, name: str, value: Any, said_as: str | None = None) -> bool:
        if value is None:  # JSON's way to leave out
            return False
        field, convert = _FIELDS[name]
        try:
            self._fields[field] = convert(value)
        except _Wrong as wrong:
            self.drop(f"{said_as or name} is {_show(value)}: {wrong} is wanted")
            return False
        return True

    def result(self) -> RequestHint:
        p50, p90 = self._fields.get("return_p50", 0.0), self._fields.get("return_p90", 0.0)
        if 0.0 < p90 < p50:
            self.drop(f"return_p90_ms is {p90 * 1000:g}: at least return_p50_ms ({p50 * 1000:g}) is wanted")
            del self._fields["return_p90"]
        hint = Hint(**self._fields) if self._fields else None
        return RequestHint(hint, self._dropped, tuple(self._problems))


# ---- values ----

def _text(value: Any) -> str:
    wanted = f"text of 1 to {TEXT_MAX} bytes"
    # Never cut: two programs whose names agree in the first 255 bytes are two.
    if not isinstance(value, str) or not value or "\0" in value or len(value) > TEXT_MAX:
        raise _Wrong(wanted)
    try:
        if len(value.encode()) > TEXT_MAX:
            raise _Wrong(wanted)
    except UnicodeEncodeError:
        raise _Wrong(wanted) from None
    return value


def _count(most: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise _Wrong(f"a whole number of 0 to {most}")
        return value

    return convert


def _seconds(value: Any) -> float:
    """Milliseconds as they are sent."""
    wrong = _Wrong(f"a number of milliseconds, 0 to {_U32_MAX}")
    # Compared before it is divided: a huge int does not fit a float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _U32_MAX or not math.isfinite(value):
        raise wrong
    return value / 1000


def _flag(value: Any) -> bool:
    # 1 and 0 too: vLLM's `vllm_xargs` knows no booleans, and makes integers of them.
    if not isinstance(value, int) or value not in (0, 1):
        raise _Wrong("true or false")
    return bool(value)


def _wait(value: Any) -> WaitKind:
    try:
        return WaitKind[value.upper()]
    except (AttributeError, KeyError, TypeError):
        raise _Wrong(f"one of {', '.join(kind.name.lower() for kind in WaitKind)}") from None


# Name in a request: field of kvasir.Hint, conversion. `expected_return_ms` is a name for the median; the exact one wins.
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "program": ("program", _text),
    "parent_program": ("parent_program", _text),
    "turn": ("turn", _count(_U32_MAX)),
    "wait": ("wait", _wait),
    "tool": ("tool", _text),
    "expected_return_ms": ("return_p50", _seconds),
    "return_p50_ms": ("return_p50", _seconds),
    "return_p90_ms": ("return_p90", _seconds),
    "close": ("close", _flag),
    "priority": ("priority", _count(PRIORITY_MAX)),
    "ttl_ms": ("ttl", _seconds),
}


def _show(value: Any) -> str:
    """A wrong value for people: short, on one line, whatever it is."""
    if isinstance(value, (str, int, float, bool, bytes)) or value is None:
        if isinstance(value, (str, bytes)):
            return repr(value[:_SHOWN])
        return repr(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN else "a huge number"
    return f"a {type(value).__name__}"
