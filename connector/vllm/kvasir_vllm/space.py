"""vLLM's configuration to spaces, its tensors to regions.

The scheduler and the workers make the same Plan from the same configuration; the workers check their tensors against it.
vLLM's and torch's objects are only read here (duck-typed), nothing of them is imported."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import kvasir

from . import chunks, weights
from .compat import Facts
from .log import logger
from .options import Options

CHUNK_BYTES_MAX = 128 * 2**20  # kvs_get, kvs_put
SPACES_MAX = 64  # of a connector
_KEY_LENGTHS = {"sha256": 32, "sha256_cbor": 32, "xxhash": 16, "xxhash_cbor": 16}
_FULL = ("full_attention", "mla_attention", "sink_full_attention")
_WINDOW = ("sliding_window", "sliding_window_mla")


class PlanError(ValueError):
    """This engine cannot be served; the text says what is in the way and what would help."""


@dataclass(frozen=True)
class Group:
    """A KV cache group that is stored: layers whose blocks are allocated together."""

    id: int  # vLLM's number of it
    window: int  # tokens; 0: full attention, every block is needed
    block_size: int  # tokens
    layers: tuple[str, ...]  # of one rank, in the engine's order
    page_bytes: tuple[int, ...]  # of each layer: one block
    isa: str
    detail: str  # what must match besides the fields of a space

    def chunk_bytes(self, chunk_tokens: int) -> int:
        return sum(self.page_bytes) * (chunk_tokens // self.block_size)


@dataclass(frozen=True)
class Plan:
    """Everything that both sides must agree on."""

    groups: tuple[Group, ...]
    n_engine_groups: int  # of the engine, stored or not
    chunk_tokens: int
    hit_block: int  # tokens; external hits are multiples of it
    hash_block: int
    key_length: int
    hash_name: str
    tp_size: int
    model: str
    revision: str
    weights: bytes
    engine: str
    files: bytes = b""  # the part of `weights` that is of the weights alone, without the model's configuration

    @property
    def hashes_per_chunk(self) -> int:
        return self.chunk_tokens // self.hash_block

    @property
    def n_spaces(self) -> int:
        """That a prompt goes into: one for each group of each rank."""
        return len(self.groups) * self.tp_size

    @property
    def fails_by_block(self) -> bool:
        """Whether the engine can compute on from the first block that did not come."""
        return self.n_engine_groups == 1 and not any(group.window for group in self.groups)


def make_plan(vllm_config: Any, kv_cache_config: Any, options: Options, facts: Facts) -> Plan:
    """Raises PlanError, weights.WeightsError."""
    _refuse_parallel(vllm_config.parallel_config)
    algorithm = vllm_config.cache_config.prefix_caching_hash_algo
    if algorithm not in _KEY_LENGTHS:
        raise PlanError(f"prefix_caching_hash_algo: {algorithm} is not known to KvasirConnector; use sha256_cbor")
    if algorithm.startswith("xxhash") and not os.environ.get("PYTHONHASHSEED"):
        logger.warning("kvasir: keys of %s begin with a random seed in each process: set PYTHONHASHSEED to one value on all "
                       "engines, or nothing is found again", algorithm)
    groups = tuple(_groups(kv_cache_config, vllm_config, facts))
    try:
        chunk_tokens = chunks.chunk_size(options.chunk_tokens, [g.block_size for g in groups] + [facts.scheduler_block],
                                         facts.hash_block)
    except ValueError as fault:
        raise PlanError(str(fault)) from None
    for group in groups:
        if group.chunk_bytes(chunk_tokens) > CHUNK_BYTES_MAX:
            raise PlanError(f"chunk_tokens: a chunk of {chunk_tokens} tokens has {group.chunk_bytes(chunk_tokens)} bytes of KV a "
                            f"rank, more than {CHUNK_BYTES_MAX}; choose fewer tokens")
    model, revision, files, digest = _identity(vllm_config, options)
    return Plan(groups, len(kv_cache_config.kv_cache_groups), chunk_tokens, facts.scheduler_block, facts.hash_block,
                _KEY_LENGTHS[algorithm], algorithm, vllm_config.parallel_config.tensor_parallel_size, model, revision, digest,
                f"vllm/{facts.version}", files)


def describe(plan: Plan, group: Group, rank: int) -> kvasir.SpaceDescription:
    """The space of one KV group of one tensor-parallel rank."""
    known = plan.hash_name == "sha256_cbor"
    return kvasir.SpaceDescription(
        model=plan.model, revision=plan.revision, weights=plan.weights, engine=plan.engine, isa=group.isa,
        layout=kvasir.Layout.OPAQUE, layout_detail=group.detail, tokens_per_chunk=plan.chunk_tokens,
        engine_block=group.block_size, kv_group=group.id, tp_rank=rank, tp_size=plan.tp_size,
        hash=kvasir.Hash.VLLM_SHA256_CBOR if known else kvasir.Hash.OPAQUE, key_length=plan.key_length,
        chunk_bytes=group.chunk_bytes(plan.chunk_tokens))


def _refuse_parallel(parallel: Any) -> None:
    for name in ("pipeline_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            raise PlanError(f"{name}: KvasirConnector works with tensor and data parallelism; set it to 1")


# ---- groups ----


def _groups(kv_cache_config: Any, vllm_config: Any, facts: Facts) -> Iterator[Group]:
    owners = {name for tensor in kv_cache_config.kv_cache_tensors for name in tensor.layers}
    ids = kv_cache_config.prefix_cacheable_group_ids
    if not ids:
        raise PlanError("no KV cache group of this model can be reused by prefix: there is nothing for KvasirConnector to store")
    for i in ids:
        engine_group = kv_cache_config.kv_cache_groups[i]
        spec = engine_group.kv_cache_spec
        kind = facts.kind_of(spec)
        if kind not in _FULL + _WINDOW or getattr(engine_group, "host_resident", False):
            raise PlanError(f"KV cache group {i} is of kind {kind}, which KvasirConnector does not store (it stores "
                            f"{', '.join(_FULL + _WINDOW)}), and without it the other groups are of no use")
        layers = tuple(name for name in engine_group.layer_names if name in owners)  # others share an owner's tensor
        window = int(getattr(getattr(spec, "first_spec", spec), "sliding_window", 0) or 0) if kind in _WINDOW else 0
        yield Group(i, window, spec.block_size, layers, tuple(_page_bytes(spec, name) for name in layers), facts.isa_of(spec),
                    _detail(spec, kind, window, layers, vllm_config, kv_cache_config))


def _layer_spec(spec: Any, layer: str) -> Any:
    inner = getattr(spec, "kv_cache_specs", None)
    return inner[layer] if inner else spec


def _page_bytes(spec: Any, layer: str) -> int:
    return int(_layer_spec(spec, layer).page_size_bytes)


def _detail(spec: Any, kind: str, window: int, layers: Sequence[str], vllm_config: Any, kv_cache_config: Any) -> str:
    """What makes bytes differ and has no field of its own in an opaque space. Readable, within 255 bytes."""
    one = _layer_spec(spec, layers[0]) if layers else spec
    pages = [_page_bytes(spec, name) for name in layers]
    uniform = str(pages[0]) if len(set(pages)) == 1 else hashlib.sha256(repr(pages).encode()).hexdigest()[:16]
    cache = vllm_config.cache_config
    return (f"dtype={_dtype(getattr(one, 'dtype', None))} cache={cache.cache_dtype} kind={kind} window={window} "
            f"heads={getattr(one, 'num_kv_heads', 0)} dim={getattr(one, 'head_size', 0)} layers={len(layers)} page={uniform} "
            f"order={getattr(kv_cache_config, 'kv_cache_layout', None)} hash={cache.prefix_caching_hash_algo}")


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


# ---- identity of the model ----

_VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "architectures")


def _identity(vllm_config: Any, options: Options) -> tuple[str, str, bytes, bytes]:
    model_config = vllm_config.model_config
    path = str(model_config.model)
    local = os.path.isdir(path)
    name = options.model or (os.path.basename(os.path.normpath(path)) if local else path)
    revision = options.revision or str(getattr(model_config, "revision", None) or "")
    if not local and not options.revision:
        revision = str(getattr(model_config.hf_config, "_commit_hash", None) or revision)
    files = _weights(vllm_config, options, path, local, revision)
    digest = hashlib.sha256(b"kvasir vllm model 1\0" + files)
    digest.update(_config_text(model_config).encode())
    digest.update(_draft_text(getattr(vllm_config, "speculative_config", None)).encode())
    return name, revision, files, digest.digest()


def _weights(vllm_config: Any, options: Options, path: str, local: bool, revision: str) -> bytes:
    """The fingerprint, or zeros where something else names the weights."""
    if options.weights not in ("auto", "off"):
        return bytes.fromhex(options.weights)
    made_up = getattr(vllm_config.load_config, "load_format", "auto") == "dummy"
    if options.weights == "auto" and local and not made_up:
        try:
            return weights.fingerprint(path)
        except (weights.WeightsError, OSError) as fault:
            raise PlanError(f"weights: {fault}. Give the option `weights` (64 hexadecimal digits that name these weights), or "
                            "`weights: off` with a `revision`") from None
    if not revision:
        raise PlanError("weights: nothing tells these weights from others under the same name. Give the option `revision`, or "
                        "`weights` with 64 hexadecimal digits")
    return bytes(32)


def _config_text(model_config: Any) -> str:
    """The model's configuration as text: a changed rope scaling gives other KV from equal weights."""
    values = dict(model_config.hf_config.to_dict())
    for name in _VOLATILE:
        values.pop(name, None)
    values["vllm"] = {"dtype": _dtype(model_config.dtype), "quantization": str(getattr(model_config, "quantization", None)),
                      "quantization_config": str(getattr(model_config, "quantization_config", None)),
                      "long_rope": list(_long_ropes(values, getattr(model_config, "max_model_len", 0)))}
    return json.dumps(values, sort_keys=True, default=str)


