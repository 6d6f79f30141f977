"""What a call raises. The status of a completion never raises: it is an answer."""
from __future__ import annotations

from .status import Status


class Error(Exception):
    """A call was refused. `status` says why; the text names the call and the library's sentence."""

    status: Status = Status.ERR_INTERNAL

    def __init__(self, what: str, status: Status | None = None) -> None:
        if status is not None:
            self.status = status
        super().__init__(what)


class InvalidError(Error, ValueError):
    """An argument breaks the written contract, or the operation is not known."""

    status = Status.ERR_INVALID


class BusyError(Error):
    """A bound is reached (operations, spaces, memory in use): try again later."""

    status = Status.ERR_BUSY


class DeadlineError(Error, TimeoutError):
    """A wait's own time is over; what it waited for goes on."""

    status = Status.ERR_DEADLINE


class ClosedError(Error):
    """The connector, or the memory, was closed."""

    status = Status.ERR_CLOSED


class ForkedError(Error):
    """The connector was opened before a fork and is used in the child: open one there."""

    status = Status.ERR_FORKED


class SpaceMismatchError(Error):
    """The bytes of a chunk are not the space's `chunk_bytes`."""

    status = Status.ERR_SPACE_MISMATCH


class LibraryError(Error, ImportError):
    """libkvasir-connector was not found, or is one of another version."""

    status = Status.ERR_VERSION


_CLASSES: dict[int, type[Error]] = {
    cls.status: cls for cls in (InvalidError, BusyError, DeadlineError, ClosedError, ForkedError, SpaceMismatchError)
}


def error_of(status: int, what: str, text: str = "") -> Error:
    """The exception for a negative status; `what` names the call, `text` is the library's sentence."""
    value = Status(status)
    message = f"{what}: {value.name}" + (f": {text}" if text else "")
    return _CLASSES.get(value, Error)(message, value)
