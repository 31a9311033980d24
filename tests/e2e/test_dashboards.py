"""Every query of every dashboard, asked of the real Prometheus over the real shop: none refused, none without an answer.

What the shop cannot answer stands in `dashboards/needs.py`, and that list is exact.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboards import lint, live, needs
from dashboards.__main__ import HERE
from dashboards.queries import ANY, Asked, asked
from demo_app.chain import Chain, programs
from demo_app.load import Load
from demo_app.programs import ProgramMissingError
from demo_app.receiver import Receiver
from demo_app.supervisor import Shop
from demo_app.synthetic import Page
from demo_app.visitors import AWAY, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
VALUES = {**ANY, "__rate_interval": "30s", "__range": "5m"}
"""The chain scrapes every second; half a minute is long enough for the rarest route."""
FAULTS = (("exception", "payments_lock", "slow_image", "release_throws"), ("slow_query",), ("cache_down", "timeout"))
"""What is broken together, one group after another: verdicts, waits, locks, errors and slow pages come of it."""
ROUNDS, GROUP_S = 4, 25.0
"""How often all groups are gone through at most, and how long each lasts; it ends when every answer is there."""
Place = tuple[str, str, str]


class Taker:
    """Takes OTLP as a Collector would, and refuses it for ever when told to: then the SDK has to drop."""

    def __init__(self) -> None:
        self.refuses = False
        taker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(400 if taker.refuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def look(shop: Shop) -> None:
    """A page view from far away that was clicked and slow to answer: the synthetic visitors do not click."""
    page = Page(f"http://127.0.0.1:{shop.ports['gateway']}", "/shop", None)
    try:
        page.load()
    except (OSError, HTTPException):
        return
    if not page.head:
        return  # an error page: the fault that is on stops this page as well
    took = {"in": 40, "proc": 400, "pres": 60, "own": 1, "ms": 350}
    page.add("vital", name="INP", id="inp", val=500, at=took)
    page.add("vital", name="CLS", id="cls", val=0.2, at={})
    page.add("work", n=2, blk=180, max=150, scripts=[{"src": "https://tags.example/t.js", "own": 0, "ms": 120}])
    page.add("err", kind="error", type="TypeError", msg="x is not a function", fp="00000002", n=1)
    page.add("req", how="fetch", m="GET", url=f"{page.url}/catalogue", st=200, ms=80)
    page.add("of a later version")
    page.tell(AWAY)


@dataclass
class Inquiry:
    """Which queries still have no answer, and what was refused."""

    url: str
    shop: Shop
    left: dict[Place, Asked]
    refused: list[str] = field(default_factory=list)

    def ask(self) -> None:
        """Ask once what has no answer yet."""
        for place, query in list(self.left.items()):
            try:
                if live.prometheus(self.url, query, VALUES):
                    del self.left[place]
            except live.RefusedError as error:
                self.refused.append(f"{query.place}: {error}")
                del self.left[place]

    def until(self, expected: set[Place], seconds: float) -> bool:
        """Ask until only the `expected` are left, but not for ever."""
        limit = time.monotonic() + seconds
        while set(self.left) - expected and time.monotonic() < limit:
            for _ in range(3):  # so many that the bad views come from one region
                look(self.shop)
            self.ask()
        return not set(self.left) - expected


@pytest.fixture(scope="module", name="inquiry")
def _inquiry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inquiry]:
    """The shop under load with its alerts and visitors, broken in one way after another while it is asked."""
    try:
        found = programs()
    except ProgramMissingError as missing:
        pytest.skip(str(missing))
    taker, receiver = Taker(), Receiver(None, lambda _notice: None)
    folder = tmp_path_factory.mktemp("dashboards")
    with Shop(taker.url, lambda _line: None) as shop, Chain(folder / "chain", found, receiver.url) as chain:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", 7)
        load.start()
        chain.scrape(shop.metrics)
        with visiting(shop, 7, real=False):
            yield _asked_in_every_fault(shop, chain, taker)
        load.stop()
    receiver.close()
    taker.close()


def _asked_in_every_fault(shop: Shop, chain: Chain, taker: Taker) -> Inquiry:
    models = lint.read(HERE).values()
    queries = {(q.board, q.panel, q.ref): q for model in models for q in asked(model) if q.source == "prometheus"}
    inquiry = Inquiry(f"http://127.0.0.1:{chain.ports['prometheus']}", shop, queries)
    missing = needs.places()
    inquiry.until(missing, GROUP_S)
    for group in FAULTS * ROUNDS:
        for fault in group:
            shop.break_(fault)
        taker.refuses = "cache_down" in group
        all_there = inquiry.until(missing, GROUP_S)
        for fault in group:
            shop.mend(fault)
        if all_there:
            break
    return inquiry


def test_no_query_is_refused(inquiry: Inquiry) -> None:
    """Prometheus takes every one, over time or for now, as the panel asks."""
    assert [] == inquiry.refused


def test_no_query_is_without_an_answer(inquiry: Inquiry) -> None:
    """Each had data in health or in some fault, but for the list of what the shop has not."""
    assert [] == sorted(set(inquiry.left) - needs.places())


def test_the_list_of_what_the_shop_has_not_is_true(inquiry: Inquiry) -> None:
    """What stands on the list and is a matter of Prometheus had no answer in all this time."""
    elsewhere = {place for need in needs.NEEDS if need.what in (needs.LOKI, needs.JAEGER) for place in need.places()}
    assert [] == sorted(needs.places() - elsewhere - set(inquiry.left))
