"""The secrets that are planted, each in one place only, so that a leak says where it came from."""

from __future__ import annotations

_PLACES = (
    # What callers send
    "authorization header", "cookie header", "x-api-key header", "proxy-authorization header", "query parameter",
    "query text", "form body", "json body", "user agent", "path segment", "unmatched path", "baggage member",
    "baggage session", "request id with spaces", "bare query",
    # What the application logs
    "log field", "nested log field", "log message", "bound log field", "stdlib argument", "stdlib extra dsn",
    "logged exception", "logged cause",
    # What it raises
    "raised dsn", "raised cause", "raised assignment", "handled exception",
    # What it asks the database
    "sql literal", "sql parameter", "sql comment", "sql duplicate", "sql error literal", "textual dsn",
    # What it asks others
    "outgoing query", "outgoing user info", "outgoing header", "own peer query",
    # What it, or a third party's instrumentation, says by the OpenTelemetry API
    "span http.url", "span http.target", "span db.statement", "span attribute key", "span attribute list",
    "span attribute text", "span name", "span event", "span event name", "span link", "span status", "span exception",
    "current span attribute", "metric attribute", "otel baggage",
    # What it tells us
    "user id", "session id", "spending detail", "failed call detail",
    # What we are given ourselves
    "mesh key", "user key", "collector header",
    # What it answers, which is the caller's own
    "set-cookie",
)  # fmt: skip


def _secret(number: int) -> str:
    """Letters and digits, so that quoting and percent-encoding change nothing."""
    return f"Plant{number:02d}q7ZkW4"


PLANTED = {place: _secret(number) for number, place in enumerate(_PLACES)}
SHAPED = {
    "path segment": f"eyJhbGciOiJIUzI1NiJ9.{PLANTED['path segment']}.c2ln",
    "unmatched path": f"sk_live_{PLANTED['unmatched path']}",
}
"""Those that can only be told by their shape."""
