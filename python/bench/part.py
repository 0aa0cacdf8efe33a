"""The form of a result that `cargo xtask bench document` reads (crates/benches/src/document/part.rs)."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GROUPS = {"p50": 0.50, "p99": 0.99}


def machine() -> dict[str, Any]:
    def line(file: str, name: str) -> str:
        with open(file) as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown")

    return {
        "cpu": line("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(line("/proc/meminfo", "MemTotal").split()[0]) << 10,
        "kernel": platform.release(),
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def measure(calls: dict[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, list[list[float]]]:
    """Microseconds of each call, some of each in turn, by round; the first call of each round is not counted."""
    taken: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            times: list[float] = []
            end = time.perf_counter() + seconds / rounds
            while (begin := time.perf_counter()) < end or not times:
                call()
                times.append((time.perf_counter() - begin) * 1e6)
            taken[name].append(sorted(times))
    return taken


def figures(what: str, at: str, taken: dict[str, list[list[float]]], roles: dict[str, str]) -> list[dict[str, Any]]:
    """One figure of each percentile; whoever has no role stands beside."""

    def lines(share: float) -> list[dict[str, Any]]:
        def of(times: list[float]) -> float:
            return statistics.median(times) if share == 0.5 else times[int(len(times) * share)]

        return [
            {"who": name, "role": roles.get(name, "beside"), "rounds": [of(times) for times in rounds]}
            for name, rounds in taken.items()
        ]

    return [
        {"group": f"{what}: {name}", "at": at, "unit": "us", "is_more_better": False, "lines": lines(share)}
        for name, share in GROUPS.items()
    ]


def write(out: str | None, part: dict[str, Any]) -> None:
    part["figures"].sort(key=lambda figure: figure["group"])
    for figure in part["figures"]:
        print(f"\n{figure['group']}, {figure['at']}\n\n| | {figure['unit']} |\n| --- | ---: |")
        for line in figure["lines"]:
            print(f"| {line['who']} | {statistics.median(line['rounds']):.0f} |")
    if out:
        Path(out).write_text(json.dumps(part, indent=1) + "\n")
