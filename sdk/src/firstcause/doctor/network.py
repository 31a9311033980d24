"""Questions that need the network: the collector as configured, and a service that runs already."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..mesh.marks import KEY
from .examination import ERROR, WARNING, Check, Context, Finding

PATIENCE_S = 3.0
SKEW_S = 2.0
"""The Date header has whole seconds; more than this is the clocks' difference, not the header's."""
_FIXES = {
    401: "set OTEL_EXPORTER_OTLP_HEADERS to what the collector asks for",
    403: "set OTEL_EXPORTER_OTLP_HEADERS to what the collector asks for",
    404: "give the base address without a path: OTEL_EXPORTER_OTLP_ENDPOINT=http://host:4318",
    405: "give the address of an OTLP receiver, not of another program",
}


@dataclass
class Reply:
    """An answer; status 0 when there was none, and `error` says why."""

    status: int = 0
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""


def read(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> Reply:
    """One request, for at most `PATIENCE_S`; never raises for what a network does."""
    request = Request(url, data, {"user-agent": "firstcause-doctor", **(headers or {})})  # noqa: S310 - http(s) only
    try:
        with urlopen(request, timeout=PATIENCE_S) as reply:  # noqa: S310 - the same
            return Reply(reply.status, reply.read(1_000_000).decode("utf-8", "replace"), _lower(reply.headers))
    except HTTPError as error:
        return Reply(error.code, "", _lower(error.headers), error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return Reply(error=str(getattr(error, "reason", error)))


def _lower(headers: object) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}  # type: ignore[attr-defined]


def _posted(context: Context) -> tuple[str, Reply]:
    """An export of nothing to the collector that the settings name."""
    assert context.config is not None
    way = context.config.signal("traces")
    return way.url, read(way.url, {"content-type": "application/x-protobuf", **way.headers}, b"")


def collector(context: Context) -> list[Finding]:
    """Somebody takes what is sent."""
    config = context.config
    assert config is not None
    if config.disabled or not (config.traces or config.logs):
        return []
    way = config.signal("traces")
    if way.protocol == "grpc":
        return _connectable(way.url)
    url, reply = _posted(context)
    if 200 <= reply.status < 300:
        return []
    if not reply.status:
        fix = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it listens"
        return [Finding(f"the collector cannot be reached: {reply.error}", url, fix)]
    fix = _FIXES.get(reply.status, "look at the collector's own log")
    return [Finding(f"the collector answers {reply.status} {reply.error}", url, fix)]


def _connectable(target: str) -> list[Finding]:
    # A gRPC port answers no plain HTTP: that it accepts is all that can be seen from here.
    parts = urlsplit(target if "//" in target else f"//{target}")
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 4317), PATIENCE_S).close()
    except OSError as error:
        fix = "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it listens"
        return [Finding(f"the collector cannot be reached: {error}", target, fix)]
    return []


def clock(context: Context) -> list[Finding]:
    """Spans of hosts whose clocks differ do not line up."""
    config = context.config
    assert config is not None
    if config.disabled or config.signal("traces").protocol == "grpc":
        return []
    url, reply = _posted(context)
    said = reply.headers.get("date")
    if not said:
        return []
    skew_s = (datetime.now(UTC) - parsedate_to_datetime(said)).total_seconds()
    if abs(skew_s) <= SKEW_S:
        return []
    ahead = "ahead of" if skew_s > 0 else "behind"
    what = f"this host's clock is {abs(skew_s):.0f} s {ahead} the collector's"
    return [Finding(what, url, "let both follow a time server (chrony, systemd-timesyncd)")]


def live(context: Context) -> list[Finding]:
    """A running service gives our request id back, and says its verdict only to its own mesh."""
    wanted = "doctor-" + secrets.token_hex(6)
    reply = read(context.url, {"x-request-id": wanted})
    if not reply.status:
        return [Finding(f"the service does not answer: {reply.error}", context.url, "start it, or give its address")]
    found = []
    if reply.headers.get("x-request-id") != wanted:
        what = f"the answer ({reply.status}) does not carry the request's X-Request-ID"
        fix = "call firstcause.configure(app=app), and let proxies pass the header on"
        found.append(Finding(what, context.url, fix))
    members = reply.headers.get("server-timing", "").split(",")
    if any(member.strip().startswith(KEY + ";") for member in members):
        what = "the service tells its verdict to a caller outside the mesh"
        found.append(Finding(what, context.url, "report this, with the versions of this report"))
    return found


CHECKS = (
    Check("collector", "The collector takes what is sent", ERROR, collector, ("config",)),
    Check("clock", "The clocks agree", WARNING, clock, ("config",)),
    Check("live", "The running service is watched", ERROR, live, ("url",)),
)
