"""Python values to C values, checked: ctypes itself cuts integers and strings without a word."""
from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Iterable
from typing import Any

from . import abi
from .errors import InvalidError

Bytes = bytes | bytearray | memoryview

_U32_MAX = 2**32 - 1
_U64_MAX = 2**64 - 1


def u32(value: Any, name: str) -> int:
    return _unsigned(value, name, _U32_MAX)


def u64(value: Any, name: str) -> int:
    return _unsigned(value, name, _U64_MAX)


def _unsigned(value: Any, name: str, most: int) -> int:
    try:
        number = value.__index__()
    except AttributeError:
        raise InvalidError(f"{name}: an integer is wanted, not {value!r}") from None
    if not 0 <= number <= most:
        raise InvalidError(f"{name}: {number} is not within 0 and {most}")
    return number


def milliseconds(seconds: float | None, name: str) -> int:
    """Seconds, rounded up to whole milliseconds; None: 0, the default of whoever reads it."""
    if seconds is None:
        return 0
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
        raise InvalidError(f"{name}: seconds are wanted, not {seconds!r}")
    return _unsigned(math.ceil(seconds * 1000), name, _U32_MAX)


def microseconds(seconds: float, name: str) -> int:
    """Seconds, rounded up to whole microseconds."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
        raise InvalidError(f"{name}: seconds are wanted, not {seconds!r}")
    return _unsigned(math.ceil(seconds * 1e6), name, _U64_MAX)


def text(value: str | None, name: str) -> bytes | None:
    """UTF-8 for a const char *; None stays NULL."""
    if value is None:
        return None
    try:
        encoded = value.encode()
    except (AttributeError, UnicodeEncodeError):
        raise InvalidError(f"{name}: text is wanted, not {value!r}") from None
    if b"\0" in encoded:
        raise InvalidError(f"{name}: a NUL character in {value!r}")
    return encoded


def key_bytes(value: Bytes, name: str) -> bytes:
    """A bytes object; keys are small, and the library copies them as well."""
    if isinstance(value, bytes):
        return value
    try:
        return memoryview(value).tobytes()
    except TypeError:
        raise InvalidError(f"{name}: bytes are wanted, not {type(value).__name__}") from None


def keys_struct(keys: Bytes, key_length: int, *, first_place: int = 0, unchained: bool = False,
                parent: Bytes | None = None, extent_first: Bytes | None = None) -> abi.Keys:
    """kvs_keys of a blob of keys. The struct keeps its blobs alive."""
    blob = key_bytes(keys, "keys")
    if not blob or len(blob) % key_length != 0:
        raise InvalidError(f"keys: {len(blob)} bytes are no whole number of keys of {key_length} bytes")
    made = abi.new(abi.Keys)
    made.n = u32(len(blob) // key_length, "keys")
    made.keys = blob
    made.first_place = u32(first_place, "first_place")
    made.unchained = 1 if unchained else 0
    for name, value in (("parent", parent), ("extent_first", extent_first)):
        if value is None:
            continue
        one = key_bytes(value, name)
        if len(one) != key_length:
            raise InvalidError(f"{name}: {len(one)} bytes, a key has {key_length}")
        setattr(made, name, one)
    return made


def address_of(buffer: Any, name: str, *, writable: bool) -> tuple[int, int, Any]:
    """Address and bytes of a contiguous buffer, without a copy, and what keeps it there while it is referenced."""
    if isinstance(buffer, bytes) and not writable:
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0, len(buffer), buffer
    try:
        size = memoryview(buffer).nbytes
        if size == 0:
            raise InvalidError(f"{name}: an empty buffer")
        pinned = ctypes.c_char.from_buffer(buffer)  # holds the buffer: it can neither move nor go
    except (TypeError, ValueError) as fault:
        if isinstance(fault, InvalidError):
            raise
        raise InvalidError(f"{name}: a contiguous {'' if writable else 'bytes object or '}writable buffer is wanted: "
                           f"{fault}") from None
    return ctypes.addressof(pinned), size, pinned


def integers(values: Any, code: str, name: str) -> tuple[Any, int, Any]:
    """(what a void * parameter takes, count, what keeps it) of integers of array code 'q' or 'I', without a copy if
    `values` is a writable contiguous buffer of that type."""
    size = array(code).itemsize
    try:
        view = memoryview(values)
    except TypeError:
        return _copied(values, code, name)
    if view.itemsize != size or view.ndim != 1 or view.format not in _FORMATS[code]:
        raise InvalidError(f"{name}: a flat buffer of {'signed' if code == 'q' else 'unsigned'} {size * 8}-bit integers "
                           f"is wanted, not format {view.format!r} with {view.ndim} dimensions")
    if view.nbytes == 0:
        return None, 0, None
    if view.readonly or not view.c_contiguous:
        blob = view.tobytes()
        return blob, len(blob) // size, blob
    address, _, keep = address_of(values, name, writable=True)
    return address, len(view), keep


_FORMATS = {"q": ("q", "l", "<q", "=q", "<l"), "I": ("I", "L", "<I", "=I")}


def _copied(values: Iterable[int], code: str, name: str) -> tuple[Any, int, Any]:
    try:
        made = array(code, values)
    except (TypeError, OverflowError) as fault:
        raise InvalidError(f"{name}: {fault}") from None
    return made.tobytes() or None, len(made), made
