"""What others' clients and routers say of keeping KV, in the native words of hints.py: Anthropic's `cache_control`, TensorRT-LLM's
`KvCacheRetentionConfig`, the actions of a `KvHintsEnvelope`. Pure; every loop is bounded, whatever is sent.

These formats are of ranges of a prompt's tokens. A chunk is of use only with all before it, so of a range only its end matters, and a
Kvasir hint has one: `range_tokens`. Of several ranges that keep, the one that ends last counts: what comes before it stays at least as
long. What is lost is that a beginning is wanted for longer than the rest of that."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from .hint_values import PRIORITY_MAX, U32_MAX, Wrong, flag, milliseconds, seconds, show, whole

ACTIONS_MAX = 64  # of an envelope that are looked at
RANGES_MAX = 128  # of a configuration, an action or a list of breakpoints
HINT_ACTION = "kvasir.hint"  # payload: native names

Drop = Callable[[str], None]
Words = dict[str, Any]  # native name -> value


class _Range(NamedTuple):
    end: float
    priority: int  # the format's own
    seconds: float | None


# ---- Anthropic ----

_TTL = {"5m": 300.0, "1h": 3600.0}


def of_cache_control(value: Any, drop: Drop) -> Words:
    """`{"type": "ephemeral", "ttl": "5m" | "1h" | seconds}`, or a list of these: a prompt's breakpoints in order. Which token one is at
    they do not say: who knows it says `range_tokens`, natively."""
    found: Words = {}
    for item in _items(value if isinstance(value, (list, tuple)) else (value,), "cache_control", drop):
        try:
            found = _ranged({"ttl_s": _cache_ttl(item)})
        except Wrong as wrong:
            drop(f"cache_control is {show(item)}: {wrong} is wanted")
    return found


def _cache_ttl(item: Any) -> float:
    if not isinstance(item, Mapping) or item.get("type") != "ephemeral":
        raise Wrong('{"type": "ephemeral"}, with "ttl" or without,')
    ttl = item.get("ttl")
    if ttl is None:
        return _TTL["5m"]
    if isinstance(ttl, str):
        if ttl not in _TTL:
            raise Wrong('a "ttl" of "5m", "1h" or seconds')
        return _TTL[ttl]
    return seconds(ttl)


# ---- TensorRT-LLM ----

_RETENTION_DEFAULT = 35


def of_retention(value: Any, drop: Drop) -> Words:
    """A `KvCacheRetentionConfig`, as JSON or as TensorRT-LLM's own object. Its decode part ends last, if it is not just the default."""
    name = "kv_cache_retention_config"
    listed, decode = _member(value, "token_range_retention_configs"), _member(value, "decode_retention_priority")
    if listed is None and decode is None:
        drop(f"{name} is {show(value)}: token_range_retention_configs or decode_retention_priority is wanted")
        return {}
    ranges = []
    for item in _items(listed, f"{name}.token_range_retention_configs", drop):
        try:
            ranges.append(_Range(_end(_member(item, "token_start"), _member(item, "token_end")), whole(_member(item, "priority"), PRIORITY_MAX),
                                 _duration_ms(_member(item, "duration_ms"))))
        except Wrong as wrong:
            drop(f"{name}: a range is not read: {wrong} is wanted")
    if decode is not None and decode != _RETENTION_DEFAULT:
        try:
            ranges.append(_Range(float("inf"), whole(decode, PRIORITY_MAX), _duration_ms(_member(value, "decode_duration_ms"))))
        except Wrong as wrong:
            drop(f"{name}: its decode part is not read: {wrong} is wanted")
    last = _last([one for one in ranges if one.priority > _RETENTION_DEFAULT and _says(one, _RETENTION_DEFAULT)])
    if last is not None:
        return _ranged({"priority": _scaled(last.priority, _RETENTION_DEFAULT)} | ({"ttl_s": last.seconds} if last.seconds else {}), last.end)
    last = _last(ranges)  # what is to be let go for a while is not to be kept so long; and of it, what is behind is of no use either
    return {} if last is None else _ranged({"priority": _scaled(last.priority, _RETENTION_DEFAULT)})


def _scaled(priority: int, default: int) -> int:
    """Others' 0..default..100 to 1..50..100, since 50 is what says nothing here."""
    if priority <= default:
        return 1 + priority * 49 // default
    return 50 + (priority - default) * 50 // (PRIORITY_MAX - default)


def _says(one: _Range, default: int) -> bool:
    """Anything that would be heard here: a priority that comes to 50 is none."""
    return bool(one.seconds) or _scaled(one.priority, default) != 50


def _duration_ms(value: Any) -> float | None:
    if value is None:
        return None
    return milliseconds(value.total_seconds() * 1000 if isinstance(value, timedelta) else value)


