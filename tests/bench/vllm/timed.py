"""What vLLM loads for a benchmark in place of Kvasir's connector: the same, with its clocks readable from outside.

Each process of the engine keeps a file in $KVASIR_BENCH_CLOCKS, named after its side, with one JSON object: seconds in
connector calls so far, their number, quantiles of the calls' and the steps' times in microseconds, and counters. It is
written anew at the end of the first step after the file "ask" there has changed its size.
"""
from __future__ import annotations

import json
import os
from typing import Any

from kvasir_vllm.connector import KvasirConnector


class TimedKvasirConnector(KvasirConnector):
    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self.bench_folder = os.environ["KVASIR_BENCH_CLOCKS"]
        self.bench_side = role.name.lower()
        self.bench_asked = 0
        self.bench_steps = self.step_times.copy()

    def _bench_tell(self) -> None:
        asked = os.stat(os.path.join(self.bench_folder, "ask")).st_size
        if asked == self.bench_asked:
            return
        self.bench_asked = asked
        since = self.step_times.diff(self.bench_steps)  # since it was asked last
        self.bench_steps = self.step_times.copy()
        answer = {"asked": asked, "call_seconds": self.call_times.sum, "calls": self.call_times.count,
                  "steps": since.count, "step_p50_us": since.p50 * 1e6, "step_p99_us": since.p99 * 1e6,
                  "counters": self.counters.as_dict()}
        path = os.path.join(self.bench_folder, self.bench_side)
        with open(path + ".new", "w") as file:
            json.dump(answer, file)
        os.replace(path + ".new", path)

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        self._bench_tell()
        return super().build_connector_meta(scheduler_output)

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        self._bench_tell()
        return super().get_transfer_results(finished_req_ids)
