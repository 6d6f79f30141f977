"""The engine's memory, told to the library once: where each layer's part of each slot lies."""
from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import abi
from .errors import ClosedError, Error, InvalidError
from .library import check
from .values import address_of, u32, u64

if TYPE_CHECKING:
    from .handle import Handle


@dataclass(frozen=True)
class Region:
    """The same part of every slot: bytes of slot i are [base + stride * i, + size). Addresses and bytes."""

    base: int
    size: int
    stride: int
    slots: int
    layer: int = 0
    owner: Any = None  # kept alive while the region is registered; None: the caller sees to it

    @classmethod
    def of(cls, buffer: Any, size: int, *, stride: int | None = None, slots: int | None = None, layer: int = 0,
           offset: int = 0) -> Region:
        """A region of a writable contiguous buffer (bytearray, array, NumPy array, shared memory), which it keeps alive.

        stride: by default `size`; slots: by default as many as fit behind `offset`. InvalidError: they do not fit.
        """
        address, length, pinned = address_of(buffer, "region", writable=True)
        step = size if stride is None else stride
        room = length - offset
        if size < 1 or step < size or not 0 <= offset <= length:
            raise InvalidError(f"region: size {size}, stride {step}, offset {offset} in {length} bytes")
        fit = (room - size) // step + 1 if room >= size else 0
        count = fit if slots is None else slots
        if not 1 <= count <= fit:
            raise InvalidError(f"region: {count} slots of {size} bytes, {step} apart, in {room} bytes")
        return cls(address + offset, size, step, count, layer, pinned)


class Memory:
    """Registered regions: made by Connector.register. The memory itself stays the engine's, and must outlive this."""

    def __init__(self, handle: Handle, regions: Sequence[Region]) -> None:
        self.regions = tuple(regions)
        self.layers = frozenset(region.layer for region in self.regions)
        self._handle = handle
        self._pointer: int | None = None
        table = (abi.Region * len(self.regions))()
        for to, region in zip(table, self.regions):
            to.base = u64(region.base, "region.base")
            to.size = u64(region.size, "region.size")
            to.stride = u64(region.stride, "region.stride")
            to.n_slots = u32(region.slots, "region.slots")
            to.layer = u32(region.layer, "region.layer")
        made = ctypes.c_void_p()
        with handle as connector:
            check(handle.library.kvs_memory_register(connector, table, len(self.regions), ctypes.byref(made)), "register")
        self._pointer = made.value

    @property
    def pointer(self) -> int:
        """For calls into the library. ClosedError after unregister."""
        if self._pointer is None:
            raise ClosedError("the memory is not registered any more")
        return self._pointer

    def belongs_to(self, handle: Handle) -> bool:
        """Whether it was registered there. One of a connector that was closed must not reach the library."""
        return self._handle is handle

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot over all regions."""
        return sum(region.size for region in self.regions)

    def unregister(self) -> None:
        """Ends the registration; a second time does nothing. BusyError while operations use it, or their completions are
        not taken: nothing happens then."""
        if self._pointer is None:
            return
        with self._handle:
            pointer, self._pointer = self._pointer, None
            if pointer is None:
                return
            status = self._handle.library.kvs_memory_unregister(pointer)
            if status < 0:
                self._pointer = pointer
            check(status, "unregister")

    def __del__(self) -> None:
        try:
            if getattr(self, "_pointer", None) is not None and not self._handle.closed:
                self.unregister()
        except Error:
            pass  # what is left ends with the connector
