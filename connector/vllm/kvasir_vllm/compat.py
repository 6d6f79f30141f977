"""Versions of vLLM: which ones were tried, what this connector needs of them, and the few facts that only vLLM knows.

vLLM's connector interface changes between minor versions. Signatures are looked up rather than believed: what is missing is
an error that names it, and a version that was not tried but has everything runs with a warning."""
from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .log import logger

TESTED = ("0.32",)


class CompatError(RuntimeError):
    """This vLLM lacks something that the connector needs."""


@dataclass(frozen=True)
class Facts:
    """What vLLM resolves from its configuration, the same in the scheduler's process and the workers'."""

    version: str  # "0.32": minor version, in the name of opaque pages
    scheduler_block: int  # tokens; hits are multiples of it
    hash_block: int  # tokens of one of request.block_hashes
    kind_of: Callable[[Any], str]  # KV cache spec -> KVCacheSpecKind's value
    isa_of: Callable[[Any], str]  # KV cache spec -> what a page is packed for
    cpu: bool


def check() -> str:
    """Raises CompatError if this vLLM cannot work with the connector; returns its minor version."""
    import vllm
    from vllm.distributed.kv_transfer.kv_connector.v1 import base
    from vllm.v1.core.sched.output import SchedulerOutput

    version = ".".join(vllm.__version__.split(".")[:2])
    missing = _missing(base, SchedulerOutput)
    if missing:
        raise CompatError(f"vLLM {vllm.__version__} does not have {', '.join(missing)}, which KvasirConnector needs; "
                          f"tested with vLLM {', '.join(TESTED)}")
    if version not in TESTED:
        logger.warning("kvasir: vLLM %s was not tested with this connector (tested: %s); its interface looks right",
                       vllm.__version__, ", ".join(TESTED))
    return version


_NEEDED: Mapping[str, tuple[str, ...]] = {
    "get_num_new_matched_tokens": ("request", "num_computed_tokens"),
    "update_state_after_alloc": ("request", "blocks", "num_external_tokens"),
    "build_connector_meta": ("scheduler_output",),
    "update_connector_output": ("connector_output",),
    "get_transfer_results": ("finished_req_ids",),
    "get_block_ids_with_load_errors": (),
    "handle_preemptions": ("kv_connector_metadata",),
    "build_connector_worker_meta": (),
    "wait_for_layer_load": ("layer_name",),
    "wait_for_save": (),
}


def _missing(base: Any, scheduler_output: Any) -> list[str]:
    missing = [name for name in ("SupportsHMA", "KVConnectorTransferResults", "KVConnectorWorkerMetadata")
               if not hasattr(base, name)]
    for name, wanted in _NEEDED.items():
        method = getattr(base.KVConnectorBase_V1, name, None)
        if method is None:
            missing.append(f"KVConnectorBase_V1.{name}")
        elif tuple(inspect.signature(method).parameters)[1:] != wanted:
            missing.append(f"KVConnectorBase_V1.{name}({', '.join(wanted)})")
    have = getattr(scheduler_output, "__dataclass_fields__", {})
    missing += [f"SchedulerOutput.{name}" for name in ("kv_connector_block_state", "preempted_req_ids") if name not in have]
    return missing


def facts(vllm_config: Any, kv_cache_config: Any, version: str) -> Facts:
    """Asks vLLM. Raises CompatError if it has no answer."""
    try:
        from vllm.platforms import current_platform
        from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
        from vllm.v1.kv_cache_interface import get_kv_cache_spec_kind
    except ImportError as fault:
        raise CompatError(f"vLLM {version} lacks what KvasirConnector asks it for: {fault}") from None
    scheduler_block, hash_block = resolve_kv_cache_block_sizes(kv_cache_config, vllm_config)
    cpu = bool(current_platform.is_cpu())
    return Facts(version, scheduler_block, hash_block, lambda spec: str(get_kv_cache_spec_kind(spec).value),
                 (lambda spec: _cpu_isa(vllm_config, spec)) if cpu else (lambda spec: ""), cpu)


def _cpu_isa(vllm_config: Any, spec: Any) -> str:
    """Pages of the CPU backend are packed as its attention kernel wants them: machine, vLLM's choice, vector extension."""
    import torch
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    inner = getattr(spec, "first_spec", spec)
    chosen = _get_attn_isa(vllm_config.model_config.dtype, inner.block_size, getattr(inner, "head_size", None),
                           vllm_config.cache_config.cache_dtype)
    return f"{platform.machine()}/{chosen}/{torch.backends.cpu.get_cpu_capability()}"
