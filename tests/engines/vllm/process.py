"""Starts engine.py, talks to it, and takes it away again with all of its processes and what they left in /dev/shm.

Every wait has a deadline; an engine that does not answer in time, or ends, is an AssertionError with the end of its log.
"""
from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
PYTHON = os.environ.get("KVASIR_VLLM_PYTHON", sys.executable)
START_SECONDS = 240.0
ANSWER_SECONDS = 180.0
EXIT_SECONDS = 20.0
HELD_SECONDS = 30.0


def session_of(pid: int) -> list[int]:
    """Processes of the session that pid leads."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == pid:
                    found.append(int(entry))
            except OSError:
                continue
    return found


def shared_memory_of(pids: list[int]) -> set[str]:
    """Files of /dev/shm that these processes map."""
    found: set[str] = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/maps") as maps:
                found.update(re.findall(r"(/dev/shm/\S+)", maps.read()))
        except OSError:
            continue
    return found


class Engine:
    """A running engine. Arguments as engine.py's first command; environment: more variables for its processes;
    folders: more entries for its PYTHONPATH."""

    def __init__(self, engine: dict[str, Any], connector: dict[str, Any] | None = None,
                 environment: dict[str, str] | None = None, folders: tuple[str, ...] = (), python: str = PYTHON) -> None:
        self.log_path = tempfile.mkstemp(prefix="kvasir-vllm-", suffix=".log")[1]
        path = [HERE, os.path.join(TOP, "connector", "vllm"), *folders]
        env = {**os.environ, "PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
               "VLLM_LOGGING_LEVEL": "INFO", **(environment or {})}
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen([python, os.path.join(HERE, "engine.py")], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, env=env, start_new_session=True)
        self.buffer = b""
        self.pids: list[int] = []
        self.shared: set[str] = set()
        self._send({"engine": engine, "connector": connector})

    # ---- talking ----

    def _send(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError("the engine ended:\n" + self.tail()) from None

    def receive(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"no answer of the engine within {seconds} s:\n" + self.tail())
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            if not data:
                raise AssertionError("the engine ended:\n" + self.tail())
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def wait_ready(self, seconds: float = START_SECONDS) -> "Engine":
        if not self.pids:
            self.pids = self.receive(seconds)["pids"]
            self.shared = shared_memory_of(session_of(self.process.pid))
        return self

    def start_run(self, requests: list[dict[str, Any]], concurrent: bool = False, brief: bool = False) -> None:
        """Hands requests over and does not wait; receive() has the answer."""
        self._send({"do": "run", "requests": requests, "concurrent": concurrent, "brief": brief})

    def run(self, requests: list[dict[str, Any]], concurrent: bool = False, brief: bool = False,
            seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        self.start_run(requests, concurrent, brief)
        return self.receive(seconds)["results"]

    def ask(self, what: str) -> Any:
        """The answer of a command without arguments."""
        self._send({"do": what})
        return self.receive()[what]

    def reset(self, connector: bool = False) -> None:
        """Forgets the engine's own prefix cache; connector: also what the connector keeps in the engine's memory. vLLM refuses while
        blocks are in use: those of a request that has ended may be held until they are saved, but not for long."""
        deadline = time.monotonic() + HELD_SECONDS
        while True:
            self._send({"do": "reset", "connector": connector})
            if self.receive()["reset"]:
                return
            assert time.monotonic() < deadline, f"blocks are still in use {HELD_SECONDS} s after the last request:\n" + self.tail()
            time.sleep(0.05)

    # ---- end ----

    def tail(self, size: int = 4000) -> str:
        with open(self.log_path, errors="replace") as log:
            return log.read()[-size:]

    def log(self) -> str:
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def close(self) -> None:
        """Ends it, politely if it answers."""
        if self.process.poll() is None and self.pids:
            self.shared |= shared_memory_of(session_of(self.process.pid))
            try:
                self._send({"do": "exit"})
                self.process.wait(EXIT_SECONDS)
            except (AssertionError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def kill(self) -> None:
        pids = session_of(self.process.pid)
        self.shared |= shared_memory_of(pids)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(EXIT_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                pass
        for path in self.shared:
            if os.path.exists(path):
                os.unlink(path)
        self.shared.clear()
        if not os.environ.get("KVASIR_KEEP_LOGS") and os.path.exists(self.log_path):
            os.unlink(self.log_path)
