"""vLLM's tiered offloading on machines without an accelerator, for tests of KvasirTier.

vLLM's own worker copies between a GPU and the shared rows by CUDA streams, and refuses CPUs. CpuTieringSpec replaces that worker alone, by
plain copies into rows laid out by vLLM's own code; the scheduler's side, the tiering and the tiers are vLLM's, unchanged.

TapeTier stands in for a checker: it stores nothing, and writes down the bytes of each chunk that vLLM hands to secondary tiers, as
lines "KEY DIGEST" in the file $KVASIR_TEST_TAPE.
"""
from __future__ import annotations

import ctypes
import hashlib
import os
import time
from collections.abc import Iterable
from typing import Any

from vllm.v1.kv_offload.base import (GPULoadStoreSpec, LookupResult, Medium, OffloadingWorker, RequestOffloadingContext,
                                     TransferResult)
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
from vllm.v1.kv_offload.tiering.base import JobResult, SecondaryTierManager
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec


class CopyWorker(OffloadingWorker):
    """Copies pages between the engine's tensors and the rows, at once. One KV group."""

    def __init__(self, kv_caches: Any, blocks_per_chunk: int, region: SharedOffloadRegion) -> None:
        self.region = region
        self.blocks_per_chunk = blocks_per_chunk
        self.done: list[TransferResult] = []
        self.pages = []  # address and stride of the engine's, address and stride of the rows', bytes
        for cache in kv_caches.tensors:
            view = region.create_next_worker_view(cache.page_size_bytes * blocks_per_chunk)
            self.pages.append((cache.tensor.data_ptr(), cache.tensor.stride(0), view.data_ptr(), view.stride(0),
                               cache.page_size_bytes))

    def _copy(self, job: int, blocks: GPULoadStoreSpec, rows: Any, to_row: bool) -> bool:
        assert len(blocks.group_sizes) == 1, "this worker serves one KV group"
        begin, copied = time.monotonic(), 0
        first = blocks.block_indices[0] % self.blocks_per_chunk
        for i, block in enumerate(blocks.block_ids):
            chunk, place = divmod(i + first, self.blocks_per_chunk)
            for engine, engine_stride, row, row_stride, page in self.pages:
                there = engine + int(block) * engine_stride
                here = row + int(rows.block_ids[chunk]) * row_stride + place * page
                ctypes.memmove(here if to_row else there, there if to_row else here, page)
                copied += page
        self.done.append(TransferResult(job, True, copied, time.monotonic() - begin))
        return True

    def submit_store(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        return self._copy(job_id, src_spec, dst_spec, True)

    def submit_load(self, job_id: int, src_spec: Any, dst_spec: Any) -> bool:
        return self._copy(job_id, dst_spec, src_spec, False)

    def get_finished(self) -> list[TransferResult]:
        done, self.done = self.done, []
        return done

    def wait(self, job_ids: set[int]) -> None:
        return  # copies are complete when they are submitted

    def shutdown(self) -> None:
        self.region.cleanup()


class CpuTieringSpec(TieringOffloadingSpec):
    def get_worker(self, kv_caches: Any) -> OffloadingWorker:
        if not self._worker:
            region = SharedOffloadRegion(engine_id=self._engine_id, num_chunks=self.num_chunks, rank=self.config.parallel.rank,
                                         kv_bytes_per_chunk=self.kv_bytes_per_chunk, cpu_page_size=self.cpu_page_size_per_worker)
            self._worker = CopyWorker(kv_caches, self.blocks_per_chunk, region)
        return self._worker


class TapeTier(SecondaryTierManager):
    medium = Medium.STORAGE

    def __init__(self, offloading_spec: Any, primary_kv_view: memoryview, tier_type: str, backpressure_detector: Any = None) -> None:
        super().__init__(offloading_spec, primary_kv_view, tier_type, backpressure_detector)
        self.results: list[JobResult] = []
        self.tape = open(os.environ["KVASIR_TEST_TAPE"], "a", buffering=1)
        self.bytes = offloading_spec.config.worker_kv_bytes_per_block * offloading_spec.blocks_per_chunk

    def lookup(self, key: Any, req_context: Any) -> LookupResult:
        return LookupResult.MISS

    def submit_store(self, job_metadata: Any) -> None:
        for key, row in zip(job_metadata.keys, job_metadata.chunk_ids):
            payload = self._primary_kv_view.cast("B")[int(row) * self.block_size_bytes:][:self.bytes]
            self.tape.write(f"{bytes(key).hex()} {hashlib.sha256(payload).hexdigest()}\n")
        self.results.append(JobResult(job_metadata.job_id, True))

    def submit_load(self, job_metadata: Any) -> None:
        self.results.append(JobResult(job_metadata.job_id, False))

    def get_finished_jobs(self) -> Iterable[JobResult]:
        results, self.results = self.results, []
        return results

    def on_new_request(self, req_context: Any) -> RequestOffloadingContext:
        return RequestOffloadingContext()

    def drain_jobs(self) -> None:
        return
