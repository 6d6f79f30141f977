"""Connector: the process's door to a node, or to a store of its own."""
from __future__ import annotations

import atexit
import ctypes
import enum
import warnings
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import abi
from .errors import Error, InvalidError
from .handle import Handle
from .hints import Hint
from .library import check, load
from .memory import Memory, Region
from .operation import Completion, Operation, Pending
from .space import Space, SpaceDescription
from .status import Status
from .values import Bytes, keys_struct, milliseconds, text, u32, u64

_POLL = 64  # completions taken in one call
_STATE_TEXT = 512


class State(NamedTuple):
    """How things are: OK, or why not, and a sentence."""

    status: Status
    text: str

    @property
    def ok(self) -> bool:
        return self.status == Status.OK


class Encode(enum.IntEnum):
    """How what is put is encoded before it is sent."""

    NONE = 0
    LOSSLESS = 1
    LADDER = 2
    CACHEGEN = 3


@dataclass(frozen=True)
class Counters:
    """Since the connector was opened. <kvasir/connector.h> says what each counts."""

    lookups: int
    lookup_keys: int
    lookup_hit_keys: int
    get_chunks: int
    get_hits: int
    get_bytes: int
    put_chunks: int
    put_stored: int
    put_bytes: int
    misses: int
    deadline_exceeded: int
    canceled: int
    checksum_errors: int
    busy: int
    reconnects: int
    in_flight: int
    hints: int
    coded_chunks: int
    coded_bytes: int
    encoded_chunks: int
    encoded_raw_bytes: int
    encoded_bytes: int


