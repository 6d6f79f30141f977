"""Where chunks stand in their prefix chain, as far as vLLM's tiers are told. Pure; no vllm.

A tier gets keys without their parents, and those of a store in no order. But each request notes the end of each of its keys in
tokens, so places are known, and with all keys of the request also the parents. A chunk whose parent is not known is put
unchained: it is found all the same, only the store then evicts it without regard to its neighbours.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from .tier_lookups import block_hash_of, group_of

EXTENT_CHUNKS = 64   # of <kvasir/connector.h>: extent_first
REQUEST_CHUNKS = 512  # what one kvs_get or kvs_put takes


@dataclass(frozen=True)
class Run:
    """Chunks of one put or get: indexes into the job's keys, and their chain if it is known."""

    group: int
    indexes: tuple[int, ...]
    first_place: int = 0
    parent: bytes | None = None
    extent_first: bytes | None = None
    unchained: bool = True


class Places:
    """The places of one request's keys, by group; grows with the request and reads each position once.

    positions: offload key -> its end in tokens, as vLLM notes them, in order and never taken back. chunk_tokens: tokens of a chunk by group.
    """

    def __init__(self, positions: Mapping[bytes, int], chunk_tokens: Mapping[int, int]) -> None:
        self._positions = positions
        self._chunk_tokens = chunk_tokens
        self._read = 0
        self.keys: dict[int, dict[int, bytes]] = {group: {} for group in chunk_tokens}  # group -> place -> key
        self.of: dict[bytes, int] = {}                                                  # key -> place

    def hashes(self) -> bytes:
        """The block hashes of all whole chunks in order; none where groups have chunks of different sizes, whose keys differ."""
        self.update()
        if len(set(self._chunk_tokens.values())) != 1:
            return b""
        keys = next(iter(self.keys.values()))
        return b"".join(block_hash_of(keys[place]) for place in sorted(keys))

    def update(self) -> None:
        new = list(islice(self._positions.items(), self._read, None))
        self._read += len(new)
        for key, end in new:
            group = group_of(key)
            tokens = self._chunk_tokens.get(group, 0)
            if tokens and end >= tokens and end % tokens == 0:  # a partial tail has a key, but no place
                self.keys[group][end // tokens - 1] = key
                self.of[key] = end // tokens - 1


def store_runs(keys: Sequence[bytes], places: Places) -> list[Run]:
    """Cuts a store into runs of consecutive places, in the order of the chain, parents first.

    Keys without a place, and runs whose chain is not known back to its extent, are unchained.
    """
    places.update()
    runs: list[Run] = []
    for group, indexes in _by_group(keys).items():
        placed = sorted((places.of[keys[i]], i) for i in indexes if keys[i] in places.of)
        loose = tuple(i for i in indexes if keys[i] not in places.of)
        runs += [_run(group, part, places.keys[group]) for part in _consecutive(placed)]
        runs += [Run(group, part) for part in _cut(loose)]
    return runs


def load_runs(keys: Sequence[bytes]) -> list[Run]:
    """Cuts a load into gets. The chain does not matter to a get."""
    return [Run(group, part) for group, indexes in _by_group(keys).items() for part in _cut(tuple(indexes))]


def _by_group(keys: Sequence[bytes]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(group_of(key), []).append(i)
    return groups


def _cut(indexes: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [indexes[first:first + REQUEST_CHUNKS] for first in range(0, len(indexes), REQUEST_CHUNKS)]


def _consecutive(placed: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    parts: list[list[tuple[int, int]]] = []
    for place, index in placed:
        if parts and parts[-1][-1][0] == place - 1 and len(parts[-1]) < REQUEST_CHUNKS:
            parts[-1].append((place, index))
        else:
            parts.append([(place, index)])
    return parts


def _run(group: int, part: list[tuple[int, int]], places: Mapping[int, bytes]) -> Run:
    first = part[0][0]
    extent = first - first % EXTENT_CHUNKS
    indexes = tuple(index for _, index in part)
    if first == 0:
        return Run(group, indexes, unchained=False)
    if first - 1 not in places or extent not in places:
        return Run(group, indexes)
    return Run(group, indexes, first_place=first, parent=block_hash_of(places[first - 1]),
               extent_first=block_hash_of(places[extent]) if extent != first else None, unchained=False)
