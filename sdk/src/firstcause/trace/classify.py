"""Which resource a CLIENT or PRODUCER span stands for, from its attributes at its *end*.

Many instrumentation libraries set attributes late, and none on unsampled spans: then only the
scope's name is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.trace import SpanKind

CACHES = ("redis", "memcached", "valkey")
TARGET = 64
"""Characters of a target."""
DETAIL = 120
_CACHED_SQL = 2048

_SCOPES = {
    "redis": "cache:redis", "pymemcache": "cache:memcached", "psycopg": "db:postgresql",
    "psycopg2": "db:postgresql", "asyncpg": "db:postgresql", "aiopg": "db:postgresql", "pymysql": "db:mysql",
    "mysql": "db:mysql", "mysqlclient": "db:mysql", "sqlite3": "db:sqlite", "sqlalchemy": "db:sql",
    "dbapi": "db:sql", "pymongo": "db:mongodb", "cassandra": "db:cassandra",
    "elasticsearch": "db:elasticsearch", "kafka": "queue:kafka", "aiokafka": "queue:kafka",
    "confluent_kafka": "queue:kafka", "pika": "queue:rabbitmq", "aio_pika": "queue:rabbitmq", "celery": "queue:celery",
    "boto3sqs": "queue:sqs", "grpc": "rpc:unknown",
    "httpx": "http:unknown", "requests": "http:unknown", "urllib": "http:unknown", "urllib3": "http:unknown",
    "aiohttp_client": "http:unknown",
}  # fmt: skip


def classify(kind: SpanKind, attributes: Mapping[str, Any], scope: str) -> tuple[str, str]:
    """`<kind>:<target>` and a short redacted detail, by semantic conventions, stable names first."""
    get = attributes.get
    # The most telling first: databases and queues that are spoken to over HTTP say that as well.
    system = get("db.system.name") or get("db.system")
    if system:
        return _database(_text(system), attributes)
    topic = get("messaging.destination.name") or get("messaging.destination") or get("messaging.system")
    if topic:
        return f"queue:{_target(topic)}", _text(get("messaging.operation.name") or get("messaging.operation"))
    if get("rpc.system.name") or get("rpc.system"):
        peer = _peer(attributes) or get("rpc.service") or "unknown"
        return f"rpc:{_target(peer)}", _text(get("rpc.method"))
    peer = _peer(attributes)
    method = _text(get("http.request.method") or get("http.method"))
    if peer or method:
        template = _text(get("url.template"))
        return f"http:{_target(peer or 'unknown')}", f"{method} {template}".strip()
    return by_scope(kind, scope), ""


def by_scope(kind: SpanKind, scope: str) -> str:
    """What is left without attributes: the library that made the span."""
    library = scope.rpartition("opentelemetry.instrumentation.")[2].partition(".")[0]
    known = _SCOPES.get(library)
    if known is not None:
        return known
    last = _target(scope.rpartition(".")[2] or "unknown")
    return f"queue:{last}" if kind is SpanKind.PRODUCER else f"http:{last}"


def _database(system: str, attributes: Mapping[str, Any]) -> tuple[str, str]:
    get = attributes.get
    if system in CACHES:
        operation = get("db.operation.name") or get("db.operation")
        return f"cache:{_target(_peer(attributes) or system)}", _text(operation)
    name = get("db.namespace") or get("db.name")
    resource = f"db:{_target(system)}/{_target(name)}" if name else f"db:{_target(system)}"
    summary = get("db.query.summary")
    if summary:
        return resource, _text(summary)
    statement = get("db.query.text") or get("db.statement")
    if isinstance(statement, str):
        return resource, _statement(statement[:_CACHED_SQL])
    return resource, _text(get("db.operation.name") or get("db.operation"))


@lru_cache(maxsize=512)
def _statement(statement: str) -> str:
    from ..logs.redaction import redact_sql

    return _text(redact_sql(statement))


def _peer(attributes: Mapping[str, Any]) -> str:
    get = attributes.get
    named = get("peer.service") or get("server.address") or get("net.peer.name") or get("http.host")
    return _text(named) if named else host_of(get("url.full") or get("http.url"))


def host_of(url: object) -> str:
    """The host of an absolute URL, no user info and no port; "" when there is none."""
    if not isinstance(url, str):
        return ""
    # Not `urlsplit`, which raises for some addresses: a span that ends has to get an answer.
    authority = url[:2048].partition("://")[2]
    for end in "/?#":
        authority = authority.partition(end)[0]
    authority = authority.rpartition("@")[2].lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def _text(value: object) -> str:
    """A string attribute fit for a page, "" for anything else."""
    if not isinstance(value, str):
        return ""
    text = value[:DETAIL]
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


def _target(value: object) -> str:
    return _text(value)[:TARGET] or "unknown"
