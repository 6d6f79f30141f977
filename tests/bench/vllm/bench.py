"""Times to the first token of a real vLLM: cold, warm from its own prefix cache, from Kvasir over TCP and over the unix
socket, and from LMCache's server; and what the connector costs. tests/bench/vllm.sh runs it and says how.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import document
import model as models
from harness import Node, until
from process import Engine, session_of

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = (2048, 8192)
WAYS = ("prefix", "kvasir-tcp", "kvasir-unix", "lmcache")
CHUNK, BLOCK = 256, 128
REPEATS = 3  # warm runs of a prompt in a round; the round's value is their median
MODEL = models.BENCH
ENGINE = {"dtype": MODEL.dtype, "block_size": BLOCK, "max_model_len": 8448, "max_num_seqs": 32, "max_num_batched_tokens": 2048,
          "num_gpu_blocks_override": 80, "enable_prefix_caching": True}
# vLLM would leave one core more to itself where there is a connector, and with two cores none: all engines shall compute on as many.
THREADS = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "1"}
STORE_BYTES = "2GiB"
IDLE_SECONDS = 3.0
STORED_SECONDS = 30.0  # until a cold prompt's chunks are in the store


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pids: list[int], threads: tuple[str, ...] = ()) -> float:
    """Processor time of processes, or of those of their threads whose names begin so."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{pid}/task/{task}/comm") as file:
                        name = file.read().strip()
                    if not threads or name.startswith(threads):
                        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                            total += int(file.read().split()[0])
    return total / 1e9


def busy_seconds() -> float:
    """Of all cores, since boot."""
    with open("/proc/stat") as file:
        numbers = [int(word) for word in file.readline().split()[1:]]
    return (sum(numbers[:3]) + sum(numbers[5:7])) / os.sysconf("SC_CLK_TCK")


