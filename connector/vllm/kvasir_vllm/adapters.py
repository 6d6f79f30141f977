"""Adapters (LoRA) in keys. The engine's hashes name an adapter by its name and path alone, and other bytes may lie at that path on
another machine or tomorrow: so its fingerprint goes into the keys of requests that use it."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from . import weights
from .log import Limited

ADAPTERS_MAX = 4096  # that are remembered; requests with others neither load nor save


class Adapters:
    """Fingerprints of the adapters that requests name. Reads an adapter's files when it is first seen (some milliseconds), and with
    each later request its small configuration and the times of the others. One thread."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], bytes | None] = {}
        self._limited = Limited()

    def salt(self, request: Any) -> bytes | None:
        """b"" for a request without an adapter, else 32 bytes that name its weights; None if nothing does: no local safetensors,
        or files that have changed since the adapter was first seen (which of them the engine has is not known)."""
        adapter = getattr(request, "lora_request", None)
        if adapter is None:
            return b""
        if getattr(adapter, "load_inplace", False):
            return None  # its weights change under one name
        key = (adapter.lora_int_id, adapter.lora_name, adapter.lora_path)
        if self._known.get(key, b"") is None or key not in self._known and len(self._known) >= ADAPTERS_MAX:
            return None
        now = self._fingerprint(adapter.lora_path)
        if self._known.setdefault(key, now) != now:
            self._known[key] = None
        return self._known[key]

    def _fingerprint(self, path: str) -> bytes | None:
        try:
            config = (Path(path) / "adapter_config.json").read_bytes()
            return hashlib.sha256(b"kvasir adapter 1\0" + weights.fingerprint(path) + config).digest()
        except (ValueError, OSError) as fault:
            self._limited.warn("adapter", f"requests with the adapter {path} are not stored: {fault}")
            return None
