"""A process that counts sampled vitals through the whole endpoint, and serves them to Prometheus until its input ends.

`python sampled.py <port>`: prints, per vital and case, the exact 75th percentile, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from math import ceil

import firstcause
from firstcause_rum import Config
from firstcause_rum.core import Core, Visit

CASES, VALUES = 12, 1500
HEAD = {"content-type": "text/plain", "user-agent": "Mozilla/5.0 Chrome/149.0"}
MIDDLES = {"LCP": (1000, 4500), "FCP": (500, 3500), "TTFB": (120, 2200), "INP": (50, 600), "CLS": (0.02, 0.4)}
"""From a good page's median to a poor one's, in milliseconds, or as a score."""


def values(name: str, case: int) -> list[float]:
    """Lognormal, as vitals are, between a narrow and a wide spread."""
    draw = random.Random(f"{name} {case}")
    low, high = MIDDLES[name]
    middle = low * (high / low) ** (case / (CASES - 1))
    spread = 0.3 + 0.5 * draw.random()
    return [middle * draw.lognormvariate(0, spread) for _ in range(VALUES)]


def main() -> None:
    """Send, print, wait."""
    firstcause.configure(
        "pages", metrics_port=int(sys.argv[1]), metrics_exporters=("prometheus",), traces=False, logs=False, log_stream="none"
    )
    core = Core(Config(settle_s=0, settle_late_s=0, address_rate=1e6, address_burst=10**6, total_rate=1e6, total_burst=10**6))
    exact: dict[str, list[float]] = {name: [] for name in MIDDLES}
    for case in range(CASES):
        sampled = {name: values(name, case) for name in MIDDLES}
        for n in range(VALUES):
            items = [{"k": "vital", "t": 1, "name": v, "id": v, "val": sampled[v][n]} for v in MIDDLES]
            body = {
                "v": 1, "ses": "a" * 32, "id": f"{case:016x}{n:016x}", "seq": 0, "sent": 9e6, "url": "/", "nav": "navigate",
                "route": f"/case{chr(97 + case)}", "dev": "mobile", "items": items,
            }  # fmt: skip
            visit = core.admit("POST", HEAD, "127.0.0.1")
            assert isinstance(visit, Visit)
            assert 204 == core.accept(visit, json.dumps(body).encode()).status
        core.settle(everything=True)
        for name in MIDDLES:
            exact[name].append(sorted(sampled[name])[ceil(0.75 * VALUES) - 1])
    print(json.dumps(exact), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