class Connector:
    """Opens on "embedded:SIZE", "unix:/path" or "kvasir://host:port"; succeeds with the node down, when all is a miss at once.

    timeout         seconds, of operations that name none
    wait_connected  seconds that opening waits for a node; 0: does not wait
    max_operations  started and not yet taken; 0: 4096
    hand_over       operations are sent by a thread of the library: starting one takes microseconds, and its answer comes a wake-up
                    later
    encode          for a slow link to a "kvasir://" endpoint: puts to spaces of tensors are encoded by threads of the library, with this
                    level where a put's loss_max allows it, else without loss
    encode_planes   of Encode.LADDER; 0: 2
    encode_threads  0: 2
    encode_mib      MiB of chunks that are being encoded, and of coded ones until the node has them; 0: 256

    Thread-safe. Nothing blocks, save opening (wait_connected; "embedded:" reserves its memory), close, the waits, and on
    "embedded:" gets and puts, which copy on the calling thread. Use it as a context manager, or close it. After a fork the
    child must open its own.
    Errors: InvalidError (endpoint or options), LibraryError, Error.
    """

    def __init__(self, endpoint: str = "embedded:", *, timeout: float = 5.0, wait_connected: float = 0.0,
                 max_operations: int = 0, embedded_bytes: int = 0, tls_ca_file: str | None = None,
                 tls_cert_file: str | None = None, tls_key_file: str | None = None,
                 tls_server_name: str | None = None, hand_over: bool = False, encode: Encode = Encode.NONE,
                 encode_planes: int = 0, encode_threads: int = 0, encode_mib: int = 0,
                 token_file: str | None = None, plain_token: bool = False) -> None:
        self.endpoint = endpoint
        options = abi.new(abi.Options)
        options.endpoint = text(endpoint, "endpoint")
        self._library = load(embedded=not endpoint or endpoint.startswith("embedded"))
        options.embedded_dram_bytes = u64(embedded_bytes, "embedded_bytes")
        options.timeout_ms = milliseconds(timeout, "timeout")
        options.wait_connected_ms = milliseconds(wait_connected, "wait_connected")
        options.max_operations = u32(max_operations, "max_operations")
        options.tls_ca_file = text(tls_ca_file, "tls_ca_file")
        options.tls_cert_file = text(tls_cert_file, "tls_cert_file")
        options.tls_key_file = text(tls_key_file, "tls_key_file")
        options.tls_server_name = text(tls_server_name, "tls_server_name")
        options.hand_over = 1 if hand_over else 0
        options.encode = u32(encode, "encode")
        options.encode_planes = u32(encode_planes, "encode_planes")
        options.encode_threads = u32(encode_threads, "encode_threads")
        options.encode_mib = u32(encode_mib, "encode_mib")
        options.token_file = text(token_file, "token_file")
        options.plain_token = 1 if plain_token else 0
        made = ctypes.c_void_p()
        check(self._library.kvs_open(ctypes.byref(options), ctypes.byref(made)), f"open {endpoint!r}")
        assert made.value is not None
        self._handle = Handle(self._library, made.value)
        self._pending = Pending()
        self.fd: int = self._library.kvs_fd(made.value)  # readable while completions wait; for select, never read
        _open_connectors.add(self)

    # ---- life ----

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<kvasir.Connector {self.endpoint!r}{' closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        return self._handle.closed

    @property
    def in_flight(self) -> int:
        """Operations started here whose completion is not yet taken."""
        return len(self._pending)

    def close(self) -> None:
        """Cancels what is in flight, waits for the last touch of memory (at most 1 s), frees all. Again: nothing. In a
        forked child it only forgets."""
        if self._handle.close(self._cancel_all):
            self._pending.close()

    def _cancel_all(self, connector: int) -> None:
        """So that threads that wait for an operation come back."""
        for op in self._pending.ids():
            self._library.kvs_cancel(connector, op)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and not handle.closed:
            if not handle.forked:
                warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self)
            self.close()

    # ---- what there is ----

    def space(self, description: SpaceDescription) -> Space:
        """Opens a space; the same description gives the same space of the library. BusyError: 64 spaces."""
        return Space(self, description)

    def register(self, regions: Sequence[Region] | Iterable[Region]) -> Memory:
        """Registers memory: regions in layer order, several may share a layer. A chunk on it is, layer-major: for each
        region, for each of the chunk's slots, `size` bytes."""
        return Memory(self._handle, tuple(regions))

    def state(self) -> State:
        """Whether the node is usable now; else why not. Does not raise for a node that is not there."""
        out = ctypes.create_string_buffer(_STATE_TEXT)
        with self._handle as connector:
            status = Status(self._library.kvs_state(connector, out, _STATE_TEXT))
        return State(status, out.value.decode(errors="replace"))

    @property
    def usable(self) -> bool:
        """Whether the node is usable now: state() without the sentence, for whoever asks often."""
        with self._handle as connector:
            return self._library.kvs_state(connector, None, 0) == Status.OK

    def counters(self) -> Counters:
        made = abi.new(abi.Counters)
        with self._handle as connector:
            self._library.kvs_get_counters(connector, ctypes.byref(made))
        return Counters(*(getattr(made, name) for name in Counters.__dataclass_fields__))

    # ---- operations ----

    def lookup(self, spaces: Sequence[Space], keys: Bytes, *, lease: float = 0.0, first_place: int = 0,
               parent: Bytes | None = None, extent_first: Bytes | None = None, unchained: bool = False,
               loss_max: int = 0, timeout: float | None = None, user: Any = 0, present: bool = False) -> Operation:
        """How many leading keys are there, in all of the spaces (up to 64, of one key length): the completion's n_prefix.
        lease: seconds to hold what is found; 0: not at all. loss_max: how much loss is taken, as the get will, 0 (none) to 15.
        Up to 8192 keys."""
        if len(spaces) == 0:
            raise InvalidError("lookup: no space")
        for space in spaces:
            self._own(space)
        named = keys_struct(keys, spaces[0].key_length, first_place=first_place, parent=parent, extent_first=extent_first,
                            unchained=unchained)
        handles = (ctypes.c_void_p * len(spaces))(*(space.pointer for space in spaces))
        start = self._request(timeout, user, lease_time=lease, loss_max=loss_max)
        if present:
            start.want_present(named.n)
        operation = start.run("lookup", lambda connector, request, op: self._library.kvs_lookup(
            connector, handles, len(spaces), ctypes.byref(named), request, op))
        assert operation is not None
        return operation

    def hint(self, hint: Hint, *, space: Space | None = None, keys: Bytes | None = None, timeout: float | None = None,
             user: Any = 0) -> Operation:
        """Tells what is known of a program, or of the keys of a space. Its completion must be taken as any other's."""
        if keys is not None and space is None:
            raise InvalidError("hint: keys without a space")
        if space is not None:
            self._own(space)
        made = hint.to_abi()
        named = None
        if keys is not None and space is not None:
            named = ctypes.byref(keys_struct(keys, space.key_length))
        operation = self._request(timeout, user).run("hint", lambda connector, request, op: self._library.kvs_send_hint(
            connector, ctypes.byref(made), None if space is None else space.pointer, named, request, op))
        assert operation is not None
        return operation

    def release(self, lease: int) -> Status:
        """Ends a lease early. A node that is not there is no error: the status says so, and the lease ends by itself."""
        number = u64(lease, "lease")
        with self._handle as connector:
            status = self._library.kvs_release(connector, number)
        if not -200 < status <= -100:
            check(status, "release")
        return Status(status)

    def poll(self, most: int | None = None) -> list[Completion]:
        """Takes the completions that wait, `most` of them at most. Never blocks."""
        done: list[Completion] = []
        while most is None or len(done) < most:
            if len(self._pending) == 0:
                self._handle.refuse_forked()
                with self._handle:
                    break
            room = _POLL if most is None else min(_POLL, most - len(done))
            taken = (abi.Completion * room)()
            with self._handle as connector:
                count = self._library.kvs_poll(connector, taken, room)
                for raw in taken[:count]:
                    completion = self._pending.settle(raw)
                    if completion is not None:
                        done.append(completion)
            if count < room:
                break
        return done

    def _own(self, space: Space) -> None:
        """The library tells its own by a look into them, and those of a connector that was closed are gone."""
        if space.connector is not self:
            raise InvalidError(f"{space!r} is one of another connector")

    def _request(self, timeout: float | None, user: Any, *, lease: int = 0, lease_time: float = 0.0,
                 loss_max: int = 0, loss_enough: int = 0, hurry: float = 0.0, chain_chunks: int = 0) -> _Start:
        request = abi.new(abi.Request)
        request.timeout_ms = milliseconds(timeout, "timeout")
        request.lease = u64(lease, "lease")
        request.lease_ms = milliseconds(lease_time, "lease")
        request.loss_max = u32(loss_max, "loss_max")
        request.loss_enough = u32(loss_enough, "loss_enough")
        request.hurry_ms = milliseconds(hurry, "hurry")
        request.chain_chunks = u32(chain_chunks, "chain_chunks")
        return _Start(self._handle, self._pending, request, user)


