"""What the tests of the binding share: spaces, keys, memory, and a kvasird of their own.

KVASIR_LIBRARY names the library, KVASIR_NODE the program kvasird; tests that need a node are skipped without it.
"""
from __future__ import annotations

import faulthandler
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from array import array
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3]
PACKAGE = SOURCE / "connector/vllm"
if str(PACKAGE) not in sys.path:
    sys.path.insert(0, str(PACKAGE))

import kvasir  # noqa: E402  (found by the line above)

NODE = os.environ.get("KVASIR_NODE", "")
START_SECONDS = 20.0
WAIT = 20.0  # of waits that a sound store ends at once
GRACE = 1.25  # after a deadline, on a machine that others load

_names = itertools.count()


def main() -> None:
    """Runs a module's tests; a hang shows its stacks."""
    faulthandler.dump_traceback_later(250, exit=True)
    unittest.main(verbosity=2)


class Node:
    """A kvasird on a unix socket, in a folder of its own."""

    def __init__(self, *, dram: str = "64MiB") -> None:
        self.folder = tempfile.mkdtemp(prefix="kvasir-binding-")
        self.socket = os.path.join(self.folder, "node.sock")
        self.endpoint = f"unix:{self.socket}"
        self._dram = dram
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Node:
        notify_path = os.path.join(self.folder, "notify")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KVASIR_")}
        environment["NOTIFY_SOCKET"] = notify_path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self._log, "w") as log:
            notify.bind(notify_path)
            notify.settimeout(START_SECONDS)
            self._process = subprocess.Popen(
                [NODE, "--listen=127.0.0.1:0", f"--unix_socket={self.socket}", "--admin.listen=127.0.0.1:0",
                 f"--dram.size={self._dram}", "--drain_timeout=1s"], stdout=log, stderr=log, env=environment)
            try:
                said = notify.recv(256)
            except TimeoutError:
                raise AssertionError(f"kvasird is not ready in time:\n{self.log()}") from None
            assert said == b"READY=1", said
        os.unlink(notify_path)
        return self

    @property
    def _log(self) -> str:
        return os.path.join(self.folder, "log")

    def log(self) -> str:
        return Path(self._log).read_text(errors="replace")

    def pause(self) -> None:
        """Stops it. The signal takes effect thread by thread, so waits until all of them stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        assert until(lambda: all(_task_state(task) == "T" for task in tasks.iterdir())), "kvasird does not stop"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # a stopped one would not be reaped
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _task_state(task: Path) -> str:
    """One letter; the name before it is in brackets and may hold anything."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def is_blocked(thread: threading.Thread) -> bool:
    """Whether it sleeps, in a wait of its own or for a moment for the interpreter's lock."""
    return _task_state(Path(f"/proc/self/task/{thread.native_id}")) == "S"


def until(condition: Callable[[], object], seconds: float = WAIT) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def description(**changes: object) -> kvasir.SpaceDescription:
    """A space of its own for each call: tests on one node do not meet. Chunks of `chunk_bytes` 96 unless changed."""
    values: dict = {"model": f"test-{os.getpid()}-{next(_names)}", "engine": "test", "layout": kvasir.Layout.OPAQUE,
                    "hash": kvasir.Hash.OPAQUE, "tokens_per_chunk": 4, "key_length": 16, "chunk_bytes": 96}
    values.update(changes)
    return kvasir.SpaceDescription(**values)


def keys(n: int, seed: str = "k", length: int = 16) -> bytes:
    """n keys, the same for the same seed."""
    import hashlib

    return b"".join(hashlib.shake_128(f"{seed}/{i}".encode()).digest(length) for i in range(n))


class Paged:
    """A KV cache of two layers in pages: layer 0 of 32 bytes in rows of 48 (a gap after each), layer 1 of 16 without
    gaps. Two pages are a chunk of 96 bytes."""

    SLOTS = 16
    CHUNK = 96
    PER_CHUNK = 2

    def __init__(self, connector: kvasir.Connector, fill: bytes | None = None) -> None:
        size = 48 * self.SLOTS
        self.rows = bytearray(fill * size if fill is not None else os.urandom(size))
        self.plain = bytearray(fill * 16 * self.SLOTS if fill is not None else os.urandom(16 * self.SLOTS))
        self.memory = connector.register([
            kvasir.Region.of(self.rows, 32, stride=48, layer=0),
            kvasir.Region.of(self.plain, 16, layer=1),
        ])

    def page(self, slot: int) -> bytes:
        return bytes(self.rows[48 * slot:48 * slot + 32]) + bytes(self.plain[16 * slot:16 * slot + 16])

    def gap(self, slot: int) -> bytes:
        return bytes(self.rows[48 * slot + 32:48 * slot + 48])


def slots(*numbers: int) -> array:
    return array("q", numbers)


class EmbeddedTest(unittest.TestCase):
    """Each test has a connector on an embedded store."""

    def setUp(self) -> None:
        self.connector = self.connect()

    def connect(self, **options: object) -> kvasir.Connector:
        connector = kvasir.Connector("embedded:16MiB", **options)  # type: ignore[arg-type]
        self.addCleanup(connector.close)
        return connector


@unittest.skipUnless(NODE, "KVASIR_NODE does not name a kvasird")
class NodeTest(unittest.TestCase):
    """Each test class has a kvasird, each test a connector on it."""

    node: Node

    @classmethod
    def setUpClass(cls) -> None:
        cls.node = Node()
        cls.addClassCleanup(cls.node.close)
        cls.node.start()

    def setUp(self) -> None:
        self.connector = self.connect()

    def connect(self, **options: object) -> kvasir.Connector:
        connector = kvasir.Connector(self.node.endpoint, wait_connected=START_SECONDS, **options)  # type: ignore[arg-type]
        self.addCleanup(connector.close)
        return connector