def _long_ropes(values: Any, longest: int) -> Iterator[int]:
    """What `longest` (max_model_len) decides of each longrope scaling: vLLM rotates keys with its long factors instead of the short
    ones if sequences may be longer than the original most, which is not said by the model's configuration alone."""
    if isinstance(values, dict):
        if "long_factor" in values:
            most = values.get("original_max_position_embeddings")
            yield longest > most if most else longest
        for name in sorted(values, key=str):
            yield from _long_ropes(values[name], longest)


def _draft_text(speculative: Any) -> str:
    """A draft model's layers lie beside the model's own in its pages. Its weights are not looked at: wrong ones give worse drafts,
    never other tokens."""
    model = getattr(speculative, "draft_model_config", None)
    method = str(getattr(speculative, "method", None))
    if model is None or method.startswith(("ngram", "suffix")):
        return ""
    path = str(model.model)
    name = os.path.basename(os.path.normpath(path)) if os.path.isdir(path) else path
    return json.dumps({"draft": [method, name, str(getattr(model, "revision", None) or "")]})


# ---- tensors to regions ----


@dataclass(frozen=True)
class Part:
    """One region of a layer relative to its tensor: bytes of block i are [offset + i * stride, + size)."""

    offset: int
    size: int
    stride: int


def parts(shape: Sequence[int], strides: Sequence[int], item: int, n_blocks: int, page: int) -> list[Part]:
    """Where the pages of a tensor lie, in the order of their bytes.

    shape, strides (in bytes), item (bytes of an element): the tensor as the engine shows it. The order of dimensions is taken from the
    strides alone; only the block dimension is recognised by its extent, a multiple of n_blocks (kernels may cut blocks).
    page: bytes of one block, padding included. Raises ValueError if the tensor does not hold n_blocks such pages."""
    dims = sorted(((stride, extent) for stride, extent in zip(strides, shape) if extent != 1), reverse=True)
    at = next((i for i, (stride, extent) in enumerate(dims) if extent % n_blocks == 0), None)
    if n_blocks == 1:
        at, dims = 0, [(max(page, dims[0][0] * dims[0][1] if dims else page), 1)] + dims
    if at is None or any(stride <= 0 for stride, _ in dims):
        raise ValueError(f"no dimension of shape {tuple(shape)} with strides {tuple(strides)} counts {n_blocks} blocks")
    stride, extent = dims[at]
    cut = extent // n_blocks  # kernel blocks of a block
    outer, inner = dims[:at], dims[at + 1:]
    dense, loose = _dense(inner, item)
    if cut > 1 and stride == dense and not loose:
        dense *= cut
    elif cut > 1:
        loose = [(stride, cut), *loose]
    found = [Part(offset, dense, stride * cut) for offset in _offsets(outer + loose)]
    total = sum(part.size for part in found)
    if len(found) == 1 and total < page <= stride * cut:
        found, total = [Part(0, page, stride * cut)], page  # the padding at the end of a page belongs to it
    if total != page:
        raise ValueError(f"shape {tuple(shape)} with strides {tuple(strides)} holds {total} bytes a block, {page} expected")
    return found