class _Start:
    """An operation being started."""

    def __init__(self, handle: Handle, pending: Pending, request: abi.Request, user: Any) -> None:
        self.operation = Operation(handle, pending, user)
        self.request = request
        self._handle = handle
        self._pending = pending

    def want_statuses(self, n: int) -> None:
        self.operation._statuses = array("i", bytes(4 * n))
        self.request.statuses = self.operation._statuses.buffer_info()[0]

    def want_present(self, n: int) -> None:
        self.operation._present = bytearray((n + 7) // 8)
        self.request.present = ctypes.addressof(ctypes.c_char.from_buffer(self.operation._present))

    def run(self, what: str, call: Callable[[int, Any, Any], int]) -> Operation | None:
        """Calls a starter; None: it said that there is nothing to start. Raises what it refuses."""
        started = ctypes.c_uint64()
        token = self._pending.add(self.operation)
        self.request.user = token
        status: int = Status.ERR_INTERNAL
        try:
            with self._handle as connector:
                status = call(connector, ctypes.byref(self.request), ctypes.byref(started))
        finally:
            self.operation.id = started.value
            # Not by the status: an exception (Ctrl-C) may have come between the start and its note, and the library writes.
            if self.operation.id == 0:
                self._pending.remove(token)
        check(status, what)
        if status != Status.OK:
            return None
        return self.operation


_open_connectors: weakref.WeakSet[Connector] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter takes modules and buffers away, which the library may still write."""
    faults: list[Error] = []
    for connector in list(_open_connectors):
        try:
            connector.close()
        except Error as fault:  # one that a call is in the middle of; the others close all the same
            faults.append(fault)
    if faults:
        raise faults[0]
