"""The judge: a process of its own that alone knows the expected answers.

Reads one JSON line per round (fault, and what was measured), answers one JSON line: right or not, and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

QUIET = "quiet"
BY_COUNT = frozenset({"cache_down", "exception", "timeout", "release_throws"})
"""Faults that make requests fail: fast failures are counted. The others make them slow: seconds decide."""
SHARE = 0.6
"""The share the right cause must have where its fault is the only one."""
ALLOWED_WHEN_QUIET = 0.02  # a busy machine makes a few requests slow all by itself

EXPECTED: dict[str, set[tuple[str, str]]] = {
    "pool_leak": {("orders", "db.pool_exhausted")},
    "slow_query": {("orders", "db.slow")},
    "payments_lock": {("payments", "app.lock")},
    "payments_db": {("payments", "db.slow")},
    "cache_down": {("gateway", "cache.errors")},
    "loop_blocked": {("gateway", "app.loop_blocked")},
    # They burn gateway's core, which on a machine with only one is everybody's.
    "busy_neighbour": {("gateway", "host.cpu"), ("orders", "host.cpu"), ("payments", "host.cpu")},
    "exception": {("gateway", "app.exception")},
    "payments_slow_self": {("payments", "app.slow")},
    "busy_loop": {("gateway", "app.loop_blocked")},
    # Of two overlapping calls the request waited for the one that ended last.
    "overlap": {("payments", "app.slow")},
    # The second try, 50 ms later, succeeds: checkout stays within its objective.
    "retry": set(),
    # A thread that nothing instruments books nothing, so that its time is own code's or nobody's.
    "unknown_thread": {("gateway", "app.slow"), ("gateway", "unknown")},
    # Who gave up first knows only whom it waited for; what orders says of itself takes the place of that.
    "timeout": {("orders", "app.slow"), ("orders", "dependency.slow")},
    # A connection held during a fast call leaves enough of them: a bad habit, and no incident.
    "hold_across_call": set(),
    "slow_region": {("gateway", "client.region")},
    "heavy_script": {("gateway", "client.main_thread")},
    "release_throws": {("gateway", "client.errors")},
    "slow_image": {("gateway", "client.slow_page")},
    "slow_page_server": {("orders", "db.slow")},
}


def decide(fault: str, requests: int, verdicts: list[dict[str, Any]]) -> tuple[bool, str]:
    """Whether the verdicts of a round (service, cause, bad requests, excess seconds) say what was broken."""
    bad = sum(v["count"] for v in verdicts)
    if fault == QUIET or not EXPECTED[fault]:
        right = bad <= ALLOWED_WHEN_QUIET * requests
        return right, f"{bad} bad of {requests} requests while nothing hurt users"
    if not bad:
        return False, "users were hurt, and nobody said why"
    shares = shares_of(verdicts, "count" if fault in BY_COUNT else "excess")
    share = sum(shares.get(key, 0.0) for key in EXPECTED[fault])
    top = max(shares, key=lambda key: shares[key])
    wanted = " or ".join(" ".join(key) for key in sorted(EXPECTED[fault]))
    right = top in EXPECTED[fault] and share >= SHARE
    return right, f"said {' '.join(top)} with {shares[top]:.0%}; it was {wanted} ({share:.0%} in all)"


def shares_of(verdicts: list[dict[str, Any]], measure: str) -> dict[tuple[str, str], float]:
    """The share of each service and cause, `via` aside; by count where nobody measured seconds."""
    weighed = measure if any(v.get(measure, 0) for v in verdicts) else "count"
    total = sum(v.get(weighed, 0) for v in verdicts)
    shares: dict[tuple[str, str], float] = {}
    for v in verdicts:
        key = (v["service"], v["cause"])
        shares[key] = shares.get(key, 0.0) + v.get(weighed, 0) / total
    return shares


def place(fault: str, named: Sequence[Sequence[str]]) -> tuple[bool, int]:
    """Whether a fault (or several, by `+`) deserves a page, and where `named` has its cause: 1 first, 0 nowhere."""
    wanted = set[tuple[str, str]]().union(*(EXPECTED.get(part, set()) for part in fault.split("+")))
    places = [number for number, (service, cause) in enumerate(named, 1) if (service, cause) in wanted]
    return bool(wanted), min(places, default=0)


class Judge:
    """The runner's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo_app.judge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, fault: str, requests: int, verdicts: list[dict[str, Any]]) -> tuple[bool, str]:
        """Right or not, and in words."""
        answer = self._asked({"fault": fault, "requests": requests, "verdicts": verdicts})
        return answer["right"], answer["why"]

    def place(self, fault: str, named: Sequence[Sequence[str]]) -> tuple[bool, int]:
        """What `place` says of the services and causes that a page names, in their order."""
        answer = self._asked({"fault": fault, "named": named})
        return answer["page"], answer["place"]

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Judge until the pipe closes."""
    for line in sys.stdin:
        given = json.loads(line)
        if "named" in given:
            page, found = place(given["fault"], given["named"])
            print(json.dumps({"page": page, "place": found}), flush=True)
            continue
        right, why = decide(given["fault"], given["requests"], given["verdicts"])
        print(json.dumps({"right": right, "why": why}), flush=True)


if __name__ == "__main__":
    main()
