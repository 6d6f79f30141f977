"""Spaces: who may share bytes with whom, and the operations on their chunks."""
from __future__ import annotations

import ctypes
import dataclasses
import enum
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import abi
from .errors import InvalidError
from .library import check, load
from .values import Bytes, address_of, integers, key_bytes, keys_struct, text, u32, u64

if TYPE_CHECKING:
    from .connector import Connector
    from .memory import Memory
    from .operation import Operation


class Layout(enum.IntEnum):
    """What the bytes of a chunk are."""

    TENSORS = 1  # canonical order layer, K|V, token, head, dim
    OPAQUE = 2  # an engine's own pages


class Dtype(enum.IntEnum):
    OPAQUE = 0
    F32 = 1
    F16 = 2
    BF16 = 3
    F8_E4M3 = 4
    F8_E5M2 = 5
    I8 = 6
    GGML_Q8_0 = 7


class Hash(enum.IntEnum):
    """How keys were made."""

    OPAQUE = 0  # by the engine; Kvasir only compares them
    NATIVE = 1
    SGLANG = 2
    VLLM_SHA256_CBOR = 3


_ENUMS: dict[str, type[enum.IntEnum]] = {"layout": Layout, "key_dtype": Dtype, "value_dtype": Dtype, "hash": Hash}
_TEXTS = ("model", "revision", "engine", "isa", "layout_detail")