def _dense(dims: Sequence[tuple[int, int]], item: int) -> tuple[int, list[tuple[int, int]]]:
    """The bytes that the innermost dimensions cover without a gap, and the dimensions outside of them."""
    size = item
    for i in range(len(dims) - 1, -1, -1):
        stride, extent = dims[i]
        if stride != size:
            return size, list(dims[:i + 1])
        size *= extent
    return size, []


def _offsets(dims: Sequence[tuple[int, int]]) -> Iterator[int]:
    if not dims:
        yield 0
        return
    stride, extent = dims[0]
    for i in range(extent):
        for offset in _offsets(dims[1:]):
            yield i * stride + offset


def regions(group: Group, tensors: Any, n_blocks: int) -> list[kvasir.Region]:
    """The registered memory of a worker's group; `tensors` maps a layer's name to its tensor.

    Raises PlanError: a tensor is missing, is not the host's, or is not what the plan says."""
    made = []
    for number, (layer, page) in enumerate(zip(group.layers, group.page_bytes)):
        tensor = tensors.get(layer)
        if tensor is None:
            raise PlanError(f"{layer}: the engine has registered no KV cache for this layer")
        if tensor.device.type != "cpu":
            raise PlanError(f"{layer}: its KV cache lies on {tensor.device}, and KvasirConnector works on memory that the host can "
                            "address. Use vLLM's OffloadingConnector with KvasirTier as its secondary tier")
        item = tensor.element_size()
        try:
            found = parts(tuple(tensor.shape), tuple(stride * item for stride in tensor.stride()), item, n_blocks, page)
        except ValueError as fault:
            raise PlanError(f"{layer}: {fault}") from None
        made += [kvasir.Region(tensor.data_ptr() + part.offset, part.size, part.stride, n_blocks, number) for part in found]
    return made
