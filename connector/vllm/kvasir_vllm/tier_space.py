"""The spaces of a tier: those of KvasirConnector where a cell of the row is what it stores, others where it is not.

vLLM gives a tier a summary of its configuration, which lacks what makes KV differ (the model's configuration, overrides, kinds of layers).
So the tier reads the configuration itself, and makes the same plan as KvasirConnector: equal plans give equal digests.
"""
from __future__ import annotations

import dataclasses
import sys
from typing import Any

import kvasir

from . import space
from .compat import CompatError, Facts
from .options import Options
from .tier_rows import RowFacts, RowLayout

_FRAMES_MAX = 32
_SPACES_MAX = 64  # of a connector
_TEXT_MAX = 255   # bytes of a text of a space


def engine_configuration() -> tuple[Any, Any]:
    """(VllmConfig, KVCacheConfig) of the engine whose scheduler is just being made, further up on this thread's stack.

    There is no other way: a tier is given neither, and no global of the scheduler's process has them. CompatError: they are not there.
    """
    frame = sys._getframe(1)
    for _ in range(_FRAMES_MAX):
        if frame is None:
            break
        found = frame.f_locals.get("vllm_config"), frame.f_locals.get("kv_cache_config")
        if hasattr(found[0], "model_config") and hasattr(found[1], "kv_cache_groups"):
            return found
        frame = frame.f_back
    raise CompatError("KvasirTier cannot see the configuration of this vLLM from where its tiers are made, and without it cannot tell "
                      "one model's KV from another's")


def plan_of(vllm_config: Any, kv_cache_config: Any, options: Options, facts: Facts, chunk_tokens: dict[int, int]) -> space.Plan:
    """KvasirConnector's plan for chunks of vLLM's offloading. chunk_tokens: by KV group. PlanError."""
    sizes = set(chunk_tokens.values())
    wanted = sizes.pop() if len(sizes) == 1 else 0
    return space.make_plan(vllm_config, kv_cache_config, dataclasses.replace(options, chunk_tokens=wanted), facts)


def row_facts(plan: space.Plan, config: Any, row_bytes: int, rows: int) -> RowFacts:
    """config: vLLM's OffloadingConfig."""
    return RowFacts(row_bytes=row_bytes, rows=rows, worker_bytes_per_block=config.worker_kv_bytes_per_block,
                    blocks_per_chunk=config.cache.blocks_per_chunk,
                    workers=1 if config.replicated_layout else config.parallel.world_size,
                    pages=tuple(group.page_bytes for group in plan.groups),
                    kv_cache_layout=config.kv_cache_layout, canonical=config.canonical_layout)


def descriptions(plan: space.Plan, layout: RowLayout, chunk_tokens: dict[int, int], isa: str,
                 detail: str) -> dict[int, list[kvasir.SpaceDescription]]:
    """For each KV group the space of each cell. isa and detail: empty, or what must match besides. PlanError."""
    if len(plan.groups) * layout.cells > _SPACES_MAX:
        raise space.PlanError(f"{len(plan.groups)} KV groups of {layout.cells} workers: at most {_SPACES_MAX} spaces")
    unknown = {group.id for group in plan.groups} ^ set(chunk_tokens)
    if unknown:
        raise space.PlanError(f"KV cache groups {sorted(unknown)} are offloaded by vLLM and not known to KvasirTier, or the other way round")
    made: dict[int, list[kvasir.SpaceDescription]] = {}
    for group in plan.groups:
        made[group.id] = [_description(plan, group, rank, layout, chunk_tokens[group.id], isa, detail) for rank in range(layout.cells)]
    return made


def _description(plan: space.Plan, group: space.Group, rank: int, layout: RowLayout, chunk_tokens: int, isa: str,
                 detail: str) -> kvasir.SpaceDescription:
    of_connector = space.describe(plan, group, rank)
    text = " ".join(part for part in (of_connector.layout_detail, layout.detail, detail) if part)
    if len(text.encode()) > _TEXT_MAX:
        raise space.PlanError(f"layout_detail: {len(text.encode())} bytes, at most {_TEXT_MAX}; shorten the option")
    return dataclasses.replace(of_connector, isa=isa or of_connector.isa, layout_detail=text, tokens_per_chunk=chunk_tokens,
                               chunk_bytes=layout.cell_bytes)
