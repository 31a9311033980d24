"""Queries that only the whole stack can answer: Jaeger and Loki through their own APIs, and what the Collector reads."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field

import pytest

from dashboards import lint, live, needs
from dashboards.__main__ import HERE
from dashboards.queries import ANY, Asked, asked

from .visitors import Running, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
THERE = frozenset((
    needs.COLLECTOR, needs.HOST, needs.POSTGRES, needs.REDIS, needs.LOKI, needs.LOKI_METRICS, needs.JAEGER,
))  # fmt: skip
"""What the stack has and the shop alone has not."""
VALUES = {**ANY, "__rate_interval": "1m", "__range": "5m"}
FAULTS = ("exception", "slow_query")
"""A third of the product pages fails, the rest is slow."""
ANSWERS_S = 240.0
"""Prometheus scrapes the Collector every 15 s, and a rate needs two of these."""
Place = tuple[str, str, str]


@dataclass
class Answers:
    """Queries without an answer so far, and what was refused."""

    left: dict[Place, Asked] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


@pytest.fixture(name="answers", scope="module")
def _answers(running: Running) -> Answers:
    """Every query of the stack's part of the list, asked while product pages fail or are slow."""
    wanted = set().union(*(need.places() for need in needs.NEEDS if need.what in THERE))
    queries = {(q.board, q.panel, q.ref): q for model in lint.read(HERE).values() for q in asked(model)}
    answers = Answers({place: queries[place] for place in wanted})
    urls = {name: f"http://127.0.0.1:{running.stack.ports[name]['query']}" for name in live.STORES}
    log_in = f"http://127.0.0.1:{running.shop.ports['gateway']}/login?user=ada"
    urllib.request.urlopen(urllib.request.Request(log_in, method="POST"), timeout=20).close()  # the cache has a key
    for fault in FAULTS:
        running.shop.break_(fault)
    limit = time.monotonic() + ANSWERS_S
    with visiting(running.shop):
        while answers.left and time.monotonic() < limit:
            _ask(answers, urls)
    for fault in FAULTS:
        running.shop.mend(fault)
    return answers


def _ask(answers: Answers, urls: dict[str, str]) -> None:
    for place, query in list(answers.left.items()):
        values = VALUES if query.source == "prometheus" else {**VALUES, "service": "gateway"}
        try:
            if live.STORES[query.source](urls[query.source], query, values):
                del answers.left[place]
        except live.RefusedError as error:
            answers.refused.append(f"{query.place}: {error}")
            del answers.left[place]


def test_no_store_refuses_a_query(answers: Answers) -> None:
    """Prometheus, Loki and Jaeger take what the panels ask."""
    assert [] == answers.refused


def test_what_needs_the_stack_is_there(answers: Answers) -> None:
    """Every query whose need the stack meets has an answer."""
    assert set() == set(answers.left), sorted(answers.left)
