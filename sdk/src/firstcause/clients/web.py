"""What all HTTP clients share: the peer's name, the attributes, and the verdict in the reply."""

from __future__ import annotations

from typing import Any

from ..diagnosis.ledger import FRAME, Frame
from ..logs.redaction import redact_url
from .call import RUNTIME, Call, propagate

PEERS = 256
_names: dict[str, str] = {}
"""host:port to the service name a verdict from there told us; later calls are booked to the name."""


def begin(method: str, url: str, host: str, port: int | None) -> tuple[Call, list[tuple[str, str]]]:
    """Open a call, and the headers to send with it."""
    place = f"{host}:{port}" if port else host
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "server.address": host,
        "url.full": redact_url(url),
    }
    if port:
        attributes["server.port"] = port
    path = attributes["url.full"].partition("://")[2].partition("/")[2].partition("?")[0]
    call = Call(f"http:{_names.get(place, place)}", method, attributes, detail=f"{method} /{path}")
    frame = call.frame
    if frame is not None:
        frame.where = place
    return call, propagate(call.span, host) if call.span is not None else []


def reply(call: Call, status: int, server_timing: str, host: str) -> None:
    """Note a reply's status and, when it proves itself, the verdict it carries; ends the call."""
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


class Body:
    """Books each wait for a chunk of a reply's body to the same peer, as a frame of its own."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame | None) -> None:
        self._frame = frame

    def open(self) -> Frame | None:
        """One wait begins."""
        frame = self._frame
        above = FRAME.get()
        if frame is None or above is None or above.ledger is not frame.ledger:
            return None
        return above.ledger.open(frame.resource, frame.detail, above)

    @staticmethod
    def close(frame: Frame | None, *, failed: bool = False) -> None:
        """The wait is over."""
        if frame is not None:
            frame.ledger.close(frame, None, failed, False)