class LMCache:
    """Its multiprocess server, with ports and a shared memory of its own."""

    def __init__(self, python: str, folder: str) -> None:
        self.port = free_port()
        self.name = f"kvasir-bench-{os.getpid()}"
        with open(os.path.join(folder, "lmcache.log"), "w") as log:
            self.process = subprocess.Popen(
                [os.path.join(os.path.dirname(python), "lmcache"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                 "--http-port", str(free_port()), "--prometheus-port", str(free_port()), "--l1-size-gb", "2",
                 "--l1-init-size-gb", "2", "--no-l1-use-lazy", "--chunk-size", str(CHUNK), "--eviction-policy", "LRU",
                 "--supported-transfer-mode", "engine_driven", "--shm-name", self.name],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(os.path.join(folder, "lmcache.log"), errors="replace") as log:
                    raise SystemExit("LMCache's server does not answer:\n" + log.read()[-3000:])
            time.sleep(0.2)

    def connector(self) -> dict[str, Any]:
        return {"kv_connector": "LMCacheMPConnector", "kv_role": "kv_both",
                "kv_connector_module_path": "lmcache.integration.vllm.lmcache_mp_connector",
                "kv_connector_extra_config": {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": self.port}}

    def close(self) -> None:
        for pid in session_of(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait(10)
        for name in os.listdir("/dev/shm"):
            if self.name in name:
                os.unlink(os.path.join("/dev/shm", name))


class Way:
    """One engine with one way to warm prompts."""

    def __init__(self, name: str, engine: Engine, clocks: str = "", node: Node | None = None) -> None:
        self.name, self.engine, self.clocks, self.node = name, engine, clocks, node
        self.asked = 0

    def run(self, prompt: list[int], forget: bool = True) -> dict[str, Any]:
        if forget and self.name != "prefix":
            self.engine.reset()
        return self.engine.run([{"prompt": prompt, "max_tokens": 1}], brief=True)[0]

    def compute(self, prompt: list[int], length: int) -> float:
        """Computes a prompt that is new; seconds to its first token. Behind a node of ours it returns when all is stored."""
        before = self.commits()
        cold = self.run(prompt)
        assert cold["cached"] == 0, f"{self.name}: a new prompt has {cold['cached']} cached tokens"
        if self.node is not None and not until(lambda: self.commits() == before + length // CHUNK, STORED_SECONDS):
            raise SystemExit(f"{self.name}: not all is stored {STORED_SECONDS} s after the cold run:\n{self.engine.tail()}")
        return float(cold["ttft"])

    def commits(self) -> int:
        """Chunks that our node has stored since its start."""
        return int(self.node.metric("kvasir_put_commits_total") or 0) if self.node is not None else 0

    def wait_warm(self, prompt: list[int], length: int) -> None:
        deadline = time.monotonic() + STORED_SECONDS
        while (warm := self.run(prompt))["cached"] != length:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name}: only {warm['cached']} of {length} tokens are warm {STORED_SECONDS} s after "
                                 f"the cold run:\n{self.engine.tail()}")
            time.sleep(0.1)

    def told(self, scratch: list[int]) -> dict[str, dict[str, Any]]:
        """What the connector's own clocks say now, of both sides. A small request makes the engine step."""
        self.asked += 1
        with open(os.path.join(self.clocks, "ask"), "a") as file:
            file.write(".")
        self.engine.run([{"prompt": scratch, "max_tokens": 2}], brief=True)
        answer = {}
        for side in ("scheduler", "worker"):
            with open(os.path.join(self.clocks, side)) as file:
                answer[side] = json.load(file)
            assert answer[side]["asked"] == self.asked, f"{side} did not answer"
        return answer

    def cpu(self) -> float:
        """Of the connector library's threads and the node."""
        assert self.node is not None and self.node.process is not None
        return cpu_seconds(self.engine.pids, ("kvasir", "grpc", "event_engine", "default-exec", "resolver")) \
            + cpu_seconds([self.node.process.pid])


class Bench:
    def __init__(self, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.options = options
        self.random = random.Random(11)
        self.series: document.Series = {}
        self.units: dict[str, str] = {}
        self.folder = tempfile.mkdtemp(prefix="kvasir-bench-vllm-")
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.model = replace(MODEL, kv_heads=options.kv_heads)
        models.write(self.model, os.path.join(self.folder, "model"))
        self.node = Node(**{"dram__size": STORE_BYTES}).start()
        stack.callback(self.node.close)
        self.ways: dict[str, Way] = {}
        self.lmcache = None
        if "lmcache" in options.ways:
            self.lmcache = LMCache(options.lmcache_python, self.folder)
            stack.callback(self.lmcache.close)
        for name in options.ways:
            say(f"starting the engine of {name}")
            self.ways[name] = self.start(name, stack)

    def start(self, name: str, stack: contextlib.ExitStack) -> Way:
        clocks = os.path.join(self.folder, "clocks-" + name)
        os.makedirs(clocks)
        open(os.path.join(clocks, "ask"), "w").close()
        connector, python, node = None, sys.executable, None
        if name.startswith("kvasir"):
            node = self.node
            endpoint = f"kvasir://127.0.0.1:{self.node.port}" if name.endswith("tcp") else f"unix:{self.node.socket}"
            connector = {"kv_connector": "TimedKvasirConnector", "kv_connector_module_path": "timed", "kv_role": "kv_both",
                         "kv_load_failure_policy": "recompute",
                         "kv_connector_extra_config": {"endpoint": endpoint, "chunk_tokens": CHUNK}}
        elif name == "lmcache":
            assert self.lmcache is not None
            connector, python = self.lmcache.connector(), self.options.lmcache_python
        engine = Engine({**ENGINE, "model": os.path.join(self.folder, "model")}, connector, {"KVASIR_BENCH_CLOCKS": clocks, **THREADS},
                        (HERE,), python)
        stack.callback(engine.close)
        way = Way(name, engine.wait_ready(), clocks, node)
        prompt = self.prompt(LENGTHS[0])
        way.compute(prompt, LENGTHS[0])  # the first request of a process does what is done once
        way.wait_warm(prompt, LENGTHS[0])
        return way

    def prompt(self, length: int) -> list[int]:
        """New tokens. One more than the length: the engine always computes the last one."""
        return [self.random.randrange(3, MODEL.vocab) for _ in range(length + 1)]

    def add(self, name: str, value: float, unit: str) -> None:
        self.series.setdefault(name, []).append(value)
        self.units[name] = unit

    # ---- time to first token ----

    def measure(self, way: Way, length: int) -> None:
        prompt, gigabytes = self.prompt(length), length * self.model.kv_bytes_per_token() / 1e9
        transport = way.name.removeprefix("kvasir-")
        watched = way.node is not None and length == max(self.options.lengths)
        idle = self.idle(way) if watched else 0.0
        before, began = way.cpu() if watched else 0.0, time.monotonic()
        cold = way.compute(prompt, length)
        saved = way.cpu() - idle * (time.monotonic() - began) if watched else 0.0
        way.wait_warm(prompt, length)
        after = way.cpu() if watched else 0.0
        times = []
        for _ in range(REPEATS):
            warm = way.run(prompt)
            assert warm["cached"] == length, f"{way.name}: only {warm['cached']} tokens were warm"
            times.append(warm["ttft"])
        if watched:
            self.add(f"vllm-cpu-load-{transport}", (way.cpu() - after) / REPEATS / gigabytes, "CPU s/GB")
            self.add(f"vllm-cpu-save-{transport}", max(0.0, saved - before) / gigabytes, "CPU s/GB")
            self.add(f"vllm-cpu-idle-{transport}", idle * 1e3, "CPU ms/s")
        self.add(f"vllm-ttft-{length}-{way.name}", statistics.median(times) * 1e3, "ms")
        self.add(f"vllm-ttft-{length}-cold" + ("" if way.name == "prefix" else "-" + way.name), cold * 1e3, "ms")

    def idle(self, way: Way) -> float:
        """CPU seconds a second that a way's node and threads use while nothing moves: a cold prompt takes many seconds."""
        before = way.cpu()
        time.sleep(IDLE_SECONDS)
        return (way.cpu() - before) / IDLE_SECONDS

    def round(self, number: int) -> float:
        """All ways, there or back. Returns how many cores others used meanwhile."""
        began, busy, ours = time.monotonic(), busy_seconds(), self.own_cpu()
        names = list(self.options.ways)
        for length in self.options.lengths:
            for name in names if number % 2 == 0 else reversed(names):
                self.measure(self.ways[name], length)
        seconds = time.monotonic() - began
        return max(0.0, (busy_seconds() - busy - (self.own_cpu() - ours)) / seconds)

    def own_cpu(self) -> float:
        pids = [os.getpid(), self.node.process.pid]
        for way in self.ways.values():
            pids += way.engine.pids
        if self.lmcache is not None:
            pids += session_of(self.lmcache.process.pid)
        return cpu_seconds(pids)

    # ---- what the connector costs ----

    def costs(self, way: Way, number: int) -> None:
        """Of steps, by the connector's own clocks."""
        scratch = self.prompt(BLOCK)[:40]  # shorter than a chunk: no look-up
        way.told(scratch)
        way.engine.reset()
        # Prompts of just more than a chunk, one at a time, each a miss; with a look-up each and a save behind it.
        misses = [{"prompt": self.prompt(CHUNK), "max_tokens": 4} for _ in range(self.options.misses)]
        way.engine.run(misses, brief=True)
        self.steps(way, "miss", scratch)
        # The same prompts again, together: 32 look-ups at once, all hits.
        way.engine.reset()
        way.engine.run(misses[-32:], concurrent=True, brief=True)
        self.steps(way, "32-lookups", scratch)
        told = way.told(scratch)["worker"]["counters"]
        if number == 0 and told["load_chunks"]:
            self.add("vllm-bytes-per-token-loaded", told["load_bytes"] / (told["load_chunks"] * CHUNK), "bytes")

    def steps(self, way: Way, what: str, scratch: list[int]) -> None:
        for side, told in way.told(scratch).items():
            self.add(f"vllm-step-{what}-{side}-p50", told["step_p50_us"], "us")
            self.add(f"vllm-step-{what}-{side}-p99", told["step_p99_us"], "us")

    def all(self) -> dict[str, Any]:
        began, others = time.monotonic(), []
        for number in range(self.options.rounds):
            say(f"round {number + 1} of {self.options.rounds}")
            others.append(self.round(number))
            if "kvasir-tcp" in self.ways:
                self.costs(self.ways["kvasir-tcp"], number)
        ratios: dict[str, list[str]] = {}
        for length in self.options.lengths:
            prefix, lmcache = f"vllm-ttft-{length}-prefix", f"vllm-ttft-{length}-lmcache"
            for name in ("kvasir-tcp", "kvasir-unix"):
                ratios[f"vllm-ttft-{length}-{name}"] = [prefix, lmcache]
                ratios[f"vllm-ttft-{length}-cold-{name}"] = [f"vllm-ttft-{length}-cold"]
            ratios[f"vllm-ttft-{length}-cold-lmcache"] = [f"vllm-ttft-{length}-cold"]
            ratios[lmcache] = ratios[f"vllm-ttft-{length}-cold"] = [prefix]
        version = subprocess.run([os.environ["KVASIRD"], "--version"], capture_output=True, text=True).stdout.split()[-1]
        machine = document.machine(self.options.rounds, time.monotonic() - began, version, others)
        return {"machine": machine, "rows": document.rows(self.series, self.units, ratios)}


def names(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in WAYS:
            raise argparse.ArgumentTypeError(f"{name}: the ways are {', '.join(WAYS)}")
    return chosen


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vllm.sh", description="Times to first token of vLLM with and without stores.")
    parser.add_argument("--json", action="store_true", help="print the document; else tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", type=names, default=list(WAYS), help="of " + ",".join(WAYS))
    parser.add_argument("--lengths", type=lambda text: [int(word) for word in text.split(",")], default=list(LENGTHS))
    parser.add_argument("--misses", type=int, default=100, help="prompts of a round that miss, for the times of steps")
    parser.add_argument("--kv-heads", type=int, choices=(1, 2, 3, 4, 6, 12), default=MODEL.kv_heads, help="6 KiB a token each")
    parser.add_argument("--plot", metavar="RUN.json", help="draw a document as SVG, and measure nothing")
    parser.add_argument("--table", metavar="RUN.json", help="print a document as tables, and measure nothing")
    parser.add_argument("--lmcache-python", default=os.environ.get("KVASIR_LMCACHE_PYTHON", ""), help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def opened(path: str) -> Iterator[dict[str, Any]]:
    with open(path) as file:
        yield json.load(file)


def main() -> int:
    options = arguments()
    for path, write in ((options.plot, document.svg), (options.table, document.text)):
        if path:
            with opened(path) as run:
                sys.stdout.write(write(run))
            return 0
    with contextlib.ExitStack() as stack:
        run = Bench(options, stack).all()
    sys.stdout.write(json.dumps(run, indent=1) + "\n" if options.json else document.text(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
