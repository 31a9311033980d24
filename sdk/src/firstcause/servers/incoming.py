"""What a request says of itself: trace context, request id, baggage, ingress time; and its route."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from .._guard import count
from ..conventions import HTTP_METHODS
from ..logs.redaction import redact_url
from ..trace.context import hexadecimal, new_request_id, parse_baggage, parse_traceparent, valid_request_id
from ..trace.span import Common

if TYPE_CHECKING:
    from .._recorder import Recorder
    from ..diagnosis.unit import Unit

LOOPBACK = ("127.0.0.1", "::1", "")
STREAM_NS = 50_000_000
"""A body that goes on this long after its first piece, without a Content-Length, is a stream."""
INGRESS_MOST_NS = 60_000_000_000
QUERY = 512
"""Bytes of the query string that a span keeps."""
HOSTS = 256
_JOINED = frozenset((b"traceparent", b"tracestate", b"baggage", b"x-request-id"))
_STARTED = re.compile(rb"(?:t=)?(\d{1,20}(?:\.\d{1,9})?)")
_HOST = re.compile(rb"([A-Za-z0-9._-]{1,255}|\[[0-9a-fA-F:.]{2,45}\])(?::(\d{1,5}))?")
_NEVER = re.compile(r"(?!)")
ROUTES = 512
_commons: dict[tuple[str, str, bytes | None, str], Common] = {}
_templates: dict[int, tuple[Any, str]] = {}
"""Routes that were matched, by their ids (they cannot be hashed), and what they are called."""


def header_map(pairs: Sequence[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """Raw headers by name. Several of one name: joined where the standard joins them, else the last one.

    Two different trace parents or request ids are thereby no valid one, as W3C asks.
    """
    # Names seldom repeat, and this is one step in C.
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found = {}
    for name, value in pairs:
        before = found.get(name) if name in _JOINED else None
        if before is None or (name == b"x-request-id" and before == value):
            found[name] = value
        else:
            found[name] = before + b"," + value
    return found


def known_method(method: str) -> str:
    """`method` when it is one of HTTP's, else `_OTHER`, since callers can make up any number."""
    return method if method in HTTP_METHODS else "_OTHER"


def identify(
    recorder: Recorder,
    unit: Unit,
    headers: Mapping[bytes, bytes],
    client: str,
    *,
    query: bytes = b"",
    protocol: str = "",
    server: tuple[str, int | None] | None = None,
    method: str = "",
) -> Context | None:
    """Give a request's unit its ids and its span from raw headers (lower-case names).

    `server` is what the socket is bound to, for requests without a Host; `method` the one that was
    sent, when it is none of HTTP's. Returns the OpenTelemetry context to activate the span in, None
    for an empty one.
    """
    trusted = recorder.config.trusted_proxies
    if trusted and client in trusted and (started := headers.get(b"x-request-start")) is not None:
        _credit_ingress(unit, started)
    scheme = unit.scheme
    asked = (unit.method, scheme, headers.get(b"host"), protocol)
    common = _commons.get(asked) or _common(*asked, server)
    attributes: dict[str, Any] = {"url.path": unit.path}
    if client:
        attributes["client.address"] = client
    agent = headers.get(b"user-agent")
    if agent is not None:
        attributes["user_agent.original"] = agent[:256].decode("latin-1")
    if query:
        attributes["url.query"] = redact_url("?" + query[:QUERY].decode("latin-1"))[1:]
    if unit.method == "_OTHER":
        attributes["http.request.method_original"] = method[:32]
    return adopt(recorder, unit, headers, attributes, SpanKind.SERVER, from_loopback=client in LOOPBACK, common=common)


def adopt(
    recorder: Recorder,
    unit: Unit,
    headers: Mapping[bytes, bytes],
    attributes: dict[str, Any],
    kind: SpanKind,
    *,
    from_loopback: bool,
    common: Common | None = None,
) -> Context | None:
    """Ids, trace context, mark and baggage of any carrier; see `identify`."""
    parent = headers.get(b"traceparent")
    remote = None
    trusted = True
    if parent is not None:
        state = headers.get(b"tracestate", b"").decode("latin-1")
        remote = parse_traceparent(parent.decode("latin-1"), state)
        if remote is not None:
            unit.mark_verified = recorder.mesh.incoming(remote[3], remote[0], from_loopback)
            trusted = unit.mark_verified or recorder.config.trust_sampled
    unit.span = recorder.provider.server_span(
        unit.method or unit.route, remote, unit.started_ns, attributes, kind, trusted, common
    )
    given = headers.get(b"x-request-id")
    named = "" if given is None else valid_request_id(given)
    # A trace of our own making is as good an id as another, and finds the trace.
    unit.request_id = named or (hexadecimal(unit.span.trace_id) if remote is None else new_request_id())
    bag = headers.get(b"baggage")
    return None if bag is None else _baggage(unit, bag.decode("latin-1"))


