"""What a run of `bench.overhead` says: table, ratios against their limits, files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from .ratios import Estimate, difference, estimate, ratio, ratio_of_medians

Samples = dict[tuple[str, str], list[float]]
"""CPU microseconds per request by (peer, route), one value per cycle."""

ITEMS, FAN = "/items/7", "/fan"
CHILDREN = 5
STARTS = 4
"""How often all processes are started anew in one run."""
NOISE = (
    "“bare again” is a second process of the bare application: its distance from 1 is the noise. "
    "Absolute figures move with the machine; the ratios are what counts."
)
OURS, STOCK, BARE = "firstcause", "stock OpenTelemetry", "bare"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One ratio within this run, and the limit it is held to."""

    what: str
    measured: Estimate
    limit: float

    @property
    def held(self) -> bool:
        """The upper end of the interval decides: a lucky median proves nothing."""
        return self.measured.high <= self.limit


def over_bare(samples: Samples, peer: str, route: str) -> list[float]:
    """Microseconds per request that a peer adds, cycle by cycle."""
    return difference(samples[peer, route], samples[BARE, route])


def per_child(samples: Samples, peer: str) -> list[float]:
    """Microseconds per child span: what `/fan` adds beyond what a request adds."""
    extra = difference(over_bare(samples, peer, FAN), over_bare(samples, peer, ITEMS))
    return [value / CHILDREN for value in extra]


def verdicts(samples: Samples) -> list[Verdict]:
    """The limits of DESIGN's table that hold on any machine: ratios within one run."""
    return list(_verdicts(samples))


def _verdicts(samples: Samples) -> Iterator[Verdict]:
    if (OURS, ITEMS) not in samples:
        return
    bare, ours = samples[BARE, ITEMS], samples[OURS, ITEMS]
    yield Verdict("all signals, ledger and line, over bare", estimate(ratio(ours, bare)), 1.6)
    quiet = samples["firstcause, no exporter", ITEMS]
    for collector in ("refuses", "hangs"):
        cost = samples[f"firstcause, collector {collector}", ITEMS]
        yield Verdict(f"collector {collector}, over no exporter", estimate(ratio(cost, quiet)), 1.05)
    if (STOCK, ITEMS) not in samples:
        return
    stock = over_bare(samples, STOCK, ITEMS)
    yield Verdict("overhead, of stock's", ratio_of_medians(over_bare(samples, OURS, ITEMS), stock), 1 / 4)
    child = per_child(samples, STOCK)
    yield Verdict("child span, of stock's", ratio_of_medians(per_child(samples, OURS), child), 1 / 3)
    # Refused, the spans pile up until the queue is full: from then on each is thrown away.
    full = per_child(samples, "firstcause, collector refuses")
    yield Verdict("child span with a full queue, of stock's", ratio_of_medians(full, child), 1 / 3)


def machine() -> dict[str, str]:
    """Enough to judge the figures by; nothing that names the machine or its owner."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    packages = ("fastapi", "starlette", "uvicorn", "opentelemetry-sdk", "structlog", "prometheus-client")
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def markdown(samples: Samples, memory: dict[str, float], found: list[Verdict]) -> str:
    """The whole run as one page."""
    lines = ["# CPU per request", "", "Microseconds of CPU; medians over cycles with 95 % intervals.", ""]
    lines += ["| peer | route | CPU µs | over bare µs | × bare | memory MB |", "|---|---|---|---|---|---|"]
    lines += [_row(samples, memory, peer, route) for peer, route in samples]
    lines += ["", *_children(samples), "", *_limits(found), ""]
    lines += ["Machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()) + ".", ""]
    cycles = len(samples[BARE, ITEMS])
    lines += [f"{cycles} cycles of slices in random order, by processes started anew {STARTS} times. {NOISE}", ""]
    return "\n".join(lines)


def _row(samples: Samples, memory: dict[str, float], peer: str, route: str) -> str:
    values, bare = samples[peer, route], samples[BARE, route]
    added = estimate(difference(values, bare))
    shown = f"{added.middle:+.0f} [{added.low:+.0f}..{added.high:+.0f}]"
    cells = [peer, route, f"{median(values):.0f}", shown, str(estimate(ratio(values, bare))), f"{memory[peer]:.0f}"]
    return f"| {' | '.join(cells)} |"


def _children(samples: Samples) -> list[str]:
    peers = [peer for peer, route in samples if route == FAN and not peer.startswith(BARE)]
    costs = [f"{peer} {estimate(per_child(samples, peer))}" for peer in peers]
    return ["One child span with four attributes, served, µs: " + "; ".join(costs) + "."] if costs else []


def _limits(found: list[Verdict]) -> list[str]:
    lines = ["| ratio within this run | measured | upper end at most | |", "|---|---|---|---|"]
    words = {True: "held", False: "**over**"}
    lines += [f"| {v.what} | {v.measured} | {v.limit:.2f} | {words[v.held]} |" for v in found]
    return lines if found else []


def write(folder: Path, samples: Samples, memory: dict[str, float], found: list[Verdict]) -> None:
    """`overhead.md` to read and `overhead.json` with every slice to compute with."""
    folder.mkdir(exist_ok=True)
    (folder / "overhead.md").write_text(markdown(samples, memory, found))
    cases = [
        {"peer": peer, "route": route, "cpu_us": [round(value, 2) for value in values]}
        for (peer, route), values in samples.items()
    ]
    ratios = [{"what": v.what, "limit": v.limit, "held": v.held, **v.measured._asdict()} for v in found]
    content = {"machine": machine(), "memory_mb": memory, "cases": cases, "ratios": ratios}
    (folder / "overhead.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
