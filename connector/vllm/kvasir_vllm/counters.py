"""What the connector did, counted. Plain data: it pickles, adds up over processes, and gives differences."""
from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass
class Counters:
    """Counts since start. The scheduler's side counts requests and look-ups, the workers' count transfers; a rank each."""

    lookups: int = 0  # started
    lookup_timeouts: int = 0  # not answered within lookup_timeout: a miss
    lookups_skipped: int = 0  # not asked: the node is known to be away, or too much is under way
    chunks_hit: int = 0  # of look-ups answered
    chunks_missed: int = 0
    requests_loaded: int = 0  # requests that got tokens from the store
    tokens_loaded: int = 0  # promised to the engine
    requests_recomputed: int = 0  # requests that computed what they could have loaded, since that was predicted to be faster
    hints: int = 0  # requests whose hint was sent when they had ended
    hints_named: int = 0  # requests whose program was told when some of their chain was found
    hints_of_prefills: int = 0  # measurements of the engine's prefills that were sent
    hints_accepted: int = 0  # what the node made of hints; there is one for each space
    hints_clipped: int = 0
    hints_deferred: int = 0
    hints_rejected: int = 0  # or not sent, since nothing names a program
    hints_missing: int = 0
    hints_failed: int = 0  # not sent, or without an answer
    hint_actions_passed_over: int = 0  # of envelopes: not known, or not for a store
    hint_values_dropped: int = 0  # malformed values in what requests said
    loads: int = 0  # of a worker
    load_bytes: int = 0
    load_chunks: int = 0  # in place
    load_chunks_failed: int = 0  # promised and not delivered
    load_failures: int = 0  # loads with such chunks
    saves: int = 0
    save_bytes: int = 0
    save_chunks: int = 0  # stored, or found stored
    save_chunks_declined: int = 0  # not stored, since what would have to go for them is worth more: nothing is wrong
    save_chunks_failed: int = 0
    saves_dropped: int = 0  # chunks not offered: too many bytes in flight, or the library is busy
    saves_canceled: int = 0  # puts given up because their blocks were wanted (preemption)

    def add(self, other: Counters) -> None:
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def diff(self, before: Counters) -> Counters:
        """What came since `before`, an earlier copy."""
        return Counters(**{name: getattr(self, name) - getattr(before, name) for name in _NAMES})

    def copy(self) -> Counters:
        return Counters(**self.as_dict())

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


_NAMES = tuple(field.name for field in fields(Counters))
