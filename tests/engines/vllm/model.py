"""Models with random weights from a fixed seed, written as Hugging Face folders: no download, no tokenizer, no torch.

The same arguments give the same bytes everywhere, so that two processes have the same model.
"""
from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Model:
    """A Llama-shaped decoder; `window` > 0 makes it a Mistral, whose layers all have a sliding window of so many tokens;
    `window_every` > 1 makes it a Gemma 3, where only each such layer sees everything."""

    layers: int = 4
    hidden: int = 256
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 64
    vocab: int = 512
    positions: int = 8192
    dtype: str = "float32"
    seed: int = 1
    window: int = 0
    window_every: int = 1

    @property
    def family(self) -> str:
        if not self.window:
            return "llama"
        return "mistral" if self.window_every == 1 else "gemma3_text"

    def kv_bytes_per_token(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_dim * (4 if self.dtype == "float32" else 2)


TINY = Model()
TINY_OTHER_WEIGHTS = replace(TINY, seed=2)
TINY_BF16 = replace(TINY, dtype="bfloat16")
TINY_WINDOW = replace(TINY, window=128)
TINY_HYBRID = replace(TINY, window=128, window_every=2)
# For times: the store matters only if there is something to move. 36 KiB of KV a token: 72 MiB for 2,048 tokens.
BENCH = Model(layers=12, hidden=768, heads=12, kv_heads=6, head_dim=64, vocab=8192, positions=16384)

ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "gemma3_text": "Gemma3ForCausalLM"}


def configuration(model: Model) -> dict[str, Any]:
    """The content of config.json."""
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[model.family]], "model_type": model.family, "hidden_size": model.hidden,
        "intermediate_size": model.hidden * 3, "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads, "num_key_value_heads": model.kv_heads, "head_dim": model.head_dim,
        "vocab_size": model.vocab, "max_position_embeddings": model.positions, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": model.dtype,
    }
    if model.family == "llama":
        config["mlp_bias"] = False
    else:
        config["sliding_window"] = model.window
    if model.family == "gemma3_text":
        config["hidden_activation"] = "gelu_pytorch_tanh"
        config["query_pre_attn_scalar"] = model.head_dim
        config["layer_types"] = ["full_attention" if (i + 1) % model.window_every == 0 else "sliding_attention"
                                 for i in range(model.layers)]
        config["tie_word_embeddings"] = True
    return config


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors; vectors are norms."""
    q, kv, inner = model.heads * model.head_dim, model.kv_heads * model.head_dim, model.hidden * 3
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (model.vocab, model.hidden),
                                           "model.norm.weight": (model.hidden,)}
    gemma = model.family == "gemma3_text"
    if not gemma:
        tensors["lm_head.weight"] = (model.vocab, model.hidden)
    for i in range(model.layers):
        layer = f"model.layers.{i}."
        tensors[layer + "self_attn.q_proj.weight"] = (q, model.hidden)
        tensors[layer + "self_attn.k_proj.weight"] = (kv, model.hidden)
        tensors[layer + "self_attn.v_proj.weight"] = (kv, model.hidden)
        tensors[layer + "self_attn.o_proj.weight"] = (model.hidden, q)
        tensors[layer + "mlp.gate_proj.weight"] = (inner, model.hidden)
        tensors[layer + "mlp.up_proj.weight"] = (inner, model.hidden)
        tensors[layer + "mlp.down_proj.weight"] = (model.hidden, inner)
        norms = ["input_layernorm", "post_attention_layernorm"]
        if gemma:
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
            tensors[layer + "self_attn.q_norm.weight"] = (model.head_dim,)
            tensors[layer + "self_attn.k_norm.weight"] = (model.head_dim,)
        for norm in norms:
            tensors[layer + norm + ".weight"] = (model.hidden,)
    return tensors


def encode(values: np.ndarray, dtype: str) -> bytes:
    """float32 values as little-endian bytes of the dtype; bfloat16 is rounded to even."""
    if dtype == "float32":
        return values.astype("<f4").tobytes()
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def tensor(generator: np.random.Generator, name: str, shape: tuple[int, ...], model: Model) -> np.ndarray:
    if len(shape) == 1:  # Gemma's norms multiply by 1 + weight
        return np.full(shape, 0.0 if model.family == "gemma3_text" else 1.0, np.float32)
    scale = 1.0 if "embed" in name and model.family != "gemma3_text" else shape[1] ** -0.5
    return generator.standard_normal(shape, np.float32) * np.float32(scale)


def write(model: Model, folder: str) -> str:
    """Writes config.json and model.safetensors into folder (made if missing; nothing is done if it holds this model
    already). Returns folder."""
    marker = os.path.join(folder, "model.txt")
    if os.path.exists(marker):
        with open(marker) as file:
            if file.read() == repr(model):
                return folder
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(configuration(model), file, indent=1)
    size = 4 if model.dtype == "float32" else 2
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes(model).items():
        begin, end = end, end + size * int(np.prod(shape))
        header[name] = {"dtype": "F32" if size == 4 else "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = np.random.default_rng(model.seed)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes(model).items():
            file.write(encode(tensor(generator, name, shape, model), model.dtype))
    with open(marker, "w") as file:
        file.write(repr(model))
    return folder
