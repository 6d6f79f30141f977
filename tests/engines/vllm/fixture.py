"""What tests of the connector share: a node, a proxy before it, engines on it, and the questions they ask again and again.

Environment: KVASIRD, KVASIRCTL (programs), KVASIR_LIBRARY (libkvasir-connector), KVASIR_VLLM_PYTHON; tests/run.sh sets them.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import audit
import compare
import harness
import model as models
from harness import Node
from process import Engine
from proxy import Proxy

KVASIRCTL = os.environ["KVASIRCTL"]
CHUNK = 256
BLOCK = 32
VOCAB = models.TINY.vocab
# A prompt that is computed in the same steps with and without its first two chunks: 512 tokens, then the rest.
BUDGET = 512
LENGTH = 600
STORED = LENGTH // CHUNK * CHUNK
# A KV cache that a few requests fill: 2,048 tokens, so that many at once preempt each other.
SMALL = {"block_size": BLOCK, "max_model_len": 1024, "max_num_seqs": 8, "max_num_batched_tokens": BUDGET,
         "num_gpu_blocks_override": 64}
WIDE = {**SMALL, "num_gpu_blocks_override": 512}
ENDS = 60.0  # seconds until what is under way has ended, on a busy machine


def prompt(seed: object, length: int = LENGTH, shared: list[int] | None = None) -> list[int]:
    """Tokens from a seed, behind those that are shared."""
    generator = random.Random(f"{seed}")
    head = shared or []
    return head + [generator.randrange(3, VOCAB) for _ in range(length - len(head))]


def request(tokens: list[int], max_tokens: int = 16, **more: Any) -> dict[str, Any]:
    return {"prompt": tokens, "max_tokens": max_tokens, **more}


def until(condition: Callable[[], bool], seconds: float = ENDS) -> bool:
    """harness.until with an engine's patience."""
    return bool(harness.until(condition, seconds))


