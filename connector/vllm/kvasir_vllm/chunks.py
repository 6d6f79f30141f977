"""Arithmetic of chunks over engine blocks: keys, places, slots and holes. No engine, no store, no state.

A chunk is `chunk_tokens` tokens; in a KV group it is n = chunk_tokens / block_size blocks. Chunk i covers tokens
[i * chunk_tokens, (i + 1) * chunk_tokens) of its request and has place i in the chain of keys."""
from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EXTENT = 64  # chunks of an extent, kvs_keys.extent_first
HOLE = -1
DEFAULT_CHUNK = 256


def chunk_size(wanted: int, block_sizes: Sequence[int], hash_block: int) -> int:
    """Tokens of a chunk: `wanted`, or without a wish (0) the least multiple of every block size that is 256 or more.

    Raises ValueError if the wish is not a multiple of what the engine works with."""
    step = 1
    for size in (*block_sizes, hash_block):
        step = step * size // _gcd(step, size)
    if wanted == 0:
        return -(-DEFAULT_CHUNK // step) * step
    if wanted % step != 0:
        near = max(step, round(wanted / step) * step)
        raise ValueError(f"chunk_tokens: {wanted} is not a multiple of {step}, the engine's block size; {near} would be")
    return wanted


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def loadable_tokens(n_tokens: int, block_size: int) -> int:
    """The last token is always computed, since its logits are wanted: whole blocks before it."""
    return max(0, (n_tokens - 1) // block_size * block_size)


def chunk_keys(hashes: Sequence[bytes], hashes_per_chunk: int, n_chunks: int, salt: bytes = b"") -> bytes:
    """The keys of chunks [0, n_chunks): of each the engine's hash of its last block; with a salt its digest with it, as long."""
    chosen = (hashes[i] for i in range(hashes_per_chunk - 1, n_chunks * hashes_per_chunk, hashes_per_chunk))
    return b"".join(_salted(key, salt) for key in chosen) if salt else b"".join(chosen)


def _salted(key: bytes, salt: bytes) -> bytes:
    return hashlib.sha256(b"kvasir key 1\0" + salt + key).digest()[:len(key)]


def load_slots(blocks: Sequence[int], block_size: int, chunk_tokens: int, first: int, last: int,
               begin_token: int, end_token: int, null_block: int = 0) -> array[int]:
    """The slots of chunks [first, last): the engine's block where tokens [begin_token, end_token) are to be written,
    a hole for blocks outside of it and for those that the engine does not keep (the null block of a window)."""
    n = chunk_tokens // block_size
    slots = array("q", [HOLE]) * ((last - first) * n)
    low = max(first * n, begin_token // block_size)
    high = min(last * n, end_token // block_size, len(blocks))
    for i in range(low, high):
        if blocks[i] != null_block:
            slots[i - first * n] = blocks[i]
    return slots


def save_slots(blocks: Sequence[int], block_size: int, chunk_tokens: int, chunk: int, null_block: int = 0) -> array[int] | None:
    """The slots of one chunk, or None if the engine has given up one of its blocks: then it cannot be stored."""
    n = chunk_tokens // block_size
    part = blocks[chunk * n:(chunk + 1) * n]
    if len(part) < n or null_block in part:
        return None
    return array("q", part)


def window_first(end_token: int, window: int) -> int:
    """The first token that a sliding window group needs when tokens [0, end_token) are taken as computed: the next one
    attends to itself and the `window` - 1 before it."""
    return max(0, end_token - window + 1)


def longest_match(full: int, windows: Sequence[tuple[int, int]], most: int, chunk_tokens: int, n_computed: int) -> int:
    """How many tokens, at most `most`, can be taken as computed: those that the engine has itself (n_computed), and more if
    every chunk behind them is there in full attention groups, and in window groups those that the window touches.

    full      bitmap of chunks that all full attention groups have
    windows   (bitmap, window in tokens) of each sliding window group"""
    local = n_computed // chunk_tokens
    last = local
    while last * chunk_tokens < most and full >> last & 1:
        last += 1
    for m in range(last, local, -1):
        end = min(m * chunk_tokens, most)
        if end > n_computed and all(_has_window(present, end, chunk_tokens, window, local) for present, window in windows):
            return end
    return n_computed


def _has_window(present: int, end: int, chunk_tokens: int, window: int, local: int) -> bool:
    first, last = max(window_first(end, window) // chunk_tokens, local), -(-end // chunk_tokens)
    wanted = (1 << last) - (1 << first) if first < last else 0
    return present & wanted == wanted


def bits(bitmap: bytes, n: int) -> int:
    """A bitmap, least significant bit of the first byte first, as an integer of n bits."""
    return int.from_bytes(bitmap, "little") & ((1 << n) - 1)


def gaps(present: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Runs [begin, end) of zeros of `present` within [first, last)."""
    begin = None
    for i in range(first, last):
        if present >> i & 1:
            if begin is not None:
                yield begin, i
            begin = None
        elif begin is None:
            begin = i
    if begin is not None:
        yield begin, last


@dataclass(frozen=True)
class Run:
    """Consecutive chunks of one KV group of one request, and where they are in the chain: what a get or put takes."""

    group: int  # index into the plan's groups
    first_place: int
    keys: bytes
    key_length: int
    slots: array[int]
    parent: bytes | None
    extent_first: bytes | None

    @property
    def n(self) -> int:
        return len(self.keys) // self.key_length

    def split(self, most: int) -> Iterator[Run]:
        """The same as runs of at most `most` chunks."""
        if self.n <= most:
            yield self
            return
        per_chunk = len(self.slots) // self.n
        for at in range(0, self.n, most):
            place = self.first_place + at
            yield Run(self.group, place, self.keys[at * self.key_length:(at + most) * self.key_length], self.key_length,
                      self.slots[at * per_chunk:(at + most) * per_chunk],
                      self._key(at - 1) if at else self.parent, self._extent_first(place))

    def _key(self, i: int) -> bytes:
        return self.keys[i * self.key_length:(i + 1) * self.key_length]

    def _extent_first(self, place: int) -> bytes | None:
        if place % EXTENT == 0:
            return None
        at = place // EXTENT * EXTENT - self.first_place
        return self._key(at) if at >= 0 else self.extent_first


def make_run(group: int, keys: bytes, key_length: int, first: int, slots: array[int], n: int) -> Run:
    """The run of chunks [first, first + n); `keys` are those of the request from its first chunk."""
    def key(i: int) -> bytes:
        return keys[i * key_length:(i + 1) * key_length]

    return Run(group, first, keys[first * key_length:(first + n) * key_length], key_length, slots,
               key(first - 1) if first else None, key(first // EXTENT * EXTENT) if first % EXTENT else None)