@dataclass(frozen=True, kw_only=True)
class SpaceDescription:
    """Everything that makes bytes differ. Equal descriptions share chunks, any difference keeps them apart.

    Texts are UTF-8 of at most 255 bytes. docs/formats/space.md explains each field.
    """

    model: str = ""
    revision: str = ""
    weights: bytes = b""  # fingerprint of 32 bytes; b"": not known
    engine: str = ""
    isa: str = ""
    layout: Layout
    key_dtype: Dtype = Dtype.OPAQUE
    value_dtype: Dtype = Dtype.OPAQUE
    layers: int = 0  # of this rank; 0 for opaque, as the three after it
    kv_heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    layout_detail: str = ""
    tokens_per_chunk: int = 256
    engine_block: int = 0
    kv_group: int = 0
    tp_rank: int = 0
    tp_size: int = 1
    pp_rank: int = 0
    pp_size: int = 1
    cp_rank: int = 0
    cp_size: int = 1
    hash: Hash = Hash.OPAQUE
    key_length: int = 32
    chunk_bytes: int = 0  # 0: varies

    def digest(self) -> bytes:
        """The 32 bytes that name the space. InvalidError and Error as <kvasir/space.h> says. Does not block."""
        out = ctypes.create_string_buffer(abi.DIGEST_SIZE)
        check(load().kvs_space_digest(ctypes.byref(self.to_abi()), out), "space")
        return out.raw

    def to_abi(self) -> abi.SpaceDesc:
        made = abi.new(abi.SpaceDesc)
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _TEXTS:
                setattr(made, name, text(value, name))
            elif name == "chunk_bytes":
                made.chunk_bytes = u64(value, name)
            elif name != "weights":
                setattr(made, name, u32(value, name))
        weights = key_bytes(self.weights, "weights")
        if len(weights) not in (0, abi.DIGEST_SIZE):
            raise InvalidError(f"weights: {len(weights)} bytes, a fingerprint has {abi.DIGEST_SIZE}")
        ctypes.memmove(made.weights, weights, len(weights))
        return made

    def to_dict(self) -> dict[str, str | int]:
        """For JSON: enums by their names in small letters, the fingerprint in hexadecimal."""
        made: dict[str, str | int] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _ENUMS:
                made[field.name] = _ENUMS[field.name](value).name.lower()
            elif field.name == "weights":
                made["weights"] = bytes(value).hex()
            else:
                made[field.name] = value
        return made

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SpaceDescription:
        """What to_dict gave. InvalidError: a field that is not known, missing or of another type, by its name."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InvalidError(f"space: no field {unknown[0]!r}; there are {', '.join(sorted(known))}")
        made: dict[str, Any] = dict(values)
        if "layout" not in made:
            raise InvalidError("space: layout is missing: tensors or opaque")
        for name, kind in _ENUMS.items():
            if name in made:
                made[name] = _enum_of(kind, made[name], name)
        try:
            made["weights"] = bytes.fromhex(made.get("weights", ""))
        except (TypeError, ValueError):
            raise InvalidError(f"weights: hexadecimal is wanted, not {made['weights']!r}") from None
        return cls(**made)


def _enum_of(kind: type[enum.IntEnum], value: Any, name: str) -> enum.IntEnum:
    try:
        return kind[value.upper()] if isinstance(value, str) else kind(value)
    except (KeyError, ValueError):
        names = ", ".join(member.name.lower() for member in kind)
        raise InvalidError(f"{name}: {value!r} is none of {names}") from None


class Space:
    """A space at a connector: made by Connector.space, lives until the connector closes.

    Keys are a bytes-like of n * key_length, in the order of their chain: `first_place` is the place of the first one in it,
    `parent` the key before it, `extent_first` the first key of the extent of 64 chunks that it is in (wanted unless
    first_place is a multiple of 64); `unchained`: each key stands alone. Nothing here blocks, save get and put on "embedded:".
    Errors of every start: InvalidError, BusyError (max_operations), SpaceMismatchError, ClosedError, ForkedError, Error.
    """

    def __init__(self, connector: Connector, description: SpaceDescription) -> None:
        self.connector = connector
        self.description = description
        self.digest = description.digest()
        made = ctypes.c_void_p()
        with connector._handle as handle:
            check(connector._library.kvs_space_open(handle, ctypes.byref(description.to_abi()), ctypes.byref(made)), "space")
        assert made.value is not None
        self.pointer = made.value

    def __repr__(self) -> str:
        return f"<kvasir.Space {self.digest.hex()[:12]} {self.description.model!r}>"

    @property
    def key_length(self) -> int:
        return self.description.key_length

    def keys(self, tokens: Iterable[int] | Any, *, parent: Bytes | None = None) -> bytes:
        """Native keys of the whole chunks of `tokens`, for spaces with Hash.NATIVE."""
        from .keys import keys_from_tokens  # it needs Hash from here

        if self.description.hash != Hash.NATIVE:
            raise InvalidError(f"keys: this space's are {Hash(self.description.hash).name}, not native")
        return keys_from_tokens(tokens, self.description.tokens_per_chunk, seed=self.digest, parent=parent)

    def lookup_tokens(self, tokens: Iterable[int] | Any, *, lease: float = 0.0, loss_max: int = 0,
                      timeout: float | None = None, user: Any = 0, present: bool = False) -> Operation | None:
        """A look-up by the tokens of one prompt from its start, for spaces with native keys. The last token is never
        counted. loss_max: how much loss is taken, 0 (none) to 15. None: the prompt holds no whole chunk before it; nothing was
        started."""
        pointer, count, keep = integers(tokens, "I", "tokens")
        start = self.connector._request(timeout, user, lease_time=lease, loss_max=loss_max)
        if present:
            start.want_present(max(1, count // max(1, self.description.tokens_per_chunk)))
        operation = start.run("lookup_tokens", lambda _, request, op: self.connector._library.kvs_lookup_tokens(
            self.pointer, pointer if pointer is not None else b"\0\0\0\0", count, request, op))
        del keep
        return operation

    def get(self, keys: Bytes, memory: Memory, slots: Any, slots_per_chunk: int, *, first_place: int = 0,
            parent: Bytes | None = None, extent_first: Bytes | None = None, unchained: bool = False, lease: int = 0,
            by_layer: bool = False, loss_max: int = 0, loss_enough: int = 0, hurry: float = 0.0,
            timeout: float | None = None, user: Any = 0, statuses: bool = False) -> Operation:
        """Chunks into registered memory. by_layer: the first layers of all chunks, then the next ones, rather than chunk after
        chunk, for wait_layer. loss_max: how much loss is taken, 0 (none) to 15. Within that, planes of coded chunks are left out:
        loss_enough: those that make a chunk better than that; hurry: those without which the chunks would not come within so many
        seconds, as fast as gets were lately. slots: n * slots_per_chunk int64 (array('q'), a
        NumPy array, or integers), those of a chunk in token order; -1: a hole, not written. What did not come whole holds any bytes."""
        return self._transfer("get", keys, memory, slots, slots_per_chunk, first_place=first_place, parent=parent,
                              extent_first=extent_first, unchained=unchained, lease=lease, by_layer=by_layer,
                              loss_max=loss_max, loss_enough=loss_enough, hurry=hurry, timeout=timeout, user=user,
                              statuses=statuses)

    def put(self, keys: Bytes, memory: Memory, slots: Any, slots_per_chunk: int, *, first_place: int = 0,
            parent: Bytes | None = None, extent_first: Bytes | None = None, unchained: bool = False,
            loss_max: int = 0, chain_chunks: int = 0, timeout: float | None = None, user: Any = 0,
            statuses: bool = False) -> Operation:
        """Chunks from registered memory, which is not to be changed until the completion. loss_max: how far a node may degrade
        them, 0 (not at all) to 15. chain_chunks: how many the whole prompt has, stored or not: by that a node may find that they
        are not worth what would have to go for them, and end them with Status.DECLINED, which is no error; 0: it stores them."""
        return self._transfer("put", keys, memory, slots, slots_per_chunk, first_place=first_place, parent=parent,
                              extent_first=extent_first, unchained=unchained, lease=0, loss_max=loss_max,
                              chain_chunks=chain_chunks, timeout=timeout, user=user, statuses=statuses)

    def _transfer(self, what: str, keys: Bytes, memory: Memory, slots: Any, slots_per_chunk: int, *, lease: int,
                  timeout: float | None, user: Any, statuses: bool, loss_max: int, by_layer: bool = False,
                  loss_enough: int = 0, hurry: float = 0.0, chain_chunks: int = 0, **chain: Any) -> Operation:
        named = keys_struct(keys, self.key_length, **chain)
        per_chunk = u32(slots_per_chunk, "slots_per_chunk")
        pointer, count, keep = integers(slots, "q", "slots")
        if count != named.n * per_chunk or count == 0:
            raise InvalidError(f"slots: {count} of them for {named.n} chunks of {per_chunk}")
        if not memory.belongs_to(self.connector._handle):
            raise InvalidError(f"{what}: the memory is one of another connector")
        start = self.connector._request(timeout, user, lease=lease, loss_max=loss_max, loss_enough=loss_enough, hurry=hurry,
                                        chain_chunks=chain_chunks)
        start.request.by_layer = 1 if by_layer else 0
        if statuses:
            start.want_statuses(named.n)
        start.operation._keep = memory
        if what == "get":
            start.operation._layers = memory.layers
        library = self.connector._library
        function = library.kvs_get if what == "get" else library.kvs_put
        operation = start.run(what, lambda _, request, op: function(
            self.pointer, ctypes.byref(named), memory.pointer, pointer, per_chunk, request, op))
        del keep  # the slots are copied by now
        assert operation is not None
        return operation

    def get_buffers(self, keys: Bytes, buffers: Sequence[Any], *, first_place: int = 0, parent: Bytes | None = None,
                    extent_first: Bytes | None = None, unchained: bool = False, lease: int = 0,
                    loss_max: int = 0, loss_enough: int = 0, hurry: float = 0.0, timeout: float | None = None, user: Any = 0,
                    statuses: bool = False) -> Operation:
        """Each chunk into a writable contiguous buffer of its own, which may be larger than the chunk. The rest as of get."""
        return self._transfer_buffers("get", keys, buffers, None, lease=lease, loss_max=loss_max, loss_enough=loss_enough,
                                      hurry=hurry, timeout=timeout, user=user, statuses=statuses, first_place=first_place, parent=parent, extent_first=extent_first,
                                      unchained=unchained)

    def put_buffers(self, keys: Bytes, buffers: Sequence[Any], *, segments: Sequence[Sequence[int]] | None = None,
                    first_place: int = 0, parent: Bytes | None = None, extent_first: Bytes | None = None,
                    unchained: bool = False, loss_max: int = 0, chain_chunks: int = 0, timeout: float | None = None,
                    user: Any = 0, statuses: bool = False) -> Operation:
        """Each chunk from a buffer of its own (bytes, or writable and contiguous), not to be changed until the
        completion. segments: for each chunk the lengths of its parts; None: one part. The rest as of put."""
        return self._transfer_buffers("put", keys, buffers, segments, lease=0, loss_max=loss_max, chain_chunks=chain_chunks, timeout=timeout, user=user,
                                      statuses=statuses, first_place=first_place, parent=parent, extent_first=extent_first,
                                      unchained=unchained)

    def _transfer_buffers(self, what: str, keys: Bytes, buffers: Sequence[Any], segments: Sequence[Sequence[int]] | None, *,
                          lease: int, loss_max: int, timeout: float | None, user: Any, statuses: bool, loss_enough: int = 0,
                          hurry: float = 0.0, chain_chunks: int = 0, **chain: Any) -> Operation:
        named = keys_struct(keys, self.key_length, **chain)
        if len(buffers) != named.n or (segments is not None and len(segments) != named.n):
            raise InvalidError(f"{what}_buffers: {len(buffers)} buffers for {named.n} chunks, with segments for each or none")
        table = (abi.Buffer * named.n)()
        keep: list[Any] = []
        for i, buffer in enumerate(buffers):
            address, length, pinned = address_of(buffer, "buffers", writable=what == "get")
            table[i].base, table[i].length = address, length
            keep.append(pinned)
            if segments is not None:
                lengths = array("I", segments[i])
                table[i].n_segments = len(lengths)
                table[i].segment_lengths = lengths.buffer_info()[0]
                keep.append(lengths)
        start = self.connector._request(timeout, user, lease=lease, loss_max=loss_max, loss_enough=loss_enough, hurry=hurry, chain_chunks=chain_chunks)
        if statuses:
            start.want_statuses(named.n)
        start.operation._keep = keep
        library = self.connector._library
        function = library.kvs_get_buffers if what == "get" else library.kvs_put_buffers
        operation = start.run(f"{what}_buffers", lambda _, request, op: function(
            self.pointer, ctypes.byref(named), table, request, op))
        assert operation is not None
        return operation

    def delete(self, keys: Bytes, *, first_place: int = 0, parent: Bytes | None = None, extent_first: Bytes | None = None,
               unchained: bool = False, timeout: float | None = None, user: Any = 0) -> Operation:
        named = keys_struct(keys, self.key_length, first_place=first_place, parent=parent, extent_first=extent_first,
                            unchained=unchained)
        operation = self.connector._request(timeout, user).run("delete", lambda _, request, op: (
            self.connector._library.kvs_delete(self.pointer, ctypes.byref(named), request, op)))
        assert operation is not None
        return operation
