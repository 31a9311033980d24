"""Visitors of the shop whose trace ids are known, and what became of their traces and log lines."""

from __future__ import annotations

import os
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo_app.receiver import Receiver
from demo_app.supervisor import Shop

from .stack import Span, Stack, whole

PAUSE_S = 0.2
"""Five requests a second: it is about what arrives, not about how much."""
PATIENCE_S = 40.0
"""Longer than an SDK's longest pause between two tries."""
SPANS = 4
"""Of a request for a product: gateway's, its call, orders', and the statement."""
CANONICAL = '{service_name=~"gateway|orders"} | trace_id != "" | route != ""'


@dataclass(frozen=True, slots=True)
class Running:
    """What a test of the stack works with."""

    stack: Stack
    shop: Shop
    receiver: Receiver


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """The stack, the shop in front of it, and a receiver of notifications."""
    everywhere, receiver = os.sched_getaffinity(0), Receiver()
    stack = Stack(folder, receiver.url)
    try:
        stack.start_stores()
        with Shop(stack.collector, lambda _said: None) as shop:
            os.sched_setaffinity(0, everywhere)  # the shop keeps to one core; the stack need not
            stack.start_agent(shop)
            yield Running(stack, shop, receiver)
    finally:
        os.sched_setaffinity(0, everywhere)
        stack.close()
        receiver.close()


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: its ids as sent, when (epoch), and the status; 0 without an answer."""

    trace: str
    span: str
    at: float
    status: int


def visit(shop: Shop, path: str, **head: str) -> tuple[Visit, dict[str, str]]:
    """Ask the shop's gateway for something; the visit, and the answer's header."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    url = f"http://127.0.0.1:{shop.ports['gateway']}{path}"
    request = urllib.request.Request(url, headers={"traceparent": f"00-{trace}-{span}-01", **head})
    at, status, answer = time.time(), 0, dict[str, str]()
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            reply.read()
            status, answer = reply.status, {name.lower(): value for name, value in reply.getheaders()}
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    return Visit(trace, span, at, status), answer


class Visitors(threading.Thread):
    """Small steady load; `visits` grows."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(name="visitors", daemon=True)
        self._shop, self._enough = shop, threading.Event()
        self.visits: list[Visit] = []

    def run(self) -> None:
        """Ask for products until it is enough."""
        sku = 0
        while not self._enough.wait(PAUSE_S):
            sku = sku % 60 + 1
            self.visits.append(visit(self._shop, f"/products/{sku}")[0])

    def stop(self) -> None:
        """End, with the last answer."""
        self._enough.set()
        self.join(30)


@contextmanager
def visiting(shop: Shop) -> Iterator[Visitors]:
    """Visitors for the length of a block."""
    visitors = Visitors(shop)
    visitors.start()
    try:
        yield visitors
    finally:
        visitors.stop()


@dataclass(slots=True)
class Account:
    """Requests against what the stores have of them."""

    asked: list[Visit]
    traces: dict[str, list[Span]] = field(default_factory=dict)
    lines: set[tuple[str, str]] = field(default_factory=set)
    """Trace id and service of every canonical line."""

    @property
    def failed(self) -> list[Visit]:
        """Visits that users would complain about."""
        return [one for one in self.asked if one.status != 200]

    @property
    def untraced(self) -> list[Visit]:
        """Whose trace is missing, or lacks something."""
        return [one for one in self.asked if not whole(self.traces.get(one.trace, []), one.span)]

    @property
    def spans_missing(self) -> int:
        """How many spans these requests had, beyond those that are there."""
        return sum(max(0, SPANS - len(self.traces.get(one.trace, []))) for one in self.asked)

    @property
    def unlogged(self) -> list[tuple[str, str]]:
        """Canonical lines that are missing."""
        wanted = {(one.trace, service) for one in self.asked for service in ("gateway", "orders")}
        return sorted(wanted - self.lines)

    def look(self, stack: Stack) -> bool:
        """Read the stores again; whether everything is there."""
        since = min(one.at for one in self.asked) - 1
        self.traces = stack.traces("gateway", since)
        self.lines = {(line["trace_id"], line["service_name"]) for line in stack.logs(CANONICAL, since)}
        return not self.untraced and not self.unlogged


def settled(stack: Stack, visits: list[Visit], patience_s: float = PATIENCE_S) -> Account:
    """The account of visits, once everything of them is in the stores, or nothing has come for a while."""
    account, least, limit = Account(visits), None, 0.0
    while not account.look(stack):
        missing = account.spans_missing + len(account.unlogged)
        if least is None or missing < least:
            least, limit = missing, time.monotonic() + patience_s
        if time.monotonic() > limit:
            break
        time.sleep(0.5)
    return account
