"""What all HTTP clients share: the peer, the attributes, the headers, and the verdict in the reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any

from .._guard import report
from ..diagnosis.ledger import FRAME, Frame, stamp
from ..logs.redaction import redact_url
from .call import HTTP_DURATION, RUNTIME, Call, is_timeout, opens, propagate, was_cancelled

PEERS = 512
METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY", "CONNECT", "TRACE"))
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SHAPELESS = re.compile(
    r"[^/]*(?:/(?:[a-z]{1,32}|v?[0-9]{1,12}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}))*+/?", re.ASCII
)
"""Host and path of plain words, short numbers and UUIDs: no secret has that shape, nothing to search for."""
_PARAMETERS = 50


class Peer:
    """What all calls to one address have in common. A verdict from there tells its service's name."""

    __slots__ = ("host", "key", "place", "port", "resource")

    def __init__(self, scheme: str, host: str, port: int | None) -> None:
        self.host, self.place = host, f"{host}:{port}" if port else host
        self.resource = f"http:{self.place}"
        self.port = port or _PORTS.get(scheme, 0)
        self.key = (host, str(self.port or ""))


_peers: dict[tuple[str, str, int | None], Peer] = {}


def _peer(scheme: str, host: str, port: int | None) -> Peer:
    found = Peer(scheme, host, port)
    if len(_peers) < PEERS:
        _peers[scheme, host, port] = found
    return found


class Request(Call):
    """One request to a peer."""

    __slots__ = ("peer", "status")
    peer: Peer
    status: str

    def ending(self) -> tuple[str, ...]:
        """With the status that came, if one did."""
        return (*self.key, self.status, self.attributes.get("error.type", ""))


@opens
def begin(method: str, url: str, scheme: str, host: str, port: int | None) -> Call:
    """Open a call; `port` as the URL has it, None for the scheme's own."""
    peer = _peers.get((scheme, host, port)) or _peer(scheme, host, port)
    full = shown(url)
    known = method if method in METHODS else "_OTHER"
    attributes: dict[str, Any] = {"http.request.method": known, "server.address": host, "url.full": full}
    if peer.port:
        attributes["server.port"] = peer.port
    path = full.find("/", full.find("://") + 3)
    detail = f"{method[:16]} {'/' if path < 0 else full[path:].partition('?')[0]}"
    name = method if known is method else "HTTP"
    call = Request(
        peer.resource, name, attributes, detail=detail, instrument=HTTP_DURATION, key=(known, *peer.key)
    )  # fmt: skip
    call.peer, call.status = peer, ""
    if call.frame is not None:
        call.frame.where = peer.place
    return call


def headers(call: Call, has: Callable[[str], bool] | None = None) -> list[tuple[str, str]]:
    """What goes out with a call; a request id or baggage that the host set itself stays as it is.

    Set them on what is sent, not on what is kept: a redirect to a stranger would take them along.
    """
    if call.span is None or not isinstance(call, Request):
        return []
    try:
        found = propagate(call.span, call.peer.host)
        return found if has is None else [pair for pair in found if pair[0].startswith("trace") or not has(pair[0])]
    except Exception as error:
        if not report("clients.propagate", error):
            raise
        return []


def reply(call: Call, status: int, server_timing: str, error: BaseException | None = None) -> None:
    """Note a reply's status and, when it proves itself, the verdict it carries; ends the call.

    `error` is what the library made of the status.
    """
    try:
        attributes, frame = call.attributes, call.frame
        attributes["http.response.status_code"] = status
        resource = None
        if isinstance(call, Request):
            call.status = str(status)
            resource = _believe(call, server_timing) if server_timing else None
        # A peer's 4xx is about what we asked; 429 is about the peer.
        failed = status >= 500 or status == 429
        if status >= 400:
            attributes["error.type"] = str(status)
        if failed and frame is not None:
            frame.detail = f"{status} {frame.detail}"
        call.end(failed=failed, resource=resource)
    except Exception as ours:
        if not report("clients.reply", ours):
            raise
    if error is not None and call.frame is not None:
        stamp(error, call.frame)


def _believe(call: Request, server_timing: str) -> str | None:
    """The resource under its service's name, when the reply's verdict is proven."""
    frame, span, recorder = call.frame, call.span, RUNTIME.recorder
    if frame is None or span is None or recorder is None:
        return None
    verdict = recorder.mesh.believe(server_timing, span.trace_id, call.peer.host)
    if verdict is None:
        return None
    frame.peer = verdict
    # Later calls begin under that name: one that times out has no reply to learn it from.
    resource = call.peer.resource = f"http:{verdict.service}"
    recorder.heard(resource, verdict)
    return resource


# -- the address as it may be shown ---------------------------------------------------------------


def shown(url: str) -> str:
    """The same as `redact_url`, without a search when there is nothing to find."""
    base, question, query = url.partition("?")
    _scheme, colon, rest = base.partition("://")
    if not colon or "#" in query or len(url) > 2048 or "@" in rest or not _SHAPELESS.fullmatch(rest):
        return redact_url(url)
    if not question:
        return base
    names = tuple([part.partition("=")[:2] for part in query.split("&", _PARAMETERS)[:_PARAMETERS]])
    return f"{base}?{_masked(tuple([name if equals else None for name, equals in names]))}"


@lru_cache(maxsize=1024)
def _masked(names: tuple[str | None, ...]) -> str:
    """Names are few, values are not: those are left out before. What has no name is all value."""
    return redact_url("?" + "&".join(["" if name is None else f"{name}=" for name in names]))[1:]


# -- bodies ---------------------------------------------------------------------------------------


class Wait:
    """Books one wait for a chunk of a reply's body to the same peer, as a frame of its own."""

    __slots__ = ("_frame", "_of")

    def __init__(self, of: Frame | None) -> None:
        self._of = of
        self._frame: Frame | None = None

    def __enter__(self) -> None:
        above, of = FRAME.get(), self._of
        # A body may be read by another unit than the one that asked, whose ledger knows nothing of the call.
        if of is not None and above is not None and above.ledger is of.ledger:
            self._frame = above.ledger.open(of.resource, of.detail, above)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        frame, self._frame = self._frame, None
        if frame is None:
            return
        try:
            self._end(frame, error)
        except Exception as ours:
            if not report("clients.body", ours):
                raise

    def _end(self, frame: Frame, error: BaseException | None) -> None:
        failed = gone = False
        if error is not None and not isinstance(error, (StopIteration, StopAsyncIteration)):
            gone = was_cancelled(error)
            failed = not gone
            frame.timed_out = is_timeout(error)
            stamp(error, frame)
        frame.ledger.close(frame, None, failed, gone)
        # The pause before a hand-written retry begins when the failed answer's body has been read.
        if self._of is not None and self._of.failed and frame.parent is not None:
            frame.parent.retry = (frame.resource, frame.end)


def chunks(body: Iterator[Any], wait: Wait) -> Iterator[Any]:
    """The chunks of a body, each wait booked; closing it closes the body."""
    try:
        while True:
            try:
                with wait:
                    chunk = next(body)
            except StopIteration:
                return
            yield chunk
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
