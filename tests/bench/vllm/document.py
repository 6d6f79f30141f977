"""The document of a run: as `kvasir-bench NAME --json` prints it, with tables for people and a picture made from it."""
from __future__ import annotations

import os
import statistics
from collections import defaultdict
from typing import Any

Series = dict[str, list[float]]  # row: a value for each round


def machine(rounds: int, seconds: float, version: str, others: list[float]) -> dict[str, Any]:
    cpu = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_bytes": memory, "kernel": os.uname().release,
            "version": version, "rounds": rounds, "seconds": round(seconds, 1), "dropped_runs": 0, "repeated_runs": 0,
            "disturbed_cases": 0, "others_cores": round(statistics.median(others), 3) if others else 0.0}


def summary(values: list[float]) -> dict[str, float]:
    return {"median": float(f"{statistics.median(values):.5g}"), "min": float(f"{min(values):.5g}"),
            "max": float(f"{max(values):.5g}")}


def rows(series: Series, units: dict[str, str], ratios: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Ratios are formed within a round, so only where both rows have a value in each."""
    answer = []
    for name, values in series.items():
        row: dict[str, Any] = {"name": name, "unit": units[name], **summary(values), "p50_us": None, "p99_us": None,
                               "runs": len(values), "ratios": []}
        for to in ratios.get(name, []):
            if len(series.get(to, [])) == len(values):
                row["ratios"].append({"to": to, **summary([a / b for a, b in zip(values, series[to])])})
        answer.append(row)
    return answer


# ---- targets ----

TARGETS = [  # row, compared with (or its own value), at most
    ("vllm-ttft-2048-kvasir-tcp", "vllm-ttft-2048-prefix", 2.5),
    ("vllm-ttft-2048-kvasir-tcp", "vllm-ttft-2048-lmcache", 1.0),
    ("vllm-ttft-8192-kvasir-tcp", "vllm-ttft-8192-lmcache", 1.0),
    ("vllm-step-miss-scheduler-p99", None, 200.0),
    ("vllm-step-miss-worker-p99", None, 200.0),
    ("vllm-step-32-lookups-scheduler-p99", None, 200.0),
    ("vllm-step-32-lookups-worker-p99", None, 200.0),
    ("vllm-cpu-load-tcp", None, 0.6),
    ("vllm-cpu-save-tcp", None, 0.6),
]


def verdicts(document: dict[str, Any]) -> list[tuple[str, str, float, float, bool]]:
    """(row, against, at most, measured, reached)"""
    found = {row["name"]: row for row in document["rows"]}
    answer = []
    for name, to, most in TARGETS:
        if name not in found:
            continue
        value = found[name]["median"] if to is None else next(
            (ratio["median"] for ratio in found[name]["ratios"] if ratio["to"] == to), None)
        if value is not None:
            answer.append((name, to or "", most, value, value <= most))
    return answer


def text(document: dict[str, Any]) -> str:
    """Markdown tables."""
    lines = ["| row | median | min-max | unit | ratios |", "|---|---:|---:|---|---|"]
    for row in document["rows"]:
        ratios = ", ".join(f"{ratio['median']:.3g} of {ratio['to']}" for ratio in row["ratios"])
        lines.append(f"| {row['name']} | {row['median']:.4g} | {row['min']:.4g}-{row['max']:.4g} | {row['unit']} | {ratios} |")
    of = document["machine"]
    lines += ["", f"{of['rounds']} rounds, {of['cpu']}, {of['cores']} cores; others used {of['others_cores']} cores meanwhile.",
              "", "| target | against | at most | measured | verdict |", "|---|---|---:|---:|---|"]
    for name, to, most, value, good in verdicts(document):
        lines.append(f"| {name} | {to} | {most:g} | {value:.3g} | {'pass' if good else 'MISS'} |")
    return "\n".join(lines) + "\n"


# ---- the picture ----

BAR_X, SCALE, LINE = 250, 3.2, 22


def svg(document: dict[str, Any]) -> str:
    """Times to the first token of warm prompts as bars, a panel for each length; the cold one is told in the title."""
    panels: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in document["rows"]:
        parts = row["name"].split("-", 3)
        if row["name"].startswith("vllm-ttft-") and row["unit"] == "ms":
            panels[parts[2]][parts[3]] = row
    body, y = [], 10
    for length, ways in panels.items():
        warm = {way: row for way, row in ways.items() if not way.startswith("cold")}
        longest = max((row["max"] for row in warm.values()), default=1.0)
        cold = f"; cold {ways['cold']['median']:.0f} ms" if "cold" in ways else ""
        body.append(f"<text x='10' y='{y + 14}' font-weight='bold'>{length} tokens, time to first token, warm{cold}</text>")
        y += LINE + 4
        for way, row in sorted(warm.items(), key=lambda item: item[1]["median"]):
            unit = 100 * SCALE / longest
            end, low, high = BAR_X + row["median"] * unit, BAR_X + row["min"] * unit, BAR_X + row["max"] * unit
            colour = "#2b6cb0" if way.startswith("kvasir") else "#a0aec0"
            body.append(f"<text x='{BAR_X - 8}' y='{y + 13}' text-anchor='end'>{way}</text>")
            body.append(f"<rect x='{BAR_X}' y='{y + 2}' width='{end - BAR_X:.1f}' height='{LINE - 8}' fill='{colour}'/>")
            body.append(f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{y + 9}' y2='{y + 9}' stroke='#1a202c'/>")
            body.append(f"<text x='{max(end, high) + 6:.1f}' y='{y + 13}'>{row['median']:.1f} ms</text>")
            y += LINE
        y += 12
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='720' height='{y}' font-family='sans-serif' font-size='12'>\n"
            "<rect width='100%' height='100%' fill='white'/>\n" + "\n".join(body) + "\n</svg>\n")
