"""kvasir: the Kvasir store for KV caches, from Python.

A thin typed face of libkvasir-connector by ctypes, with nothing but the standard library: open a Connector, open a Space,
register memory, then look up, get and put chunks by key. Payload is never copied, and the GIL is free during every call that may wait.
Times are seconds. Failures of the store are misses; only wrong use raises.
"""
from .connector import Connector, Counters, Encode, State
from .errors import (
    BusyError,
    ClosedError,
    DeadlineError,
    Error,
    ForkedError,
    InvalidError,
    LibraryError,
    SpaceMismatchError,
)
from .hints import Hint, HintOutcome, WaitKind
from .keys import keys_from_tokens, vllm_none_hash
from .library import library_version
from .memory import Memory, Region
from .operation import Completion, Operation
from .space import Dtype, Hash, Layout, Space, SpaceDescription
from .status import Cause, Status
from .version import __version__

__all__ = [
    "BusyError", "Cause", "ClosedError", "Completion", "Connector", "Counters", "DeadlineError", "Dtype", "Encode", "Error",
    "ForkedError", "Hash", "Hint", "HintOutcome", "InvalidError", "Layout", "LibraryError", "Memory", "Operation", "Region",
    "Space", "SpaceDescription", "SpaceMismatchError", "State", "Status", "WaitKind", "__version__", "keys_from_tokens", "library_version",
    "vllm_none_hash",
]