# ---- KvHintsEnvelope ----

def of_envelope(value: Any, drop: Drop) -> tuple[list[Words], Mapping[Any, Any] | None, int]:
    """(words of each action, what a `kvasir.hint` action says in native names, actions passed over). vLLM 0.32 carries envelopes and defines no action;
    `kv.retain` and `kv.evict` are as routers and proposals for vLLM have them, in versions 0 and 1."""
    words: list[Words] = []
    native, passed = None, 0
    actions = _member(value, "actions")
    for action in _items(actions, "kv_hints.actions", drop, ACTIONS_MAX):
        kind, payload = _member(action, "action_type"), _member(action, "payload")
        read = _ACTIONS.get(kind) if isinstance(kind, str) and len(kind) <= 64 and _is_known(_member(action, "action_version")) else None
        if read is None:
            passed += 1
        elif not isinstance(payload, Mapping):
            drop(f"kv_hints: the payload of {kind} is {show(payload)}: a dict is wanted")
        elif kind == HINT_ACTION:
            native = payload
        else:
            try:
                words.append(read(payload, drop))
            except Wrong as wrong:
                drop(f"kv_hints: {kind}: {wrong} is wanted")
    if isinstance(actions, Sequence):
        passed += max(0, len(actions) - ACTIONS_MAX)
    return words, native, passed


def _is_known(version: Any) -> bool:
    return isinstance(version, str) and version[:8].split(".", 1)[0] in ("0", "1")


def _retain(payload: Mapping[Any, Any], drop: Drop) -> Words:
    """Either `directives` over token ranges, or one `priority` and `ttl_seconds` for all. 1 to 100 keep, 0 takes back."""
    directives = payload.get("directives")
    if directives is None:
        priority, ttl = payload.get("priority"), _seconds_or_none(payload.get("ttl_seconds"))
        return {} if priority == 0 else _kept(None if priority is None else whole(priority, PRIORITY_MAX), ttl)
    ranges = []
    for item in _items(directives, "kv_hints: kv.retain: directives", drop):
        try:
            end = float("inf") if _member(item, "covers_output") is True else _end(_member(item, "start"), _member(item, "end"))
            ranges.append(_Range(end, whole(_member(item, "priority"), PRIORITY_MAX), _seconds_or_none(_member(item, "duration"))))
        except Wrong as wrong:
            drop(f"kv_hints: a directive of kv.retain is not read: {wrong} is wanted")
    last = _last([one for one in ranges if one.priority > 0 and _says(one, 1)])
    return {} if last is None else _kept(last.priority, last.seconds, last.end)


def _kept(priority: int | None, ttl: float | None, end: float = float("inf")) -> Words:
    words = ({"priority": _scaled(priority, 1)} if priority is not None else {}) | ({"ttl_s": ttl} if ttl else {})
    return _ranged(words, end) if words else {}


def _evict(payload: Mapping[Any, Any], drop: Drop) -> Words:
    """Of the session that this request belongs to; other blocks, named by an engine's hashes, are not known here."""
    return {"close": True} if flag(payload.get("include_current_request", False)) else {}


_ACTIONS: Mapping[str, Callable[[Mapping[Any, Any], Drop], Words]] = {
    "kv.retain": _retain, "kv.evict": _evict, HINT_ACTION: lambda payload, drop: {},
}


# ---- parts ----

def _member(value: Any, name: str) -> Any:
    """A member of a dict or of an engine's own object; None: there is none."""
    if isinstance(value, Mapping):
        return value.get(name)
    try:
        return getattr(value, name, None)
    except Exception:  # a property of an object that is not ours
        return None


def _items(value: Any, name: str, drop: Drop, most: int = RANGES_MAX) -> Iterable[Any]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        drop(f"{name} is {show(value)}: a list is wanted")
        return ()
    if len(value) > most:
        drop(f"{name} has {len(value)} entries: those after {most} are not read")
    return islice(value, most)


def _end(start: Any, value: Any) -> float:
    """Where a range ends; 0: it is empty."""
    end = float("inf") if value is None else whole(value, U32_MAX)
    return end if start is None or whole(start, U32_MAX) < end else 0


def _seconds_or_none(value: Any) -> float | None:
    return None if value is None else seconds(value)


def _ranged(words: Words, end: float = float("inf")) -> Words:
    """Said of the tokens up to `end`: said with them, so that no range that was said elsewhere is theirs."""
    return words | {"range_tokens": int(end) if end <= U32_MAX else 0}


def _last(ranges: Iterable[_Range]) -> _Range | None:
    """The one that ends last, of several the one of the highest priority; an empty one is none."""
    return max((one for one in ranges if one.end > 0), key=lambda one: (one.end, one.priority), default=None)
