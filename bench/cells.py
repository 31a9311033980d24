"""What counting costs: one request, one client call, one addition. Microseconds, the best of several rounds."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TIMES, ROUNDS = 100_000, 7


def main(arguments: list[str]) -> int:
    """Print and keep the table; absolute figures belong to the machine, so nothing is held."""
    lines = ["# What counting costs", "", "| operation | µs |", "|---|---|"]
    for name, work in operations().items():
        # The least: whatever else the machine does only adds (see `timeit.Timer.repeat`).
        best = min(timeit.repeat(work, number=TIMES, repeat=ROUNDS)) / TIMES * 1e6
        lines.append(f"| {name} | {best:.2f} |")
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cells.md").write_text(text)
    print(text)
    return 0


def operations() -> dict[str, Callable[[], object]]:
    """What is measured, the call that measures included."""
    from prometheus_client import CollectorRegistry, Histogram

    from firstcause.diagnosis.unit import UnitReport
    from firstcause.metrics.cells import Metrics

    metrics = Metrics({"service.name": "bench"}, (0.3,))
    unit = UnitReport(method="GET", route="/a", status=200, wall_ns=80_000_000, trace_id=1, started_ns=time.time_ns())
    unit.shares = {"app": 50_000_000, "db:postgresql/shop": 30_000_000}
    call = ("GET", "payments", "8080", "200", "")
    # The first one makes the cells: what is measured is every later one.
    metrics.unit(unit)
    words, at = metrics.store.words, metrics.store.slots(("c", "x"), 1)
    peer = Histogram("peer", "Of prometheus_client.", ("method", "route", "status"), registry=CollectorRegistry())

    def add() -> None:
        words[at] += 1

    return {
        "a request: both histograms, two resources, exemplar": lambda: metrics.unit(unit),
        "a client call": lambda: metrics.call("http.client.request.duration", call, 0.08, 1, unit.started_ns),
        "one addition": add,
        # Its labels are looked up each time, as ours are: a request knows them at its end only.
        "prometheus_client: one classic histogram": lambda: peer.labels("GET", "/a", "200").observe(0.08),
    }


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
