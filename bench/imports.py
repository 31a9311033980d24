"""What importing the SDK costs beyond the OpenTelemetry API (`python -m bench imports`).

Each case is a fresh interpreter that times one import by itself; the cases take turns, so that a slow moment hits all
alike. Absolute times belong to the machine: the limit is on the ratio.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path
from statistics import median

SDK = Path(__file__).parent.parent / "sdk" / "src"
API, OURS, KIT = "opentelemetry.trace", "firstcause", "firstcause.testing"
CASES = (API, OURS, KIT)
MOST_MS, MOST_RATIO = 60.0, 3.0
"""DESIGN §10: 60 ms beyond the API, which takes about 28 ms on the machine they were set for."""
HEAVY = (
    "fastapi", "starlette", "flask", "django", "httpx", "requests", "urllib3", "aiohttp", "sqlalchemy", "psycopg",
    "asyncpg", "redis", "huey", "celery", "grpc", "structlog", "loguru", "prometheus_client", "orjson",
    "opentelemetry.sdk", "opentelemetry.exporter", "http.client", "pytest",
)  # fmt: skip
"""Frameworks, clients, exporters, and what only a configured process needs."""
_TIMED = """
import sys, time
begun = time.perf_counter()
import {name}
took = time.perf_counter() - begun
print(took * 1000, *(name for name in {heavy!r} if name in sys.modules))
"""


def once(name: str) -> tuple[float, list[str]]:
    """Milliseconds of one import in an interpreter of its own, and the heavy modules it brought along."""
    code = _TIMED.format(name=name, heavy=HEAVY)
    path = os.pathsep.join(filter(None, [str(SDK) if SDK.exists() else "", os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True)
    took, *heavy = done.stdout.split()
    return float(took), heavy


def main(arguments: list[str]) -> int:
    """Print the medians; 1 when the SDK brings something heavy along, or is over its ratio."""
    parser = argparse.ArgumentParser(prog="python -m bench imports")
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args(arguments).rounds
    times: dict[str, list[float]] = {name: [] for name in CASES}
    heavy: dict[str, set[str]] = {name: set() for name in CASES}
    for _ in range(rounds):
        for name in random.sample(CASES, len(CASES)):
            took, brought = once(name)
            times[name].append(took)
            heavy[name].update(brought)
    # Medians: in the first round some modules may have to be compiled as well.
    return report({name: median(took) for name, took in times.items()}, heavy)


def report(medians: dict[str, float], heavy: dict[str, set[str]]) -> int:
    """One line per case."""
    for name, took in medians.items():
        beyond, ratio = took - medians[API], took / medians[API]
        print(f"import {name:<20} {took:6.1f} ms  {beyond:+6.1f} ms  {ratio:4.2f} ×  {' '.join(sorted(heavy[name]))}")
    ours, ratio = medians[OURS] - medians[API], medians[OURS] / medians[API]
    print(f"{OURS}: {ours:.1f} ms beyond {API} (aim {MOST_MS:.0f}), {ratio:.2f} × (limit {MOST_RATIO:g})")
    return int(ratio > MOST_RATIO or bool(heavy[OURS] | heavy[KIT]))
