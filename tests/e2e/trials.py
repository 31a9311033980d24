"""Faults of the stack, each with its repair and the account of what was asked meanwhile; for tests and the bench."""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field

from .stack import DECISION_S, Stack, total, until
from .visitors import Account, Running, Visit, Visitors, settled, visiting

BEFORE_S, AFTER_S = 2.0, 2.0
SETTLED_S = 12.0
"""How long a gateway that came back is given for what it will still send."""
TINY = "20000"
"""Bytes of a queue that is full at once."""


@dataclass(slots=True)
class Trial:
    """One fault: the requests around it, what arrived, and what was counted."""

    name: str
    account: Account
    dropped: float = 0.0
    """Spans and records that the SDKs dropped."""
    refused: float = 0.0
    """Spans and records that the agent refused."""
    again: float = 0.0
    """Spans that Jaeger got beyond those it has: duplicates."""
    undecided: list[Visit] = field(default_factory=list)
    """Visits whose trace a killed gateway may have lost."""

    @property
    def lost(self) -> int:
        """Spans and canonical lines that are missing though no killed gateway had them."""
        rest = Account([one for one in self.account.asked if one not in self.undecided], self.account.traces)
        return rest.spans_missing + len(self.account.unlogged)

    def __str__(self) -> str:
        asked, lost = len(self.account.asked), len(self.account.untraced)
        return (
            f"{self.name}: {asked} requests, {len(self.account.failed)} failed; {asked - lost} traces whole, "
            f"{lost} not ({len(self.undecided)} may be); {len(self.account.unlogged)} lines missing; "
            f"{self.lost} spans and lines lost, {self.dropped:.0f} dropped and counted, {self.refused:.0f} refused, {self.again:.0f} spans twice"
        )


def agent_away(running: Running, seconds: float, number: int) -> Trial:
    """The agent ends under load, and is back after a while."""

    def fault(stack: Stack) -> None:
        stack.stop("agent", number)
        time.sleep(seconds)
        stack.start("agent")

    return _play(running, f"agent away for {seconds:.0f} s by {signal.Signals(number).name}", fault)


def stores_away(running: Running, seconds: float) -> Trial:
    """Jaeger and Loki are killed, and back after a while."""

    def fault(stack: Stack) -> None:
        for name in ("jaeger", "loki"):
            stack.stop(name, signal.SIGKILL)
        time.sleep(seconds)
        stack.start("jaeger", "loki")

    return _play(running, f"Jaeger and Loki away for {seconds:.0f} s", fault)


def agent_full(running: Running, seconds: float) -> Trial:
    """The agent's queues hold almost nothing, and no gateway takes anything for a while."""
    refused = 0.0

    def fault(stack: Stack) -> None:
        nonlocal refused
        stack.stop("agent")
        for name in ("gateway-a", "gateway-b"):
            stack.stop(name)
        stack.start("agent", QUEUE_BYTES=TINY)
        until(lambda: _refused(stack), "a refusal")
        time.sleep(seconds)
        refused = _refused(stack)
        stack.start("gateway-a", "gateway-b")
        stack.stop("agent")
        stack.start("agent")

    trial = _play(running, f"disk queue full for {seconds:.0f} s", fault)
    trial.refused = refused
    return trial


def _refused(stack: Stack) -> float:
    return stack.counted("agent", "otelcol_exporter_enqueue_failed_(?:spans|log_records)")


def gateway_killed(running: Running) -> Trial:
    """One of two gateways is killed under load, and back at once."""
    killed = 0.0

    def fault(stack: Stack) -> None:
        nonlocal killed
        killed = time.time()
        stack.stop("gateway-a", signal.SIGKILL)
        stack.start("gateway-a")

    return _play(running, "one of two gateways killed", fault, lambda one: _may_be_lost(one, killed))


def _may_be_lost(one: Visit, killed: float) -> bool:
    """Whether a trace was undecided in the killed gateway: sent to it, and begun less than a decision before.

    A span waits up to a second in its service, and up to the flush of the agent's queue, before it gets there.
    """
    return one.trace[-1] in "01234567" and killed - DECISION_S - 4 < one.at < killed


def _play(
    running: Running, name: str, fault: Callable[[Stack], None], may_be_lost: Callable[[Visit], bool] | None = None
) -> Trial:
    stack, dropped = running.stack, _dropped(running)
    got = _at_rest(stack)
    with visiting(running.shop) as visitors:
        _wait(visitors, BEFORE_S)
        fault(stack)
        _wait(visitors, AFTER_S)
    undecided = [one for one in visitors.visits if may_be_lost(one)] if may_be_lost else []
    account = settled(stack, [one for one in visitors.visits if one not in undecided])
    if undecided:
        lossy = settled(stack, undecided, SETTLED_S)
        account = Account([*account.asked, *undecided], account.traces | lossy.traces, account.lines | lossy.lines)
    trial = Trial(name, account, _dropped(running) - dropped, undecided=undecided)
    trial.again = max(0.0, _accepted(stack) - got - sum(map(len, account.traces.values())))
    return trial


def _wait(visitors: Visitors, seconds: float) -> None:
    """A while of load: as many requests as it has, whatever the machine does."""
    wanted = len(visitors.visits) + int(seconds * 4)
    until(lambda: len(visitors.visits) >= wanted, "requests of visitors")


def _at_rest(stack: Stack) -> float:
    """Spans that Jaeger has got so far, once nothing of what was asked before is on its way."""
    before = -1.0
    while (now := _accepted(stack)) != before:
        before = now
        time.sleep(DECISION_S + 2)
    return now


def _accepted(stack: Stack) -> float:
    return stack.counted("jaeger", "otelcol_receiver_accepted_spans")


def _dropped(running: Running) -> float:
    count = 0.0
    for port in running.shop.metrics.values():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as reply:
            count += total(reply.read().decode(), "firstcause_self_dropped")
    return count
