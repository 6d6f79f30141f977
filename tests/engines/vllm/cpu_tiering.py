"""vLLM's tiered offloading on machines without an accelerator, for tests of KvasirTier.

vLLM's own worker copies between a GPU and the shared rows by CUDA streams, and refuses CPUs. CpuTieringSpec replaces that worker alone, by
plain copies into rows laid out by vLLM's own code; the scheduler's side, the tiering and the tiers are vLLM's, unchanged.

A file at the path $KVASIR_TEST_SPOIL makes the worker a saboteur: while it is there, what it loads is zeros. Tests must notice.
"""
from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from vllm.v1.kv_offload.base import GPULoadStoreSpec, OffloadingWorker, TransferResult
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
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
        spoil = not to_row and os.path.exists(os.environ.get("KVASIR_TEST_SPOIL", ""))
        first = blocks.block_indices[0] % self.blocks_per_chunk
        for i, block in enumerate(blocks.block_ids):
            chunk, place = divmod(i + first, self.blocks_per_chunk)
            for engine, engine_stride, row, row_stride, page in self.pages:
                there = engine + int(block) * engine_stride
                here = row + int(rows.block_ids[chunk]) * row_stride + place * page
                ctypes.memmove(here if to_row else there, there if to_row else here, page)
                if spoil:
                    ctypes.memset(there, 0, page)
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
