"""One test per arrow of the picture, on the real programs with the configuration that compose mounts."""

from __future__ import annotations

import json
import re
import secrets
import time
import urllib.request
from typing import Any

import pytest

from tests.collector.planting import attributes
from tests.rum.endpoint.pages import BROWSER, LCP, beacon

from .otlp import post
from .stack import GATEWAYS, Stack, until, whole
from .visitors import CANONICAL, Running, Visit, settled, visit, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
IDENTITY = {"service_name", "service_version", "service_instance_id", "deployment_environment_name"}


@pytest.fixture(name="visits", scope="module")
def _visits(running: Running) -> list[Visit]:
    """Three seconds of requests, in the stores."""
    with visiting(running.shop) as visitors:
        until(lambda: len(visitors.visits) > 15, "answers of the shop")
    account = settled(running.stack, visitors.visits)
    assert ([], []) == (account.untraced, account.unlogged)
    return account.asked


def test_service_to_collector(running: Running, visits: list[Visit]) -> None:
    """Spans and log records of services are taken, and none is refused."""
    agent = running.stack
    assert agent.counted("agent", "otelcol_receiver_accepted_spans") > len(visits)
    assert agent.counted("agent", "otelcol_receiver_accepted_log_records") > len(visits)
    assert agent.counted("agent", "otelcol_receiver_refused_(?:spans|log_records)") == 0


def test_agent_to_two_gateways(running: Running, visits: list[Visit]) -> None:
    """Each gateway gets the traces of its half of the digits, whole."""
    spans = {name: running.stack.counted(name, "otelcol_receiver_accepted_spans") for name in GATEWAYS}
    assert all(spans.values()), spans
    assert {True, False} == {one.trace[-1] in "89abcdef" for one in visits}


def test_collector_to_jaeger(running: Running, visits: list[Visit]) -> None:
    """A request's trace has the spans of both services, with version, environment and host."""
    spans = running.stack.trace(visits[-1].trace)
    assert whole(spans, visits[-1].span)
    assert {"gateway", "orders"} == {span["service"] for span in spans}
    assert {"1.0.0"} == {span["resource"]["service.version"] for span in spans}
    assert all("host.name" in span["resource"] for span in spans)


def test_collector_to_loki(running: Running, visits: list[Visit]) -> None:
    """The canonical line of the same request is found by its trace id; labels are only service, environment and writer."""
    one = visits[-1]
    query = f'{{service_name="gateway"}} | trace_id="{one.trace}"'
    lines = running.stack.logs(query, one.at - 1)
    labels = running.stack.ask("loki", "/loki/api/v1/labels")["data"]
    assert {"service_name", "deployment_environment_name", "collector_instance_id"} == set(labels)
    assert "/products/{sku}" in {line.get("route") for line in lines if line["line"] == "request"}


def test_collector_to_prometheus(running: Running, visits: list[Visit]) -> None:
    """Spans counted before sampling, by both gateways, and readings of host, PostgreSQL and both Redis."""
    stack = running.stack
    calls = 'traces_span_metrics_calls_total{service_name="gateway",http_route="/products/{sku}"}'
    counted = until(lambda: (found := stack.query(f"count by (collector_instance_id) ({calls})"))[1:] and found, calls)
    assert set(GATEWAYS) == {series["metric"]["collector_instance_id"] for series in counted}
    total = until(lambda: enough(stack, f"sum({calls})", len(visits)), "every span counted")
    assert total >= len(visits)
    for name in ("system_memory_usage_bytes", "postgresql_backends", "redis_clients_connected"):
        until(lambda name=name: stack.query(name), name)  # type: ignore[misc]
    ports = {series["metric"]["server_port"] for series in stack.query("redis_clients_connected")}
    assert {str(running.shop.cache.port), str(running.shop.queue.port)} == ports


def enough(stack: Stack, expression: str, wanted: float) -> float:
    """The value, when it is at least what is wanted."""
    found = stack.query(expression)
    value = float(found[0]["value"][1]) if found else 0.0
    return value if value >= wanted else 0.0


