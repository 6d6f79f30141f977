"""Keys of chunks from tokens, the same on every process, language and machine."""
from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from . import abi
from .library import check, load
from .space import Hash
from .values import Bytes, integers, key_bytes, text, u32
from .errors import InvalidError


def _hash_bytes(value: Bytes | None, name: str) -> bytes | None:
    if value is None:
        return None
    blob = key_bytes(value, name)
    if len(blob) != abi.HASH_SIZE:
        raise InvalidError(f"{name}: {len(blob)} bytes, not {abi.HASH_SIZE}")
    return blob


def keys_from_tokens(tokens: Iterable[int] | Any, tokens_per_chunk: int, *, hash: Hash = Hash.NATIVE,
                     seed: Bytes | None = None, parent: Bytes | None = None, hash_block: int = 0,
                     extra: Bytes | None = None) -> bytes:
    """The keys of the whole chunks of `tokens` (32 bytes each, one after another); b"" if there is none.

    tokens      integers, or a flat buffer of uint32 (array('I'), a NumPy array), which is not copied
    seed        native: the space's digest; vLLM: NONE_HASH (vllm_none_hash); SGLang: none
    parent      the key before tokens[0]; None: the start of a chain
    hash_block  tokens that a hash step covers; 0: tokens_per_chunk
    extra       vLLM only: canonical CBOR that stands in the first step
    Does not block. InvalidError: an argument is missing or does not fit the others.
    """
    pointer, count, keep = integers(tokens, "I", "tokens")
    extra_blob = None if extra is None else key_bytes(extra, "extra")
    per_chunk = u32(tokens_per_chunk, "tokens_per_chunk")
    n_keys = count // per_chunk if per_chunk else 0
    room = ctypes.c_size_t(n_keys)
    out = ctypes.create_string_buffer(max(1, n_keys * abi.HASH_SIZE))
    status = load().kvs_keys_from_tokens(
        u32(hash, "hash"), _hash_bytes(seed, "seed"), _hash_bytes(parent, "parent"),
        pointer if pointer is not None else b"\0\0\0\0", count, per_chunk, u32(hash_block, "hash_block"), extra_blob,
        len(extra_blob or b""), out, ctypes.byref(room))
    del keep  # the tokens had to stay until here
    check(status, "keys_from_tokens")
    return out.raw[: room.value * abi.HASH_SIZE]


def vllm_none_hash(python_hash_seed: str) -> bytes:
    """vLLM's NONE_HASH for a PYTHONHASHSEED ("0"); where it is not set, recent vLLM hashes "vllm-none-hash"."""
    out = ctypes.create_string_buffer(abi.HASH_SIZE)
    check(load().kvs_vllm_none_hash(text(python_hash_seed, "python_hash_seed"), out), "vllm_none_hash")
    return out.raw
