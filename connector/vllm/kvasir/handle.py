"""The C connector behind the object: refuses use after close and after fork, and lets close wait for calls under way."""
from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

from .errors import BusyError, ClosedError, ForkedError

# Calls that block end soon once they are interrupted: the library promises 250 ms.
CLOSE_SECONDS = 10.0


class Handle:
    """`with handle as pointer:` surrounds every call into the library. Thread-safe.

    The lock is one that its holder may take again: a signal handler or the garbage collector may call in the middle.
    """

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self.library = library
        self._pointer: int | None = pointer
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._calls = 0
        self._closing = False

    def __enter__(self) -> int:
        self.refuse_forked()  # before the lock, which another thread may have held when the process forked
        with self._changed:
            if self._pointer is None or self._closing:
                raise ClosedError("the connector is closed")
            self._calls += 1
            return self._pointer

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._calls -= 1
            if self._closing and self._calls == 0:
                self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._pointer is None or self._closing

    def refuse_forked(self) -> None:
        if self.forked:
            raise ForkedError("the connector was opened before a fork: open one in the child")

    @property
    def forked(self) -> bool:
        return os.getpid() != self._pid

    def close(self, interrupt: Callable[[int], None]) -> bool:
        """Frees the connector once no call is under way; `interrupt` makes those that block end soon. False: it was
        closed already, or belongs to the process that forked this one. BusyError: a call does not end, most likely
        since this one comes from a signal handler in the middle of it; the connector stays open."""
        if self.forked:
            self._pointer = None
            return False
        with self._changed:
            if self._pointer is None or self._closing:
                return False
            self._closing = True
            pointer = self._pointer
        try:
            interrupt(pointer)
            with self._changed:
                if not self._changed.wait_for(lambda: self._calls == 0, CLOSE_SECONDS):
                    raise BusyError("close: a call is still under way")
                self._pointer = None
        except BaseException:
            self._closing = False
            raise
        self.library.kvs_close(pointer)
        return True