def test_prometheus_scrapes_everything(running: Running, visits: list[Visit]) -> None:
    """Services, Collectors and stores are all up, and nothing that is counted says otherwise."""
    stack = running.stack
    until(lambda: len(stack.query("up == 1")) == len(running.shop.metrics) + 7, "all targets up")
    assert [] == stack.query("up == 0")
    until(
        lambda: stack.query('http_server_request_duration_seconds_count{service_name="gateway"}'),
        "the gateway's series",
    )
    assert [] == stack.query("prometheus_rule_evaluation_failures_total > 0")


def test_push_and_scrape_have_the_same_labels(running: Running) -> None:
    """A metric that a service pushes has the identity that its scraped ones have."""
    post(running.stack, "metrics", pushed_metric())
    pushed = until(lambda: running.stack.query("firstcause_check_total"), "the pushed metric")[0]["metric"]
    scraped = until(
        lambda: running.stack.query('http_server_request_duration_seconds_count{service_name="gateway"}'), "a scrape"
    )[0]["metric"]
    assert set(pushed) & set(scraped) >= IDENTITY
    assert set(pushed) - {"__name__", "job", "instance", "kind"} == IDENTITY


def pushed_metric() -> dict[str, Any]:
    """A counter of one, as OTLP says it in JSON."""
    identity = {
        "service.name": "pusher", "service.version": "1.0.0", "service.instance.id": "one",
        "deployment.environment.name": "demo",
    }  # fmt: skip
    point = {"asInt": "1", "timeUnixNano": str(time.time_ns()), "attributes": attributes([("kind", "push")])}
    counter = {"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": True}
    metric = {"name": "firstcause.check", "sum": counter}
    resource = {"attributes": attributes(identity.items())}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}


def test_exemplar_to_trace_to_logs(running: Running, visits: list[Visit]) -> None:
    """A scraped exemplar names a trace that Jaeger has, whose lines Loki has."""
    stack = running.stack
    begin = min(one.at for one in visits)

    def named() -> list[str]:
        found = stack.ask(
            "prometheus", "/api/v1/query_exemplars", start=begin - 60, end=time.time(),
            query='http_server_request_duration_seconds_bucket{service_name="gateway"}',
        )["data"]  # fmt: skip
        ids = {one["labels"].get("trace_id", "") for series in found for one in series["exemplars"]}
        return sorted(ids & {one.trace for one in visits})

    trace = until(named, "an exemplar of these requests")[0]
    assert stack.trace(trace)
    assert stack.logs(f'{CANONICAL} | trace_id="{trace}"', begin - 1)


def test_prometheus_to_alertmanager_to_on_call(running: Running) -> None:
    """The watchdog, which fires always, arrives as a heartbeat."""
    until(lambda: [notice for notice in running.receiver.notices if notice.kind == "heartbeat"], "a heartbeat")


def test_browser_to_endpoint_to_collector(running: Running) -> None:
    """A slow page: its spans hang under the backend's, and its events carry the same trace."""
    one, answer = visit(running.shop, "/", **{"accept": "text/html", "sec-fetch-dest": "document"})
    marks = dict(re.findall(r'(traceparent|fcmark);desc="([^"]+)"', answer["server-timing"]))
    origin = f"http://127.0.0.1:{running.shop.ports['gateway']}"
    body = beacon(
        {"k": "view", "t": 1}, LCP, url=f"{origin}/", id=secrets.token_hex(16), tp=marks["traceparent"],
        mark=marks["fcmark"], rel="1.0.0",
    )  # fmt: skip
    head = {"content-type": "text/plain;charset=UTF-8", "origin": origin, "user-agent": BROWSER}
    endpoint = f"http://127.0.0.1:{running.shop.ports['rum']}/_fc"
    with urllib.request.urlopen(urllib.request.Request(endpoint, json.dumps(body).encode(), head), timeout=20) as reply:
        assert 204 == reply.status
    stack = running.stack
    spans = until(lambda: [s for s in stack.trace(one.trace) if s["name"] == "documentLoad"], "the page in its trace")
    assert "slow" == spans[0]["tags"]["firstcause.outcome"]
    # The page says when it saw what it saw: seconds before it told.
    until(lambda: stack.logs(f'{{service_name="rum"}} | trace_id="{one.trace}"', one.at - 30), "the page's events")
    until(lambda: stack.query('firstcause_page_views_total{joined="true"}'), "the page view in Prometheus")