def _common(
    method: str, scheme: str, host: bytes | None, protocol: str, server: tuple[str, int | None] | None
) -> Common:
    """What requests to one host have in common; kept for the few hosts that a service has."""
    address, port = _address(host, scheme, server)
    attributes: dict[str, Any] = {"http.request.method": method} if method != "WS" else {}
    attributes.update({"url.scheme": scheme, "server.address": address, "server.port": port})
    if protocol:
        attributes["network.protocol.version"] = protocol
    if method == "WS":
        attributes["network.protocol.name"] = "websocket"
    common = Common(attributes)
    if len(_commons) < HOSTS and host and _HOST.fullmatch(host):
        _commons[method, scheme, host, protocol] = common
    return common


def _address(host: bytes | None, scheme: str, server: tuple[str, int | None] | None) -> tuple[str, int]:
    """Name and port of the Host header, else of the socket."""
    usual = 443 if scheme in ("https", "wss") else 80
    found = _HOST.fullmatch(host) if host else None
    if found is None:
        return (server[0], server[1] or usual) if server else ("", usual)
    return found[1].decode("ascii").strip("[]"), int(found[2] or usual)


def _baggage(unit: Unit, raw: str) -> Context | None:
    from opentelemetry import baggage

    unit.baggage = parse_baggage(raw)
    session = unit.baggage.get("session.id")
    if session and not unit.session_id:
        # Ours arrives hashed; an outsider may have put a credential there.
        given = valid_request_id(session.encode("latin-1", "replace"))
        unit.session_id = given if unit.mark_verified else unit.recorder.hash_session(session)
    context: Context | None = None
    for name, value in unit.baggage.items():
        context = baggage.set_baggage(name, value, context)
    return context


def _credit_ingress(unit: Unit, started: bytes) -> None:
    """`X-Request-Start: t=<seconds|milliseconds|microseconds>` of a trusted proxy."""
    found = _STARTED.fullmatch(started)
    value = float(found[1]) if found is not None else 0.0
    # The unit is not said: as seconds, whatever is larger lies after the year 5138.
    while value > 1e11:
        value /= 1000
    waited = unit.started_ns - int(value * 1e9)
    if 0 <= waited < INGRESS_MOST_NS:
        unit.ledger.credit("ingress", waited)
        unit.started_ns -= waited
    else:
        count("firstcause.self.rejected_headers", header="x-request-start")


def route_of(scope: Mapping[str, Any], routes: Sequence[Any] = (), root: str = "") -> str:
    """The matched template of a Starlette or FastAPI scope, prefixes of included routers in it; "" before.

    `routes` are those of the outermost application and `root` the root path it was called with:
    what a mount added since is put in front as the mount's template, never as the path that was asked for.
    """
    inner = matched(scope)
    mounted = scope.get("root_path", "")[len(root) :]
    return _mounts(routes, mounted) + (inner or "/{path}") if mounted and routes else inner


def matched(scope: Mapping[str, Any]) -> str:
    """The template that the innermost router matched; "" before, and for a mount with nothing inside."""
    fastapi = scope.get("fastapi")
    if fastapi is not None and isinstance(fastapi, dict):
        context = fastapi.get("effective_route_context")
        # Undocumented, but the route's own template lacks the prefixes of routers that were included.
        path = getattr(context, "path_format", None)
        if path:
            return str(path)
    route = scope.get("route")
    known = _templates.get(id(route))
    return known[1] if known is not None and known[0] is route else _template(route)


def _template(route: Any) -> str:
    """What a route is called, kept for the few that an application has."""
    template = ""
    if not hasattr(route, "routes"):  # else a mount: nothing matched inside
        template = str(getattr(route, "path_format", "") or getattr(route, "path", ""))
    if len(_templates) < ROUTES:
        _templates[id(route)] = route, template
    return template


def _mounts(routes: Sequence[Any], path: str) -> str:
    """The templates of the mounts that `path` went through."""
    template = ""
    while path:
        for route in routes:
            found = _mount_pattern(route).match(path + "/")
            if found is not None:
                break
        else:
            return template
        template += route.path_format.removesuffix("/{path}")
        rest = found.groupdict().get("path", "").strip("/")
        routes, path = route.routes or (), "/" + rest if rest else ""
    return template


def _mount_pattern(route: Any) -> re.Pattern[str]:
    pattern: re.Pattern[str] = getattr(route, "path_regex", _NEVER) if hasattr(route, "routes") else _NEVER
    return pattern
