"""Operations under way and what they end with."""
from __future__ import annotations

import ctypes
import threading
import time
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from . import abi
from .errors import ClosedError, DeadlineError, InvalidError
from .hints import HintOutcome
from .library import check
from .status import Cause, Status
from .values import milliseconds, u32

if TYPE_CHECKING:
    from .handle import Handle

# One wait inside the library is at most so long: Python's signal handlers (Ctrl-C) run only in between.
_SLICE = 0.5
# Between the library's giving a completion out and its being told to others lie a few instructions of another thread.
_HANDOVER = 5.0


class Completion(NamedTuple):
    """What an operation ended with. Seconds are floats."""

    op: Operation
    user: Any
    status: Status  # OK, PARTIAL, MISS, or an error: never raised
    n: int  # chunks or keys asked
    n_ok: int  # in place (get), stored (put), present (look-up), deleted
    n_prefix: int  # leading ones
    cause: Cause  # of the first miss
    bytes: int
    elapsed: float
    lease: int  # look-up: 0 = none
    lease_time: float
    fetch_time: float  # look-up: predicted time to fetch the prefix
    compute_time: float  # look-up: to compute it; 0: not known
    n_worth: int  # look-up: leading chunks to load, the rest computed, so that all is there soonest; not known: n_prefix
    worth_time: float  # look-up: predicted time until it is, then; 0: not known
    statuses: tuple[Status, ...] | None  # of each chunk, if asked for
    present: Any  # bytes: bitmap, least significant bit first, if asked for

    def is_present(self, index: int) -> bool:
        """Whether key `index` of a look-up with present=True was there."""
        if self.present is None or not 0 <= index < self.n:
            raise InvalidError(f"present: no answer for key {index}")
        return bool(self.present[index // 8] >> index % 8 & 1)

    @property
    def outcome(self) -> HintOutcome:
        """What the node made of a hint."""
        return HintOutcome(self.n_ok)


class Operation:
    """One operation under way. Its memory is in use until its completion is taken, by `wait` or by Connector.poll.

    Thread-safe: one thread may wait while another polls; whoever takes the completion, both see it.
    """

    __slots__ = ("id", "user", "_handle", "_pending", "_keep", "_statuses", "_present", "_layers", "_result", "__weakref__")

    def __init__(self, handle: Handle, pending: Pending, user: Any) -> None:
        self.id = 0  # the library's number
        self.user = user
        self._handle = handle
        self._pending = pending
        self._keep: Any = None  # what the library may touch until the end
        self._statuses: array[int] | None = None
        self._present: bytearray | None = None
        self._layers: frozenset[int] | None = None  # a get into registered memory: its layers
        self._result: tuple[Any, ...] | None = None  # Completion without op, which would be a cycle

    def __repr__(self) -> str:
        return f"<kvasir.Operation {self.id:#x} {'taken' if self.done else 'under way'}>"

    @property
    def done(self) -> bool:
        """Whether the completion was taken. To find out whether there is one to take: wait(0) or Connector.poll."""
        return self._result is not None

    @property
    def completion(self) -> Completion | None:
        """What was taken, by whoever; None before."""
        result = self._result
        return None if result is None else Completion(self, *result)

    def wait(self, timeout: float | None = None) -> Completion:
        """Waits at most `timeout` seconds (None: to the end, which the operation's own deadline brings) and takes the
        completion; again gives the same. DeadlineError: still under way. ClosedError: the connector was closed first."""
        until = None if timeout is None else time.monotonic() + milliseconds(timeout, "timeout") / 1000
        raw = abi.Completion()
        while self._result is None:
            left = _SLICE if until is None else max(0.0, until - time.monotonic())
            with self._handle as connector:
                status = self._handle.library.kvs_wait(connector, self.id, milliseconds(min(left, _SLICE), "timeout"),
                                                       ctypes.byref(raw))
                if status == Status.OK:
                    self._pending.settle(raw)
                    break
            if status == Status.ERR_INVALID:
                self._pending.wait_settled(self, _HANDOVER)  # another thread has taken it and is about to say so
            elif status != Status.ERR_DEADLINE:
                check(status, "wait")
            elif until is not None and time.monotonic() >= until:
                raise DeadlineError("wait: the operation is still under way")
        done = self.completion
        assert done is not None
        return done

    def wait_layer(self, layer: int, timeout: float | None = None) -> Status:
        """Waits until the bytes of a layer, and all before it, of every chunk of a get are verified and in place.

        OK, or MISS: they will not come. DeadlineError: not yet. InvalidError: not a get into registered memory, no such
        layer. None: waits to the operation's end.
        """
        if self._layers is None or u32(layer, "layer") not in self._layers:
            raise InvalidError(f"wait_layer: no get into memory with a layer {layer}")
        until = None if timeout is None else time.monotonic() + milliseconds(timeout, "timeout") / 1000
        while self._result is None:
            left = _SLICE if until is None else max(0.0, until - time.monotonic())
            with self._handle as connector:
                status = self._handle.library.kvs_wait_layer(connector, self.id, layer,
                                                             milliseconds(min(left, _SLICE), "timeout"))
            if status >= 0:
                return Status(status)
            if status == Status.ERR_INVALID:
                self._pending.wait_settled(self, _HANDOVER)
            elif status != Status.ERR_DEADLINE:
                check(status, "wait_layer")
            elif until is not None and time.monotonic() >= until:
                raise DeadlineError(f"wait_layer: layer {layer} is not there yet")
        done = self.completion
        assert done is not None
        return Status.OK if done.n_prefix == done.n else Status.MISS

    def cancel(self) -> None:
        """Ends the operation soon; its memory is in use until its completion is taken. Nothing happens if that was."""
        if self._result is not None:
            return
        with self._handle as connector:
            status = self._handle.library.kvs_cancel(connector, self.id)
        if status != Status.ERR_INVALID:  # another thread has just taken it
            check(status, "cancel")


class Pending:
    """Operations started and not yet taken, by a number of our own that travels as the library's user value: a thread
    that polls may see the completion before the starter knows the operation's number. Keeps alive what the library
    may still write. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._operations: dict[int, Operation] = {}
        self._last = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._operations)

    def add(self, operation: Operation) -> int:
        with self._changed:
            self._last += 1
            self._operations[self._last] = operation
            return self._last

    def remove(self, token: int) -> None:
        """It was never started."""
        with self._changed:
            self._operations.pop(token, None)

    def settle(self, raw: abi.Completion) -> Completion | None:
        """Notes what the library said; None: not one of ours."""
        with self._changed:
            operation = self._operations.pop(raw.user, None)
            if operation is None:
                return None
            operation.id = raw.op
            operation._result = _result(operation, raw)
            operation._keep = operation._statuses = operation._present = None
            self._changed.notify_all()
            return operation.completion

    def wait_settled(self, operation: Operation, seconds: float) -> None:
        """Waits until another thread has noted the completion. ClosedError: nobody will. InvalidError: nobody did."""
        with self._changed:
            told = self._changed.wait_for(lambda: operation._result is not None or self._closed, seconds)
            if operation._result is not None:
                return
        if self._closed:
            raise ClosedError("the connector was closed while the operation was under way")
        assert not told
        raise InvalidError("the library does not know the operation")

    def ids(self) -> list[int]:
        with self._changed:
            return [operation.id for operation in self._operations.values() if operation.id != 0]

    def close(self) -> None:
        """After the connector's end, when nobody writes any more."""
        with self._changed:
            self._closed = True
            for operation in self._operations.values():
                operation._keep = None
            self._operations.clear()
            self._changed.notify_all()


def _result(operation: Operation, raw: abi.Completion) -> tuple[Any, ...]:
    statuses = operation._statuses
    return (operation.user, Status(raw.status), raw.n, raw.n_ok, raw.n_prefix, Cause(raw.cause), raw.bytes,
            raw.elapsed_ns / 1e9, raw.lease, raw.lease_ms / 1e3, raw.fetch_us / 1e6,
            raw.compute_us / 1e6, raw.n_worth, raw.worth_us / 1e6,
            None if statuses is None else tuple(map(Status, statuses)),
            None if operation._present is None else bytes(operation._present))
