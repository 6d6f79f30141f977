"""Single values of what clients say: checked, and turned into what kvasir.Hint has. Pure; the time that any value takes is bounded."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kvasir import WaitKind

TEXT_MAX = 255  # bytes of UTF-8, of <kvasir/connector.h>
PRIORITY_MAX = 100
U32_MAX = 2**32 - 1
_WAIT_MAX = 16  # letters
_SHOWN = 40  # characters of a wrong value in a sentence


class Wrong(ValueError):
    """A value that is dropped; the text says what was wanted."""


def text(value: Any) -> str:
    wanted = f"text of 1 to {TEXT_MAX} bytes"
    # Never cut: two programs whose names agree in the first 255 bytes are two.
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX or "\0" in value:
        raise Wrong(wanted)
    try:
        if len(value.encode()) > TEXT_MAX:
            raise Wrong(wanted)
    except UnicodeEncodeError:
        raise Wrong(wanted) from None
    return value


def whole(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Wrong(f"a whole number of 0 to {most}")
    return value


def count(most: int) -> Callable[[Any], int]:
    return lambda value: whole(value, most)


def _number(value: Any, most: int, what: str) -> float:
    # Compared before it becomes a float: a huge int does not fit one.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most or not math.isfinite(value):
        raise Wrong(f"a number of {what}, 0 to {most}")
    return value


def milliseconds(value: Any) -> float:
    """Milliseconds as they are sent, to seconds."""
    return _number(value, U32_MAX, "milliseconds") / 1000


def seconds(value: Any) -> float:
    return float(_number(value, U32_MAX // 1000, "seconds"))


def flag(value: Any) -> bool:
    # 1 and 0 too: vLLM's `vllm_xargs` knows no booleans, and makes integers of them.
    if not isinstance(value, int) or value not in (0, 1):
        raise Wrong("true or false")
    return bool(value)


def wait(value: Any) -> WaitKind:
    try:
        if len(value) <= _WAIT_MAX:
            return WaitKind[value.upper()]
    except (AttributeError, KeyError, TypeError):
        pass
    raise Wrong(f"one of {', '.join(kind.name.lower() for kind in WaitKind)}")


def show(value: Any) -> str:
    """A wrong value for people: short, on one line, whatever it is."""
    if isinstance(value, (str, bytes)):
        return repr(value[:_SHOWN])
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**_SHOWN else "a huge number"
    return repr(value) if isinstance(value, float) or value is None else f"a {type(value).__name__}"
