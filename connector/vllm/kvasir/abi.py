"""The C interface as ctypes sees it: structs, opaque handles and prototypes of <kvasir/connector.h>.

A struct's fields stand in the header's order under the header's names; a test compares every offset with what the C
compiler says.
"""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import TypeVar

from .version import __version__

VERSION = tuple(int(part) for part in __version__.split("."))  # of the headers that this package was written for
SONAME = f"libkvasir-connector.so.{VERSION[0]}"
DIGEST_SIZE = 32
HASH_SIZE = 32

_Struct = TypeVar("_Struct", bound=ctypes.Structure)

status_t = c_int32  # enums of the headers are ints of 32 bits


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("endpoint", c_char_p),
        ("embedded_dram_bytes", c_uint64),
        ("timeout_ms", c_uint32),
        ("wait_connected_ms", c_uint32),
        ("max_operations", c_uint32),
        ("tls_ca_file", c_char_p),
        ("tls_cert_file", c_char_p),
        ("tls_key_file", c_char_p),
        ("tls_server_name", c_char_p),
        ("hand_over", c_uint32),
        ("reserved", c_uint32),
        ("encode", c_uint32),
        ("encode_planes", c_uint32),
        ("encode_threads", c_uint32),
        ("encode_mib", c_uint32),
        ("token_file", c_char_p),
        ("plain_token", c_uint32),
        ("reserved_more", c_uint32),
    ]


class SpaceDesc(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("model", c_char_p),
        ("revision", c_char_p),
        ("weights", c_uint8 * DIGEST_SIZE),
        ("engine", c_char_p),
        ("isa", c_char_p),
        ("layout", c_int32),
        ("key_dtype", c_int32),
        ("value_dtype", c_int32),
        ("layers", c_uint32),
        ("kv_heads", c_uint32),
        ("key_dim", c_uint32),
        ("value_dim", c_uint32),
        ("layout_detail", c_char_p),
        ("tokens_per_chunk", c_uint32),
        ("engine_block", c_uint32),
        ("kv_group", c_uint32),
        ("tp_rank", c_uint32),
        ("tp_size", c_uint32),
        ("pp_rank", c_uint32),
        ("pp_size", c_uint32),
        ("cp_rank", c_uint32),
        ("cp_size", c_uint32),
        ("hash", c_int32),
        ("key_length", c_uint32),
        ("chunk_bytes", c_uint64),
    ]


class Region(ctypes.Structure):
    _fields_ = [
        ("base", c_void_p),
        ("size", c_uint64),
        ("stride", c_uint64),
        ("n_slots", c_uint32),
        ("layer", c_uint32),
    ]


class Keys(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n", c_uint32),
        ("keys", c_char_p),
        ("first_place", c_uint32),
        ("unchained", c_uint32),
        ("parent", c_char_p),
        ("extent_first", c_char_p),
    ]


class Request(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("timeout_ms", c_uint32),
        ("user", c_uint64),
        ("lease", c_uint64),
        ("lease_ms", c_uint32),
        ("statuses", c_void_p),
        ("present", c_void_p),
        ("by_layer", c_uint32),
        ("reserved", c_uint32),
        ("loss_max", c_uint32),
        ("reserved_2", c_uint32),
        ("loss_enough", c_uint32),
        ("hurry_ms", c_uint32),
        ("chain_chunks", c_uint32),
        ("reserved_3", c_uint32),
    ]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("base", c_void_p),
        ("length", c_uint64),
        ("n_segments", c_uint32),
        ("segment_lengths", c_void_p),
    ]


class Completion(ctypes.Structure):
    _fields_ = [
        ("op", c_uint64),
        ("user", c_uint64),
        ("status", c_int32),
        ("n", c_uint32),
        ("n_ok", c_uint32),
        ("n_prefix", c_uint32),
        ("cause", c_uint32),
        ("bytes", c_uint64),
        ("elapsed_ns", c_uint64),
        ("lease", c_uint64),
        ("lease_ms", c_uint32),
        ("n_worth", c_uint32),
        ("fetch_us", c_uint64),
        ("compute_us", c_uint64),
        ("worth_us", c_uint64),
    ]


class Hint(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("program", c_char_p),
        ("parent_program", c_char_p),
        ("turn", c_uint32),
        ("wait", c_int32),
        ("tool", c_char_p),
        ("return_p50_ms", c_uint32),
        ("return_p90_ms", c_uint32),
        ("close", c_uint32),
        ("priority", c_uint32),
        ("ttl_ms", c_uint32),
        ("has_priority", c_uint32),
        ("prefill_tokens", c_uint32),
        ("prefill_from", c_uint32),
        ("prefill_us", c_uint64),
        ("range_tokens", c_uint32),
        ("reserved", c_uint32),
    ]


class Counters(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32)] + [
        (name, c_uint64)
        for name in (
            "lookups", "lookup_keys", "lookup_hit_keys", "get_chunks", "get_hits", "get_bytes", "put_chunks",
            "put_stored", "put_bytes", "misses", "deadline_exceeded", "canceled", "checksum_errors", "busy",
            "reconnects", "in_flight", "hints", "coded_chunks", "coded_bytes",
            "encoded_chunks", "encoded_raw_bytes", "encoded_bytes",
        )
    ]


