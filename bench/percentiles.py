"""Are the percentiles right? Known values through SDK, wire and a real Prometheus, against the exact ones."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import NamedTuple

from demo_app.parts import free_port

from .prometheus import Prometheus, prometheus

RESULTS = Path(__file__).parent / "results"
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
VALUES = 100_000
"""So many that neighbours at the 99.9th percentile of the heaviest tail lie well within the tolerance."""
LIMIT = 0.025
FASTEST, SLOWEST = 100e-6, 100.0
"""The range that the percentiles are promised for."""
METRIC = "http_server_request_duration_seconds"

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "exponential": lambda draw: draw.expovariate(1 / 0.08),
    "lognormal": lambda draw: draw.lognormvariate(-3.5, 1.2),
    "pareto": lambda draw: 0.004 * draw.paretovariate(1.2),
    "two peaks": lambda draw: draw.gauss(0.003, 0.0004) if draw.random() < 0.93 else draw.gauss(2.2, 0.3),
    "weibull": lambda draw: draw.weibullvariate(0.02, 0.45),
}
"""The names are routes; pareto and weibull have tails over four decades."""


def values(name: str) -> list[float]:
    """The seeded values of a distribution, within the promised range, in seconds."""
    # A text seeds alike in every process: `random` does not use the salted `hash` for it.
    draw = random.Random(name)
    return [min(SLOWEST, max(FASTEST, DISTRIBUTIONS[name](draw))) for _ in range(VALUES)]


def exact(ordered: list[float], quantile: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return ordered[ceil(quantile * len(ordered)) - 1]


def main(arguments: list[str]) -> int:
    """Print and keep the table; 0 when every native percentile is within the limit."""
    import firstcause

    port = free_port()
    with prometheus({"native": (f"127.0.0.1:{port}", True), "classic": (f"127.0.0.1:{port}", False)}) as server:
        os.environ["OTEL_METRICS_EXPORTER"] = "otlp,prometheus"
        firstcause.configure(
            "percentiles", endpoint=server.otlp, metrics_port=port, traces=False, logs=False, log_stream="none"
        )
        truth = {name: record(name) for name in DISTRIBUTIONS}
        if not firstcause.flush(20):
            raise RuntimeError("Prometheus did not take the push")
        rows = [row for name in DISTRIBUTIONS for row in compare(server, name, truth[name])]
    text = table(rows)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "percentiles.md").write_text(text)
    print(text)
    return 0 if all(max(abs(row.pushed), abs(row.scraped)) <= LIMIT for row in rows) else 1


def record(name: str) -> list[float]:
    """Count the values as requests of a route; returns them in order of size."""
    from firstcause import _setup
    from firstcause.diagnosis.unit import UnitReport

    recorder = _setup.recorder()
    assert recorder is not None
    found = values(name)
    unit = UnitReport(method="GET", route=name, status=200, trace_id=1)
    for seconds in found:
        unit.wall_ns, unit.started_ns = round(seconds * 1e9), time.time_ns()
        recorder.metrics.unit(unit)
    return sorted(found)


class Row(NamedTuple):
    """One percentile of one distribution; the last three are errors relative to the exact seconds."""

    name: str
    quantile: float
    exact: float
    pushed: float
    scraped: float
    classic: float


def compare(server: Prometheus, name: str, ordered: list[float]) -> list[Row]:
    """The errors of one distribution, once all of it has arrived on every way."""
    series = f'{METRIC}{{http_route="{name}",http_response_status_code="200",job="%s"}}'
    ways = {
        "pushed": series % "percentiles",
        "scraped": series % "native",
        "classic": series.replace(METRIC, METRIC + "_bucket") % "classic",
    }
    for way in ("pushed", "scraped"):
        server.await_value(f"histogram_count({ways[way]})", len(ordered))
    server.await_value((series % "classic").replace(METRIC, METRIC + "_count"), len(ordered))
    rows = []
    for quantile in QUANTILES:
        right = exact(ordered, quantile)
        pushed, scraped, classic = (
            server.value(f"histogram_quantile({quantile}, {way})") / right - 1 for way in ways.values()
        )
        rows.append(Row(name, quantile, right, pushed, scraped, classic))
    return rows


def table(rows: list[Row]) -> str:
    """The errors as a page."""
    lines = ["# Percentiles through a real Prometheus, against the exact ones", ""]
    lines += [f"{VALUES} values per distribution; errors relative to the exact value, at most {LIMIT:.1%} is held.", ""]
    lines += ["| distribution | percentile | exact ms | OTLP, native | scraped, native | scraped, classic |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in rows:
        shown = f"{row.pushed:+.2%} | {row.scraped:+.2%} | {row.classic:+.2%}"
        lines.append(f"| {row.name} | {row.quantile:.1%} | {row.exact * 1000:.2f} | {shown} |")
    pushed, scraped, classic = (max(map(abs, errors)) for errors in zip(*[row[3:] for row in rows], strict=True))
    lines += ["", f"Worst: OTLP {pushed:.2%}, scraped native {scraped:.2%}, scraped classic {classic:.2%}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
