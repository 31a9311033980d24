"""Which resource a span of an instrumentation library is booked to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from firstcause.trace.classify import by_scope, classify, host_of

C, P = SpanKind.CLIENT, SpanKind.PRODUCER


@pytest.mark.parametrize(
    ("attributes", "resource", "detail"),
    [
        ({"db.system.name": "postgresql", "db.namespace": "shop", "db.query.summary": "SELECT orders"},
         "db:postgresql/shop", "SELECT orders"),
        ({"db.system": "postgresql", "db.name": "shop", "db.statement": "SELECT * FROM o WHERE mail = 'a@b.c'"},
         "db:postgresql/shop", "SELECT * FROM o WHERE mail = ?"),
        ({"db.system": "sqlite", "db.operation": "SELECT"}, "db:sqlite", "SELECT"),
        ({"db.system.name": "redis", "server.address": "cache-1", "db.operation.name": "GET"}, "cache:cache-1", "GET"),
        ({"db.system": "redis", "net.peer.name": "10.0.0.1"}, "cache:10.0.0.1", ""),
        ({"db.system": "memcached"}, "cache:memcached", ""),
        ({"http.request.method": "GET", "server.address": "payments", "url.full": "http://x/"}, "http:payments", "GET"),
        ({"http.method": "POST", "http.url": "https://u:p@Pay.Example:8443/charge?card=1"}, "http:pay.example", "POST"),
        ({"http.request.method": "GET", "url.template": "/o/{id}", "peer.service": "orders", "server.address": "h"},
         "http:orders", "GET /o/{id}"),
        ({"http.request.method": "GET"}, "http:unknown", "GET"),
        ({"rpc.system": "grpc", "rpc.service": "shop.Orders", "rpc.method": "Get", "server.address": "orders"},
         "rpc:orders", "Get"),
        ({"rpc.system.name": "grpc", "rpc.service": "shop.Orders"}, "rpc:shop.Orders", ""),
        ({"messaging.system": "kafka", "messaging.destination.name": "mail"}, "queue:mail", ""),
        ({"messaging.system": "rabbitmq", "messaging.operation": "publish"}, "queue:rabbitmq", "publish"),
    ],
)  # fmt: skip
def test_semantic_conventions(attributes: dict[str, Any], resource: str, detail: str) -> None:
    """Stable and older attribute names give kind and target; the detail shows no literal."""
    assert (resource, detail) == classify(C, attributes, "lib")


@pytest.mark.parametrize(
    ("kind", "scope", "resource"),
    [
        (C, "opentelemetry.instrumentation.redis", "cache:redis"),
        (C, "opentelemetry.instrumentation.sqlalchemy", "db:sql"),
        (C, "opentelemetry.instrumentation.asyncpg", "db:postgresql"),
        (C, "opentelemetry.instrumentation.httpx", "http:unknown"),
        (P, "opentelemetry.instrumentation.celery", "queue:celery"),
        (P, "opentelemetry.instrumentation.new_queue", "queue:new_queue"),
        (C, "shop.ledger", "http:ledger"),
        (C, "", "http:unknown"),
    ],
)
def test_without_attributes_the_scope_decides(kind: SpanKind, scope: str, resource: str) -> None:
    """An unsampled span of a library that set nothing is known by the library."""
    assert resource == by_scope(kind, scope) == classify(kind, {}, scope)[0]


@given(st.dictionaries(
    st.sampled_from(["db.system", "db.name", "db.statement", "messaging.destination.name", "rpc.system", "peer.service",
                     "server.address", "url.full", "http.request.method", "url.template"]),
    st.one_of(st.text(max_size=200), st.integers(), st.lists(st.text(), max_size=2)),
), st.text(max_size=20))  # fmt: skip
def test_any_attributes_give_a_short_resource(attributes: dict[str, Any], scope: str) -> None:
    """Arbitrary attributes never raise, and give a printable resource of a known kind and bounded length."""
    resource, detail = classify(C, attributes, scope)
    assert resource.partition(":")[0] in {"db", "cache", "queue", "rpc", "http"}
    assert resource.isprintable() and detail.isprintable()
    assert len(resource) <= 140 and len(detail) <= 300


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://orders/x", "orders"), ("http://orders:80", "orders"), ("http://[::1]:80/x", "::1"),
        ("http://a@b:c@host?x=//y", "host"), ("/relative", ""), ("", ""), (None, ""), ("http://", ""),
    ],
)  # fmt: skip
def test_host_of(url: object, host: str) -> None:
    """User info, port, path and query are no part of the host."""
    assert host == host_of(url)
