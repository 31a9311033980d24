"""What all HTTP clients share: the peer's name, the attributes, and the verdict in the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from .._guard import guard
from ..diagnosis.ledger import FRAME, Frame, stamp
from ..logs.redaction import redact_url
from .call import RUNTIME, Call, opens, propagate, was_cancelled

PEERS = 256
_names: dict[str, str] = {}
"""host:port to the service name a verdict from there told us; later calls are booked to the name."""


@opens
def begin(send: Callable[[str, str], object], method: str, url: str, host: str, port: int | None) -> Call:
    """Open a call, and `send` the headers that go with it, one by one."""
    place = f"{host}:{port}" if port else host
    full = redact_url(url)
    attributes: dict[str, Any] = {"http.request.method": method, "server.address": host, "url.full": full}
    if port:
        attributes["server.port"] = port
    path = full.partition("://")[2].partition("/")[2].partition("?")[0]
    call = Call(f"http:{_names.get(place, place)}", method, attributes, detail=f"{method} /{path}")
    if call.frame is not None:
        call.frame.where = place
    if call.span is not None:
        with guard("clients.propagate"):
            for name, value in propagate(call.span, host):
                send(name, value)
    return call


def reply(call: Call, status: int, headers: Mapping[str, str], host: str) -> None:
    """Note a reply's status and, when it proves itself, the verdict it carries; ends the call."""
    with guard("clients.reply"):
        _reply(call, status, headers.get("server-timing", ""), host)


def _reply(call: Call, status: int, server_timing: str, host: str) -> None:
    call.attributes["http.response.status_code"] = status
    frame, span, recorder = call.frame, call.span, RUNTIME.recorder
    resource = None
    if server_timing and frame is not None and span is not None and recorder is not None:
        peer = recorder.mesh.believe(server_timing, span.trace_id, host)
        if peer is not None:
            frame.peer = peer
            resource = _learn(frame, peer.service)
            recorder.heard(resource, peer)
    failed = status >= 500 or status == 429
    if status >= 400:
        call.attributes["error.type"] = str(status)
    if failed and frame is not None:
        frame.detail = f"{status} {frame.detail}"
    call.end(failed=failed, resource=resource)


def _learn(frame: Frame, service: str) -> str:
    if frame.where not in _names and len(_names) < PEERS:
        _names[frame.where] = service
    return f"http:{service}"


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
        over = error is None or isinstance(error, (StopIteration, StopAsyncIteration))
        gone = was_cancelled(error)
        if error is not None and not over:
            stamp(error, frame)
        frame.ledger.close(frame, None, not over and not gone, gone)
