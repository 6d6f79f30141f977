"""What an agent framework knows of its programs. Advisory: the completion says what the node made of it."""
from __future__ import annotations

import enum
from dataclasses import dataclass

from . import abi
from .errors import InvalidError
from .values import microseconds, milliseconds, text, u32


class WaitKind(enum.IntEnum):
    """What a program waits for."""

    NONE = 0
    TOOL = 1
    HUMAN = 2
    SUBAGENT = 3
    APPROVAL = 4
    END = 5


class HintOutcome(enum.IntEnum):
    """What the node made of a hint."""

    NONE = 0
    ACCEPTED = 1
    CLIPPED = 2
    DEFERRED = 3
    REJECTED = 4
    MISSING = 5


@dataclass(frozen=True)
class Hint:
    """Names are at most 255 bytes each; times are seconds from now."""

    program: str | None = None
    parent_program: str | None = None
    turn: int = 0
    wait: WaitKind = WaitKind.NONE
    tool: str | None = None
    return_p50: float = 0.0  # expected return; 0: not known
    return_p90: float = 0.0
    close: bool = False  # the program will not come back
    priority: int | None = None  # 0 to 100; None: what was said before stays
    ttl: float = 0.0  # how long the hint holds; 0: the node's default
    prefill_tokens: int = 0  # an engine has computed so many, of a space given without keys; 0: not said
    prefill_from: int = 0  # behind so many others
    prefill_time: float = 0.0  # in so long
    range_tokens: int = 0  # priority and ttl are of the first so many tokens of the chain; 0: of all

    def to_abi(self) -> abi.Hint:
        made = abi.new(abi.Hint)
        made.program = text(self.program, "program")
        made.parent_program = text(self.parent_program, "parent_program")
        made.turn = u32(self.turn, "turn")
        try:
            made.wait = WaitKind(self.wait)
        except ValueError:
            raise InvalidError(f"wait: {self.wait!r} is no WaitKind") from None
        made.tool = text(self.tool, "tool")
        made.return_p50_ms = milliseconds(self.return_p50, "return_p50")
        made.return_p90_ms = milliseconds(self.return_p90, "return_p90")
        made.close = 1 if self.close else 0
        if self.priority is not None:
            made.priority = u32(self.priority, "priority")
            made.has_priority = 1
        made.ttl_ms = milliseconds(self.ttl, "ttl")
        made.prefill_tokens = u32(self.prefill_tokens, "prefill_tokens")
        made.prefill_from = u32(self.prefill_from, "prefill_from")
        made.prefill_us = microseconds(self.prefill_time, "prefill_time")
        made.range_tokens = u32(self.range_tokens, "range_tokens")
        return made
