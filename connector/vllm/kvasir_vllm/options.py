"""`kv_connector_extra_config` as a typed, checked record. Durations are seconds, sizes are bytes or text like "512MiB"."""
from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kvasir import Encode

from .affinity import parse_cpus

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_LEVELS = ("debug", "info", "warning", "error")
_OPERATIONS_MAX = 65536  # kvs_options.max_operations
_TOOL_TOKENS_MAX = 64
_RECOMPUTE_MAX = 1000.0
_SECONDS_MAX = 600.0  # kvs_options.timeout_ms
_LOSS_MAX = 15  # of the scale in docs/formats/chunk.md
_LEVELS_OF_ENCODE = tuple(level.name.lower() for level in Encode)


class OptionError(ValueError):
    """An option of `kv_connector_extra_config` is unknown or wrong. The text names it and what would be right."""


@dataclass(frozen=True)
class Options:
    """What the user may set. `docs/integrate/vllm.md` explains each."""

    endpoint: str
    chunk_tokens: int = 0  # 0: 256, or the next multiple of the engine's block size
    load: str = "async"  # async | layerwise | off
    save: str = "on"  # on | off
    hints: str = "on"  # on | off
    recompute: float = 1.2  # what is found is computed if that is predicted to be so many times faster than loading it; 0: never
    tool_tokens: tuple[int, ...] = ()  # what the model begins a call of a tool with
    lookup_timeout: float = 0.25
    load_timeout: float = 5.0
    save_timeout: float = 10.0
    lease: float = 30.0
    retry_after: float = 8.0  # the longest pause of look-ups after one that was not answered in time
    max_save_bytes: int = 2**30  # of puts in flight, each worker
    max_operations: int = 4096
    model: str = ""  # "": what vLLM calls it
    revision: str = ""
    weights: str = "auto"  # auto | off | 64 hexadecimal digits
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_server_name: str = ""
    token_file: str = ""  # which tenant of the node this is
    plain_token: str = "off"  # on: the token goes over a network without TLS
    wait_connected: float = 0.0  # opening waits so long for the node
    encode: str = "none"  # what is saved: none | lossless | ladder | cachegen
    encode_planes: int = 0  # 0: the library's default, here and below
    encode_threads: int = 0
    encode_mib: int = 0
    loss_max: int = 0  # of saves: the node may take so much from them; of look-ups and loads: so much is taken
    loss_enough: int = 0  # of loads: better than that a chunk need not be; 0: as good as there is
    hurry: float = 0.0  # of loads: what would take longer comes with more loss; 0: no hurry
    cpus: str = "auto"  # auto | inherit | a list: where the library's threads run
    library: str = ""  # path of libkvasir-connector; "": KVASIR_LIBRARY, else the loader's
    log_level: str = ""  # debug | info | warning | error; "": vLLM's


def parse(config: Mapping[str, Any]) -> Options:
    """Checks every option. Raises OptionError."""
    known = [field.name for field in fields(Options)]
    for name in config:
        if name not in known:
            raise OptionError(_unknown(name, known))
    if not config.get("endpoint"):
        raise OptionError('endpoint: missing. Say where the node is: "unix:/run/kvasir/kvasird.sock" or "kvasir://host:7070"')
    values: dict[str, Any] = {"endpoint": _endpoint(config["endpoint"])}
    for name, value in config.items():
        if name != "endpoint":
            values[name] = _READERS[name](name, value)
    options = Options(**values)
    if bool(options.tls_cert_file) != bool(options.tls_key_file):
        raise OptionError("tls_cert_file and tls_key_file belong together: give both or none")
    if options.loss_enough > options.loss_max:
        raise OptionError(f"loss_enough: {options.loss_enough} is more loss than loss_max allows ({options.loss_max})")
    return options


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{name}: no such option of KvasirConnector.{hint} There are: {', '.join(known)}"


def _endpoint(value: Any) -> str:
    text = _text("endpoint", value)
    if text == "embedded" or text.startswith("embedded:"):
        raise OptionError(
            f'endpoint: "{text}" would be a store inside each of vLLM\'s processes, which no other could see. '
            'Start kvasird and give its socket: "unix:/run/kvasir/kvasird.sock"')
    if not text.startswith(("unix:", "kvasir://")):
        raise OptionError(f'endpoint: "{text}" is neither "unix:/path" nor "kvasir://host:port"')
    return text


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise OptionError(f"{name}: text is wanted, not {value!r}")
    return value