# The C struct of each class, for the test of the layout.
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "kvs_options": Options,
    "kvs_space_desc": SpaceDesc,
    "kvs_region": Region,
    "kvs_keys": Keys,
    "kvs_request": Request,
    "kvs_buffer": Buffer,
    "kvs_completion": Completion,
    "kvs_hint": Hint,
    "kvs_counters": Counters,
}

# Handles are void pointers; op_p and the like are pointers to what is written. Bytes-like inputs are void pointers too,
# since c_void_p takes a bytes object as well as an address.
_PROTOTYPES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "kvs_version": (c_uint32, ()),
    "kvs_status_text": (c_char_p, (status_t,)),
    "kvs_status_name": (c_char_p, (status_t,)),
    "kvs_open": (status_t, (POINTER(Options), POINTER(c_void_p))),
    "kvs_close": (None, (c_void_p,)),
    "kvs_state": (status_t, (c_void_p, c_char_p, c_size_t)),
    "kvs_space_open": (status_t, (c_void_p, POINTER(SpaceDesc), POINTER(c_void_p))),
    "kvs_space_digest": (status_t, (POINTER(SpaceDesc), c_char_p)),
    "kvs_memory_register": (status_t, (c_void_p, POINTER(Region), c_size_t, POINTER(c_void_p))),
    "kvs_memory_unregister": (status_t, (c_void_p,)),
    "kvs_lookup": (status_t, (c_void_p, POINTER(c_void_p), c_uint32, POINTER(Keys), POINTER(Request), POINTER(c_uint64))),
    "kvs_lookup_tokens": (status_t, (c_void_p, c_void_p, c_size_t, POINTER(Request), POINTER(c_uint64))),
    "kvs_get": (status_t, (c_void_p, POINTER(Keys), c_void_p, c_void_p, c_uint32, POINTER(Request), POINTER(c_uint64))),
    "kvs_put": (status_t, (c_void_p, POINTER(Keys), c_void_p, c_void_p, c_uint32, POINTER(Request), POINTER(c_uint64))),
    "kvs_get_buffers": (status_t, (c_void_p, POINTER(Keys), POINTER(Buffer), POINTER(Request), POINTER(c_uint64))),
    "kvs_put_buffers": (status_t, (c_void_p, POINTER(Keys), POINTER(Buffer), POINTER(Request), POINTER(c_uint64))),
    "kvs_delete": (status_t, (c_void_p, POINTER(Keys), POINTER(Request), POINTER(c_uint64))),
    "kvs_release": (status_t, (c_void_p, c_uint64)),
    "kvs_cancel": (status_t, (c_void_p, c_uint64)),
    "kvs_fd": (c_int, (c_void_p,)),
    "kvs_poll": (c_size_t, (c_void_p, POINTER(Completion), c_size_t)),
    "kvs_wait": (status_t, (c_void_p, c_uint64, c_uint32, POINTER(Completion))),
    "kvs_wait_layer": (status_t, (c_void_p, c_uint64, c_uint32, c_uint32)),
    "kvs_send_hint": (status_t, (c_void_p, POINTER(Hint), c_void_p, POINTER(Keys), POINTER(Request), POINTER(c_uint64))),
    "kvs_get_counters": (None, (c_void_p, POINTER(Counters))),
    "kvs_keys_from_tokens": (
        status_t,
        (c_int32, c_char_p, c_char_p, c_void_p, c_size_t, c_uint32, c_uint32, c_char_p, c_size_t, c_void_p,
         POINTER(c_size_t)),
    ),
    "kvs_vllm_none_hash": (status_t, (c_char_p, c_char_p)),
}


# What returns at once, always. It is called with the GIL held: whoever lets it go for microseconds may have to wait for another
# thread to give it back, which CPython makes that thread do after 5 ms.
_AT_ONCE = ("kvs_state", "kvs_lookup", "kvs_release", "kvs_cancel", "kvs_poll", "kvs_send_hint", "kvs_get_counters")
# What does so but on "embedded:", where it copies.
_COPIES_IF_EMBEDDED = ("kvs_get", "kvs_put", "kvs_get_buffers", "kvs_put_buffers")


def declare(library: ctypes.CDLL) -> None:
    """Gives every function its prototype. AttributeError names one that the library lacks."""
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


def hold_gil(library: ctypes.CDLL, holding: ctypes.PyDLL, *, embedded: bool) -> None:
    """Puts functions of `holding`, the same library, in the place of those that return at once."""
    for name in _AT_ONCE if embedded else _AT_ONCE + _COPIES_IF_EMBEDDED:
        function = getattr(holding, name)
        function.restype, function.argtypes = _PROTOTYPES[name]
        setattr(library, name, function)


def new(struct: type[_Struct]) -> _Struct:
    """A zeroed struct with its struct_size."""
    made = struct()
    setattr(made, "struct_size", ctypes.sizeof(struct))
    return made
