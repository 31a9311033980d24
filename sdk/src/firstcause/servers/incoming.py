"""What a request says of itself: trace context, request id, baggage, ingress time; and its route."""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from ..trace.context import new_request_id, parse_baggage, parse_traceparent, valid_request_id

if TYPE_CHECKING:
    from .._recorder import Recorder
    from ..diagnosis.unit import Unit

LOOPBACK = ("127.0.0.1", "::1", "")
INGRESS_MOST_NS = 60_000_000_000


def identify(recorder: Recorder, unit: Unit, headers: Mapping[bytes, bytes], client: str) -> Context | None:
    """Give a request's unit its ids and its span from raw headers (lower-case names).

    Returns the OpenTelemetry context to activate the span in, None for an empty one.
    """
    started = headers.get(b"x-request-start")
    if started is not None and client in recorder.config.trusted_proxies:
        _credit_ingress(unit, started)
    attributes = _attributes(unit, headers, client)
    return adopt(recorder, unit, headers, attributes, SpanKind.SERVER, from_loopback=client in LOOPBACK)


def adopt(
    recorder: Recorder,
    unit: Unit,
    headers: Mapping[bytes, bytes],
    attributes: dict[str, Any],
    kind: SpanKind,
    *,
    from_loopback: bool,
) -> Context | None:
    """Ids, trace context, mark and baggage of any carrier; see `identify`."""
    given = headers.get(b"x-request-id")
    unit.request_id = (valid_request_id(given) if given is not None else "") or new_request_id()
    parent = headers.get(b"traceparent")
    remote = None
    if parent is not None:
        state = headers.get(b"tracestate", b"").decode("latin-1")
        remote = parse_traceparent(parent.decode("latin-1"), state)
    if remote is not None:
        unit.mark_verified = recorder.mesh.incoming(remote[3], remote[0], from_loopback)
    trusted = unit.mark_verified or recorder.config.trust_sampled
    unit.span = recorder.provider.server_span(
        unit.method or unit.route, remote, unit.started_ns, attributes, kind, trusted=trusted
    )
    bag = headers.get(b"baggage")
    return None if bag is None else _baggage(unit, bag.decode("latin-1"))


def _attributes(unit: Unit, headers: Mapping[bytes, bytes], client: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": unit.method,
        "url.path": unit.path,
        "url.scheme": unit.scheme,
    }
    if client:
        attributes["client.address"] = client
    agent = headers.get(b"user-agent")
    if agent is not None:
        attributes["user_agent.original"] = agent[:256].decode("latin-1")
    return attributes


def _baggage(unit: Unit, raw: str) -> Context | None:
    from opentelemetry import baggage

    unit.baggage = parse_baggage(raw)
    session = unit.baggage.get("session.id")
    if session and not unit.session_id:
        unit.session_id = valid_request_id(session.encode("latin-1", "replace"))
    context: Context | None = None
    for name, value in unit.baggage.items():
        context = baggage.set_baggage(name, value, context)
    return context


def _credit_ingress(unit: Unit, started: bytes) -> None:
    """`X-Request-Start: t=<seconds|milliseconds|microseconds>` of a trusted proxy."""
    try:
        value = float(started.removeprefix(b"t="))
    except ValueError:
        return
    while value > 1e11:
        value /= 1000
    waited = unit.started_ns - int(value * 1e9)
    if 0 < waited < INGRESS_MOST_NS:
        unit.ledger.credit("ingress", waited)
        unit.started_ns = time_ns() - waited


def route_of(scope: Mapping[str, Any]) -> str:
    """The matched template of a Starlette or FastAPI scope, prefixes of included routers in it; "" before."""
    fastapi = scope.get("fastapi")
    if isinstance(fastapi, dict):
        context = fastapi.get("effective_route_context")
        path = getattr(context, "path_format", None)
        if path:
            return str(path)
    route = scope.get("route")
    return str(getattr(route, "path_format", "") or getattr(route, "path", ""))
