"""When is an answer of an engine with the store the answer of an engine without?

Bit for bit, where the same tokens are computed in steps of the same lengths. Where they are not, floating point sums in
another order: log-probabilities may differ by a tolerance, and a token may differ only where the two best of the run
without the store are closer than that; what follows such a token has another prompt and is not compared.
"""
from __future__ import annotations

from typing import Any

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}


def exact(cold: dict[str, Any], warm: dict[str, Any]) -> list[str]:
    """Faults, as sentences; none: equal bit for bit."""
    faults = []
    for field in ("tokens", "logprobs", "best"):
        if cold[field] != warm[field]:
            faults.append(f"{field} differ: {cold[field]} and {warm[field]}")
    if not cold["tokens"]:
        faults.append("there is nothing to compare: no tokens")
    return faults


def close(cold: dict[str, Any], warm: dict[str, Any], dtype: str = "float32") -> list[str]:
    """Faults, as sentences. warm may be shorter only if it was aborted."""
    limit = TOLERANCE[dtype]
    if not cold["tokens"]:
        return ["there is nothing to compare: no tokens"]
    faults = []
    if warm["finish"] != "abort" and len(cold["tokens"]) != len(warm["tokens"]):
        faults.append(f"{len(cold['tokens'])} tokens became {len(warm['tokens'])}, finished by {warm['finish']}")
    steps = zip(cold["tokens"], warm["tokens"], cold["logprobs"], warm["logprobs"], cold["best"], warm["best"])
    for i, (token, other, logprob, other_logprob, best, other_best) in enumerate(steps):
        # The two best are compared too: another distribution that has the same winner by chance shows there.
        distance = max(abs(a - b) for a, b in zip([logprob, *best], [other_logprob, *other_best]))
        if token != other:
            if best[0] - best[1] > limit:
                faults.append(f"token {i} is {other}, not {token}, though the two best are {best[0] - best[1]:.3g} apart")
            elif distance > limit:
                faults.append(f"token {i}: the two best differ by {distance:.3g}")
            break
        if not distance <= limit:  # also for NaN
            faults.append(f"token {i}: log-probabilities differ by {distance:.3g}")
            break
    return faults
