"""What a call or an operation answers: the values of <kvasir/status.h>, pinned for ever."""
from __future__ import annotations

import enum
from typing import Any


class Status(enum.IntEnum):
    """0 is success, positive values are answers, negative ones errors."""

    OK = 0
    MISS = 1
    PARTIAL = 2
    EXISTS = 3
    PENDING = 4
    DECLINED = 5

    ERR_INVALID = -1
    ERR_DEADLINE = -2
    ERR_CANCELED = -3
    ERR_KEY_LENGTH = -4
    ERR_TOO_LARGE = -5
    ERR_SPACE_UNKNOWN = -6
    ERR_SPACE_MISMATCH = -7
    ERR_UNSUPPORTED = -8
    ERR_BUSY = -9
    ERR_QUOTA = -10
    ERR_BUFFER = -11
    ERR_CHECKSUM = -12

    ERR_UNREACHABLE = -100
    ERR_VERSION = -101
    ERR_PROTOCOL = -102
    ERR_DRAINING = -103
    ERR_DENIED = -104

    ERR_FULL = -200
    ERR_CORRUPT = -201
    ERR_IO = -202

    ERR_NOMEM = -300
    ERR_CONFIG = -301
    ERR_SYSTEM = -302
    ERR_FORKED = -303
    ERR_CLOSED = -304
    ERR_INTERNAL = -305

    @classmethod
    def _missing_(cls, value: object) -> Status | None:
        """A newer library may know values that this package does not: they are kept, and named by their number."""
        return _unknown(cls, value)

    @property
    def is_error(self) -> bool:
        return self < 0


class Cause(enum.IntEnum):
    """Why a chunk or a look-up missed."""

    NONE = 0
    NEVER = 1
    EVICTED = 2
    DELETED = 3
    SPACE = 4
    CORRUPT = 5
    QUALITY = 6
    NODE = 7
    TIER = 8
    ELSEWHERE = 9
    CLOSED = 10
    QUOTA = 11
    DECLINED = 12
    EXPIRED = 13

    @classmethod
    def _missing_(cls, value: object) -> Cause | None:
        return _unknown(cls, value)


def _unknown(cls: type[enum.IntEnum], value: object) -> Any:
    if not isinstance(value, int):
        return None
    member: Any = int.__new__(cls, value)
    member._name_ = f"UNKNOWN_{value}".replace("-", "MINUS_")
    member._value_ = value
    return member
