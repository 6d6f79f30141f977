"""What a KvasirTier is configured with: its entry of `secondary_tiers`, typed and checked. Pure; no vllm."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .options import OptionError, Options, parse

# What the connector's options have and a tier has no use for: vLLM decides it.
_NOT_OF_A_TIER = {"chunk_tokens": "the chunk is block_size of kv_connector_extra_config", "load": "vLLM decides what is loaded",
                  "save": "vLLM decides what is stored", "tool_tokens": "vLLM does not tell a tier what a request computed"}


@dataclass(frozen=True)
class TierOptions:
    """The connector's options (times in seconds, sizes in bytes) and those that only a tier has. docs/integrate/vllm.md has the table."""

    common: Options
    isa: str = ""                    # "": what this machine is
    layout_detail: str = ""          # free text that must match too
    enable_kv_events: bool = False
    locality: str = ""               # LOCAL or REMOTE, for vLLM's load filters and events


def tier_options(given: Mapping[str, Any]) -> TierOptions:
    """Checks what the configuration gives, without vLLM's own `type`, `module_path` and `backpressure`. Raises OptionError."""
    own = {field.name for field in fields(TierOptions)} - {"common"}
    common = {field.name for field in fields(Options)} - set(_NOT_OF_A_TIER)
    for name in given:
        if name in _NOT_OF_A_TIER:
            raise OptionError(f"{name}: no option of KvasirTier: {_NOT_OF_A_TIER[name]}")
        if name not in own | common:
            raise OptionError(f"{name}: no such option of KvasirTier. There are: {', '.join(sorted(own | common))}")
    options = TierOptions(common=parse({name: given[name] for name in given if name in common}),
                          **{name: given[name] for name in given if name in own})
    for name in ("isa", "layout_detail"):
        if not isinstance(getattr(options, name), str):
            raise OptionError(f"{name}: text is wanted, not {getattr(options, name)!r}")
    if not isinstance(options.enable_kv_events, bool):
        raise OptionError(f"enable_kv_events: true or false is wanted, not {options.enable_kv_events!r}")
    if options.locality not in ("", "LOCAL", "REMOTE"):
        raise OptionError(f"locality: LOCAL or REMOTE is wanted, not {options.locality!r}")
    return options