class Site:
    """A node with a proxy before its port, a folder for everything, and engines by name. close() ends all of it."""

    def __init__(self, **settings: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="kvasir-site-")
        self.audit = self.make_folder("audit")
        self.spoil = os.path.join(self.folder, "spoil")
        self.gap = os.path.join(self.folder, "gap")
        self.node = Node(**{"dram__size": "512MiB", **settings}).start()
        self.proxy = Proxy(self.node.port)
        self.engines: dict[str, Engine] = {}

    def make_folder(self, name: str) -> str:
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    # ---- engines ----

    def engine(self, name: str, model: models.Model = models.TINY, endpoint: str | None = None,
               options: dict[str, Any] | None = None, audit_folder: str | None = None, **engine: Any) -> Engine:
        """The engine of this name, started if there is none; not waited for. Without an endpoint it has no connector."""
        if name not in self.engines:
            folder = models.write(model, os.path.join(self.folder, "model-" + hashlib.sha256(repr(model).encode()).hexdigest()[:12]))
            arguments = {"model": folder, "dtype": model.dtype, **SMALL, **engine}
            connector = None
            if endpoint is not None:
                connector = {"kv_connector": "AuditedKvasirConnector", "kv_connector_module_path": "audited", "kv_role": "kv_both",
                             "kv_load_failure_policy": "recompute",
                             "kv_connector_extra_config": {"endpoint": endpoint, "model": "tiny", "lookup_timeout": 2.0, **(options or {})}}
            # Left to itself, each engine binds its one thread that computes to the same core as the others.
            environment = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "KVASIR_TEST_AUDIT": audit_folder or self.audit,
                           "KVASIR_TEST_SPOIL": self.spoil, "KVASIR_TEST_GAP": self.gap}
            self.engines[name] = Engine(arguments, connector, environment)
        return self.engines[name]

    @contextlib.contextmanager
    def spoiling(self) -> Iterator[None]:
        """Meanwhile what engines load is changed behind the connector's back."""
        open(self.spoil, "w").close()
        try:
            yield
        finally:
            os.unlink(self.spoil)

    def end(self, name: str) -> None:
        self.engines.pop(name).close()

    # ---- the node ----

    @property
    def unix(self) -> str:
        return "unix:" + self.node.socket

    @property
    def tcp(self) -> str:
        """Through the proxy."""
        return self.proxy.endpoint

    def restart(self) -> None:
        """A new node in place of one that is dead, empty, on the same socket and behind the same proxy."""
        self.node.wait()
        self.node.start()
        self.proxy.node_port = self.node.port

    def ctl(self, *arguments: str) -> Any:
        """What kvasirctl says."""
        done = subprocess.run([KVASIRCTL, "--json", "--endpoint", self.unix, *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"kvasirctl {arguments}: {done.returncode}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def gauge(self, name: str) -> float:
        return float(next(row["value"] for row in self.ctl("stats")["stats"] if row["name"] == name))

    def at_rest(self) -> bool:
        """Nothing is under way: no lease is held and no chunk is being written."""
        return until(lambda: self.gauge("kvasir_leases") == 0 and self.gauge("kvasir_landings") == 0)

    def settled(self) -> float:
        """The number of chunks, when it has not grown for half a second."""
        seen, since = self.gauge("kvasir_chunks"), time.monotonic()
        deadline = since + ENDS
        while time.monotonic() < min(since + 0.5, deadline):
            time.sleep(0.05)
            now = self.gauge("kvasir_chunks")
            if now != seen:
                seen, since = now, time.monotonic()
        return seen

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()
        self.proxy.close()
        self.node.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class SiteTest(unittest.TestCase):
    """What is asked of answers of engines. After each test nothing is under way, and no wrong byte was ever loaded."""

    site: Site

    def tearDown(self) -> None:
        self.assert_bytes_right(at_least=0)
        self.assert_at_rest()

    def store(self, engine: Engine, name: str, count: int = 2) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Requests that an engine answered cold, one at a time, with their answers; all their chunks are in the node."""
        requests = [request(prompt(f"{name}{i}")) for i in range(count)]
        before = self.site.settled()
        cold = engine.run(requests)
        self.assertEqual(self.cached(cold), [0] * count)
        wanted = before + count * (STORED // CHUNK)
        self.assertTrue(until(lambda: self.site.gauge("kvasir_chunks") >= wanted),
                        f"{self.site.gauge('kvasir_chunks')} chunks, not {wanted}:\n{engine.tail()}")
        return requests, cold

    def assert_exact(self, cold: list[dict[str, Any]], warm: list[dict[str, Any]]) -> None:
        self.assertEqual(len(cold), len(warm))
        for i, (one, other) in enumerate(zip(cold, warm)):
            self.assertEqual(compare.exact(one, other), [], f"request {i}, {other['cached']} tokens cached")

    def assert_close(self, cold: list[dict[str, Any]], warm: list[dict[str, Any]], dtype: str = "float32") -> None:
        self.assertEqual(len(cold), len(warm))
        for i, (one, other) in enumerate(zip(cold, warm)):
            self.assertIn(other["finish"], ("length", "abort"), f"request {i}")
            self.assertEqual(compare.close(one, other, dtype), [], f"request {i}, {other['cached']} tokens cached")

    def assert_bytes_right(self, folder: str | None = None, at_least: int = 1) -> audit.Findings:
        """No engine ever loaded other bytes than one computed; and at least so many blocks were loaded at all."""
        findings = audit.read(folder or self.site.audit)
        self.assertEqual(findings.wrong, [])
        self.assertGreaterEqual(findings.loaded, at_least)
        return findings

    def assert_at_rest(self) -> None:
        self.assertTrue(self.site.at_rest(), f"{self.site.gauge('kvasir_leases')} leases, "
                                             f"{self.site.gauge('kvasir_landings')} chunks half written")

    def cached(self, results: list[dict[str, Any]]) -> list[int]:
        return [result["cached"] for result in results]