def _integer(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionError(f"{name}: a whole number from {least} to {most} is wanted, not {value!r}")
    return value


def _tokens(name: str, value: Any) -> int:
    return _integer(name, value, 1, 2**20)


def _operations(name: str, value: Any) -> int:
    return _integer(name, value, 16, _OPERATIONS_MAX)


def _token_ids(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > _TOOL_TOKENS_MAX \
            or any(isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < 2**31 for one in value):
        raise OptionError(f"{name}: a list of at most {_TOOL_TOKENS_MAX} token ids is wanted, not {value!r}")
    return tuple(value)


def _loss(name: str, value: Any) -> int:
    return _integer(name, value, 0, _LOSS_MAX)


def _planes(name: str, value: Any) -> int:
    return _integer(name, value, 0, 3)  # kvs_options.encode_planes


def _threads(name: str, value: Any) -> int:
    return _integer(name, value, 0, 64)  # kvs_options.encode_threads


def _mebibytes(name: str, value: Any) -> int:
    return _integer(name, value, 0, 65536)  # kvs_options.encode_mib


def _pause(name: str, value: Any) -> float:
    """Seconds that may be none."""
    return 0.0 if value == 0 and not isinstance(value, bool) else _seconds(name, value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) \
            or not 0.001 <= value <= _SECONDS_MAX:
        raise OptionError(f"{name}: seconds from 0.001 to {_SECONDS_MAX:g} are wanted, not {value!r}")
    return float(value)


def _recompute(name: str, value: Any) -> float:
    if value is False or value == "off":
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value == 0 or 1 <= value <= _RECOMPUTE_MAX):
        raise OptionError(f"{name}: off, or a number from 1 to {_RECOMPUTE_MAX:g} is wanted, not {value!r}")
    return float(value)


def _size(name: str, value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", value)
        if match and match[2].upper() in _UNITS:
            value = int(match[1]) * _UNITS[match[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise OptionError(f'{name}: bytes are wanted, as a number or like "512MiB", not {value!r}')
    return value


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if isinstance(value, bool) and "off" in choices:
        value = choices[0] if value else "off"  # JSON's true and false say on and off
    if value not in choices:
        raise OptionError(f"{name}: one of {', '.join(choices)} is wanted, not {value!r}")
    return str(value)


def _load(name: str, value: Any) -> str:
    return _choice(name, value, ("async", "layerwise", "off"))


def _switch(name: str, value: Any) -> str:
    return _choice(name, value, ("on", "off"))


def _encode(name: str, value: Any) -> str:
    return _choice(name, value, _LEVELS_OF_ENCODE)


def _level(name: str, value: Any) -> str:
    return _choice(name, value, _LEVELS)


def _weights(name: str, value: Any) -> str:
    if value is False:
        return "off"
    text = _text(name, value).lower()
    if text not in ("auto", "off") and not re.fullmatch(r"[0-9a-f]{64}", text):
        raise OptionError(f"{name}: auto, off or 64 hexadecimal digits are wanted, not {value!r}")
    return text


def _cpus(name: str, value: Any) -> str:
    text = _text(name, value)
    if text not in ("auto", "inherit"):
        try:
            parse_cpus(text)
        except ValueError:
            raise OptionError(f'{name}: auto, inherit or a list of processors like "0-3,8" is wanted, not {value!r}') from None
    return text


_READERS = {
    "chunk_tokens": _tokens, "load": _load, "save": _switch, "hints": _switch, "recompute": _recompute, "tool_tokens": _token_ids,
    "lookup_timeout": _seconds, "load_timeout": _seconds, "save_timeout": _seconds, "lease": _seconds,
    "retry_after": _seconds, "max_save_bytes": _size, "max_operations": _operations,
    "model": _text, "revision": _text, "weights": _weights,
    "tls_ca_file": _text, "tls_cert_file": _text, "tls_key_file": _text, "tls_server_name": _text, "token_file": _text,
    "plain_token": _switch, "wait_connected": _pause,
    "encode": _encode, "encode_planes": _planes, "encode_threads": _threads, "encode_mib": _mebibytes,
    "loss_max": _loss, "loss_enough": _loss, "hurry": _pause,
    "cpus": _cpus, "library": _text, "log_level": _level,
}
