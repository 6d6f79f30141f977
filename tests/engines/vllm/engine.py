"""One vLLM engine as a process that tests talk to.

    python engine.py < commands > answers

Commands and answers are JSON, one a line. The first command is the engine's configuration:

    {"engine": {argument of vllm.LLM: value, ...}, "connector": {field of KVTransferConfig: value, ...} or null}

and is answered {"ready": true, "pids": [...], "seconds": ...} when the engine can take requests. Then, in any order:

    {"do": "run", "requests": [...], "concurrent": true, "brief": false}
        A request: {"prompt": [token, ...], "max_tokens": 16, "abort_after": null or n, "start_after": null or n,
        "salt": null, "extra_args": null}.
        Concurrent: all are handed over at once, or when the first one has start_after tokens; else each waits for the one
        before. Greedy. Answered with
        {"results": [...], "seconds": s}, in the order of the requests, each {"tokens", "logprobs": of the chosen,
        "best": [the two best log-probabilities], "cached": prompt tokens that were not computed, "ttft": seconds to the
        first token, "seconds", "finish": vLLM's reason, "abort" if we ended it}. Brief: only "cached", "ttft", "finish".
    {"do": "reset"}      forgets the engine's own prefix cache -> {"reset": true or false}; with "connector": true also what
                         the connector keeps in the engine's memory
    {"do": "metrics"}    -> {"metrics": {"name{label=\\"value\\"}": number}}: all Prometheus samples, buckets left out
    {"do": "memory"}     -> {"memory": {pid: {"name", "rss_bytes", "cpu_seconds"}}} of all processes of the engine
    {"do": "exit"}       ends it
"""
from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

DEFAULTS = {"skip_tokenizer_init": True, "enforce_eager": True, "seed": 0, "disable_log_stats": False,
            "prefix_caching_hash_algo": "sha256_cbor"}


def processes() -> list[int]:
    """This process and all below it."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # it ended meanwhile
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def memory() -> dict[int, dict[str, Any]]:
    answer: dict[int, dict[str, Any]] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in processes():
        try:
            with open(f"/proc/{pid}/status") as file:
                status = dict(line.split(":", 1) for line in file if ":" in line)
            with open(f"/proc/{pid}/stat") as file:
                stat = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if "VmRSS" in status:
            answer[pid] = {"name": status["Name"].strip(), "rss_bytes": int(status["VmRSS"].split()[0]) * 1024,
                           "cpu_seconds": (int(stat[11]) + int(stat[12])) / ticks}
    return answer


def metrics() -> dict[str, float]:
    from prometheus_client import REGISTRY
    answer = {}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if sample.name.endswith(("_bucket", "_created")):
                continue
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()) if k not in ("model_name", "engine"))
            answer[sample.name + ("{" + labels + "}" if labels else "")] = sample.value
    return answer


class Running:
    """A request under way."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.name = self.internal = ""  # ours, and vLLM's
        self.abort_after: int | None = request.get("abort_after")
        self.began = 0.0
        self.first: float | None = None
        self.ended: float | None = None
        self.output: Any = None
        self.aborted = False

    def count(self) -> int:
        """Tokens so far."""
        return len(self.output.outputs[0].token_ids) if self.output is not None and self.output.outputs else 0

    def result(self, brief: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"cached": getattr(self.output, "num_cached_tokens", None), "finish": "abort",
                                  "ttft": None if self.first is None else self.first - self.began,
                                  "seconds": None if self.ended is None else self.ended - self.began}
        completion = self.output.outputs[0] if self.output is not None and self.output.outputs else None
        if completion is not None and not self.aborted:
            answer["finish"] = completion.finish_reason
        if not brief:
            tokens = list(completion.token_ids) if completion else []
            pairs = list(zip(completion.logprobs or [], tokens)) if completion else []
            answer["tokens"] = tokens
            answer["logprobs"] = [step[token].logprob for step, token in pairs]
            answer["best"] = [sorted((item.logprob for item in step.values()), reverse=True)[:2] for step, _ in pairs]
        return answer


class Server:
    def __init__(self, command: dict[str, Any]) -> None:
        from vllm import LLM
        arguments = {**DEFAULTS, **command["engine"]}
        if command.get("connector"):
            from vllm.config import KVTransferConfig
            arguments["kv_transfer_config"] = KVTransferConfig(**command["connector"])
        self.llm = LLM(**arguments)
        self.engine = self.llm.llm_engine
        self.count = 0

    def submit(self, running: Running) -> None:
        from vllm import SamplingParams
        self.count += 1
        request = running.request
        prompt: dict[str, Any] = {"prompt_token_ids": request["prompt"]}
        if request.get("salt"):
            prompt["cache_salt"] = request["salt"]
        parameters = SamplingParams(temperature=0.0, max_tokens=request.get("max_tokens", 16), logprobs=2, ignore_eos=True,
                                    detokenize=False, extra_args=request.get("extra_args"))
        running.began = time.monotonic()
        running.name = f"r{self.count}"
        running.internal = self.engine.add_request(running.name, prompt, parameters)

    def drain(self, started: list[Running], later: Iterable[tuple[int, Running]] = ()) -> None:
        """Steps until all have ended. later: requests to start when the first one has so many tokens."""
        names = {running.name: running for running in started}
        later = list(later)
        while self.engine.has_unfinished_requests():
            for after, running in list(later):
                if started[0].count() >= after:
                    later.remove((after, running))
                    self.submit(running)
                    names[running.name] = running
            for output in self.engine.step():
                running = names[output.request_id]
                running.output = output
                count = len(output.outputs[0].token_ids)
                if running.first is None and count:
                    running.first = time.monotonic()
                if output.finished:
                    running.ended = time.monotonic()
                elif running.abort_after is not None and count >= running.abort_after and not running.aborted:
                    running.aborted = True
                    self.engine.abort_request([running.internal], internal=True)

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        all_ = [Running(request) for request in command["requests"]]
        if command.get("concurrent"):
            later = [(one.request["start_after"], one) for one in all_ if one.request.get("start_after")]
            now = [one for one in all_ if not one.request.get("start_after")]
            for running in now:
                self.submit(running)
            # An abort before the first token finds the request waiting, its look-up or load under way.
            for running in now:
                if running.abort_after == 0:
                    running.aborted = True
                    self.engine.abort_request([running.internal], internal=True)
            self.drain(now, later)
        else:
            for running in all_:
                self.submit(running)
                self.drain([running])
        brief = bool(command.get("brief"))
        return {"results": [running.result(brief) for running in all_], "seconds": time.monotonic() - began}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        what = command["do"]
        if what == "run":
            return self.run(command)
        if what == "reset":
            return {"reset": bool(self.llm.reset_prefix_cache(reset_connector=bool(command.get("connector"))))}
        if what == "metrics":
            return {"metrics": metrics()}
        if what == "memory":
            return {"memory": memory()}
        raise ValueError(f"unknown command {what!r}")


def serve(commands: TextIO, answers: TextIO) -> None:
    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    began = time.monotonic()
    server = Server(json.loads(commands.readline()))
    say({"ready": True, "pids": processes(), "seconds": time.monotonic() - began})
    for line in commands:
        command = json.loads(line)
        if command["do"] == "exit":
            break
        say(server.answer(command))
    server.engine.engine_core.shutdown()


if __name__ == "__main__":
    # vLLM prints to standard output; the answers keep it, everything else goes with the errors.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
