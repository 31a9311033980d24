"""gRPC clients, `grpc` and `grpc.aio`: a span and `rpc:<peer>` frames per call, of all four kinds.

Channels made by `grpc.insecure_channel`, `grpc.secure_channel` and their `grpc.aio` namesakes get an
interceptor. Whoever took such a function out of the module before `firstcause.configure` adds it by hand:
`grpc.intercept_channel(channel, ClientInterceptor(target))`, `interceptors=aio_interceptors(target)`.

Context travels as metadata, the peer's verdict comes back as `server-timing` in its trailing metadata. A
streamed answer is booked while somebody waits for a message, not while it is being worked on. Streams of
`grpc.aio` before the version that reads them right through interceptors are left alone.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind

from .._guard import guard
from ..diagnosis.ledger import FRAME, Frame, stamp
from ..servers import grpc as servers
from .call import RUNTIME, Call, opens, propagate, watched
from .patches import Patches

OK, CANCELLED, DEADLINE = grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED
_Code = grpc.StatusCode
FAILED = frozenset((
    _Code.UNKNOWN, _Code.INTERNAL, _Code.UNAVAILABLE, _Code.DATA_LOSS, _Code.DEADLINE_EXCEEDED,
    _Code.RESOURCE_EXHAUSTED, _Code.UNIMPLEMENTED,
))  # fmt: skip
"""The peer's failures; the other codes say something about what was asked, as a 4xx does."""
PEERS = 256
_patches = Patches()
_names: dict[str, str] = {}
"""Target to the service name that a verdict from there told us."""
Metadata = Iterable[tuple[str, Any]]


def instrument() -> None:
    """Patch the makers of channels and servers; safe to call again."""
    if _patches:
        return
    for name in ("insecure_channel", "secure_channel"):
        _patches.put(grpc, name, _channel)
    _patches.put(grpc.aio, "insecure_channel", _aio_channel(3))
    _patches.put(grpc.aio, "secure_channel", _aio_channel(4))
    servers.instrument()


def uninstrument() -> None:
    """Put gRPC back; channels and servers that exist stay watched."""
    _patches.undo()
    servers.uninstrument()


def _channel(original: Any) -> Any:
    def channel(target: str, *args: Any, **kwargs: Any) -> Any:
        made = original(target, *args, **kwargs)
        with guard("grpc.channel"):
            return grpc.intercept_channel(made, ClientInterceptor(target))
        return made

    return channel


def _aio_channel(place: int) -> Any:
    def wrap(original: Any) -> Any:
        def channel(target: str, *args: Any, **kwargs: Any) -> Any:
            with guard("grpc.channel"):
                args, kwargs = servers.with_interceptors(args, kwargs, place - 1, aio_interceptors(target))
            return original(target, *args, **kwargs)

        return channel

    return wrap


# -- one call -----------------------------------------------------------------------------------


class Peer:
    """Where a channel leads."""

    __slots__ = ("host", "place", "port")

    def __init__(self, target: str) -> None:
        self.place = place = _place(target)
        host, _, port = place.rpartition(":")
        self.host = (host if port.isdigit() else place).strip("[]") or "localhost"
        self.port = int(port) if port.isdigit() else 0


def _place(target: str) -> str:
    """`host:port` of a target such as `dns:///payments:50051`, `ipv4:10.0.0.1:443` or `unix:/run/x.sock`."""
    scheme, colon, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return "localhost"
    if "://" in target:
        return target.rpartition("/")[2]
    if colon and scheme in ("dns", "ipv4", "ipv6", "xds"):
        return rest.split(",", 1)[0]
    return target


@opens
def _begin(peer: Peer, method: str) -> Call:
    name = method.lstrip("/")
    attributes: dict[str, Any] = {"rpc.system.name": "grpc", "rpc.method": name, "server.address": peer.host}
    if peer.port:
        attributes["server.port"] = peer.port
    call = Call(f"rpc:{_names.get(peer.place, peer.place)}", name, attributes, kind=SpanKind.CLIENT, detail=name)
    if call.frame is not None:
        call.frame.where = peer.place
    return call


class _SyncDetails(grpc.ClientCallDetails):  # type: ignore[misc]
    """Somebody's call with our metadata; gRPC takes what it finds missing from its own."""

    def __init__(self, details: Any, metadata: Any) -> None:
        self.__dict__.update({name: getattr(details, name) for name in _FIELDS if hasattr(details, name)})
        self.metadata = metadata


_FIELDS = ("method", "timeout", "credentials", "wait_for_ready", "compression")


def _sync_details(call: Call, peer: Peer, details: Any) -> Any:
    return _SyncDetails(details, _metadata(call, peer, details.metadata))


def _metadata(call: Call, peer: Peer, given: Metadata | None) -> list[tuple[str, Any]]:
    ours: list[tuple[str, str]] = []
    if call.span is not None:
        with guard("grpc.propagate"):
            ours = propagate(call.span, peer.host)
    # Metadata may repeat a name: beside a traceparent of the host's the peer would have to choose.
    names = {name for name, _ in ours}
    return [*((name, value) for name, value in given or () if name not in names), *ours]


def _finish(call: Call, peer: Peer, code: Any, metadata: Metadata | None, frame: Frame | None) -> None:
    """Note how a call ended, on the `frame` of its last wait; closes that, and the span."""
    if code is None:
        code = OK
    call.attributes["rpc.response.status_code"] = code.name
    resource = _heard(call, peer, metadata, frame)
    failed = code in FAILED
    if frame is not None:
        frame.timed_out = code is DEADLINE
        if failed:
            frame.detail = f"{code.name} {frame.detail}"
        frame.ledger.close(frame, resource, failed, code is CANCELLED)
    if code is not OK:
        call.attributes["error.type"] = code.name
        if call.span is not None:
            call.span.status_code = 2  # what the convention wants of clients, for every code but OK
    call.end(failed=failed)


def _heard(call: Call, peer: Peer, metadata: Metadata | None, frame: Frame | None) -> str | None:
    """The peer's verdict of its own part, when the metadata proves it."""
    recorder, span = RUNTIME.recorder, call.span
    if frame is None or span is None or recorder is None:
        return None
    told = ",".join(str(value) for name, value in metadata or () if name == "server-timing")
    verdict = recorder.mesh.believe(told, span.trace_id, peer.host) if told else None
    if verdict is None:
        return None
    frame.peer = verdict
    if peer.place not in _names and len(_names) < PEERS:
        _names[peer.place] = verdict.service
    resource = f"rpc:{verdict.service}"
    recorder.heard(resource, verdict)
    return resource


def _close_first(call: Call) -> None:
    """The stream is open: from here on only waits for messages are booked."""
    frame = call.frame
    if frame is not None:
        frame.ledger.close(frame, None, False, False)


def _waits(call: Call) -> Frame | None:
    """A frame for one wait for a message, if the reader is the unit that made the call."""
    above, of = FRAME.get(), call.frame
    if above is None or of is None or above.ledger is not of.ledger:
        return None
    frame = above.ledger.open(of.resource, of.detail, above)
    if frame is not None:
        frame.where = of.where
    return frame


def _arrived(frame: Frame | None) -> None:
    if frame is not None:
        frame.ledger.close(frame, None, False, False)


# -- grpc ---------------------------------------------------------------------------------------


class ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """For `grpc.intercept_channel`; `target` is what the channel was made with."""

    def __init__(self, target: str) -> None:
        self._peer = Peer(target)

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """One answer, now or as a future."""
        if not watched():
            return continuation(details, request)
        call = _begin(self._peer, details.method)
        try:
            outcome = continuation(_sync_details(call, self._peer, details), request)
        except BaseException as error:
            call.end(error)
            raise
        with guard("grpc.reply"):
            # A blocking call comes back done; of a future's end a thread of gRPC's tells.
            if outcome.done():
                self._done(call, outcome)
            else:
                outcome.add_done_callback(lambda done: self._done(call, done))
        return outcome

    intercept_stream_unary = intercept_unary_unary

    def _done(self, call: Call, outcome: Any) -> None:
        with guard("grpc.done"):
            code = outcome.code()
            if code not in (OK, CANCELLED):
                stamp(outcome.exception(), call.frame)
            _finish(call, self._peer, code, _all_metadata(outcome), call.frame)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """A stream of answers."""
        if not watched():
            return continuation(details, request)
        call = _begin(self._peer, details.method)
        try:
            outcome = continuation(_sync_details(call, self._peer, details), request)
        except BaseException as error:
            call.end(error)
            raise
        return _Answers(outcome, call, self._peer)

    intercept_stream_stream = intercept_unary_stream


def _all_metadata(outcome: Any) -> list[tuple[str, Any]]:
    return [*(outcome.initial_metadata() or ()), *(outcome.trailing_metadata() or ())]


class _Answers:
    """gRPC's own call object, with the waits for its messages booked."""

    def __init__(self, inner: Any, call: Call, peer: Peer) -> None:
        self._inner, self._call, self._peer = inner, call, peer
        with guard("grpc.stream"):
            _close_first(call)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        frame = _waits(self._call)
        try:
            message = next(self._inner)
        except StopIteration:
            self._over(frame, None)
            raise
        except grpc.RpcError as error:
            self._over(frame, error)
            raise
        _arrived(frame)
        return message

    next = __next__

    def _over(self, frame: Frame | None, error: Any) -> None:
        with guard("grpc.over"):
            if error is not None:
                stamp(error, frame)
            _finish(self._call, self._peer, self._inner.code(), _all_metadata(self._inner), frame)

    def cancel(self) -> Any:
        """As gRPC's; nobody may be left who reads the end."""
        cancelled = self._inner.cancel()
        _given_up(self._call, self._peer, self._inner)
        return cancelled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __del__(self) -> None:
        with guard("grpc.abandoned"):
            self._call.end()  # the reader went away before the end


# -- grpc.aio -----------------------------------------------------------------------------------


def aio_interceptors(target: str) -> list[Any]:
    """For `interceptors=` of a `grpc.aio` channel to `target`."""
    peer = Peer(target)
    single = [_AioUnaryUnary(peer), _AioStreamUnary(peer)]
    return [*single, _AioUnaryStream(peer), _AioStreamStream(peer)] if INTERCEPTS_STREAMS else single


def _intercepts_streams() -> bool:
    """Whether `read()` at the end of an intercepted stream returns EOF: it once raised StopAsyncIteration."""
    mixin = getattr(sys.modules.get("grpc.aio._interceptor"), "_InterceptedStreamResponseMixin", None)
    code = getattr(getattr(mixin, "read", None), "__code__", None)
    return code is None or "StopAsyncIteration" in code.co_names


INTERCEPTS_STREAMS = _intercepts_streams()


async def _answered(peer: Peer, continuation: Any, details: Any, request: Any) -> Any:
    if not watched():
        return await continuation(details, request)
    call = _begin(peer, _method(details))
    try:
        outcome = await continuation(_aio_details(call, peer, details), request)
        # The continuation returns before there is an answer: the wait for it is the call's.
        await outcome
        metadata = [*await outcome.initial_metadata(), *await outcome.trailing_metadata()]
    except grpc.aio.AioRpcError as error:
        with guard("grpc.reply"):
            stamp(error, call.frame)
            _finish(call, peer, error.code(), _all_metadata(error), call.frame)
        raise
    except BaseException as error:
        call.end(error)
        raise
    with guard("grpc.reply"):
        _finish(call, peer, OK, metadata, call.frame)
    return outcome


async def _uploaded(peer: Peer, continuation: Any, details: Any, requests: Any) -> Any:
    """One answer to a stream of requests, which are not written before this returns."""
    if not watched():
        return await continuation(details, requests)
    call = _begin(peer, _method(details))
    try:
        outcome = await continuation(_aio_details(call, peer, details), requests)
    except BaseException as error:
        call.end(error)
        raise

    def done(_call: Any) -> None:
        with guard("grpc.reply"):
            metadata = [*_now(outcome.initial_metadata()), *_now(outcome.trailing_metadata())]
            _finish(call, peer, _now(outcome.code()), metadata, call.frame)

    outcome.add_done_callback(done)
    return _Uploading(outcome, call)


def _now(done: Any) -> Any:
    """What a coroutine of a finished call returns: it does not wait any more."""
    try:
        done.send(None)
    except StopIteration as returned:
        return returned.value
    done.close()
    return ()


class _Uploading:
    """gRPC's own call object; makes each error anew, so that it is stamped where it is raised."""

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner, self._call = inner, call

    def __await__(self) -> Any:
        try:
            return (yield from self._inner.__await__())
        except grpc.aio.AioRpcError as error:
            stamp(error, self._call.frame)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def _streamed(peer: Peer, continuation: Any, details: Any, request: Any) -> Any:
    if not watched():
        return await continuation(details, request)
    call = _begin(peer, _method(details))
    try:
        outcome = await continuation(_aio_details(call, peer, details), request)
    except BaseException as error:
        call.end(error)
        raise
    with guard("grpc.stream"):
        _close_first(call)
        outcome.add_done_callback(lambda done: _given_up(call, peer, done))
    return _aio_answers(peer, call, outcome)


def _given_up(call: Call, peer: Peer, outcome: Any) -> None:
    """A cancelled stream may have nobody left who reads its end."""
    with guard("grpc.cancelled"):
        if outcome.cancelled():
            _finish(call, peer, CANCELLED, (), None)


async def _aio_answers(peer: Peer, call: Call, outcome: Any) -> AsyncIterator[Any]:
    answers = outcome.__aiter__()
    try:
        while True:
            frame = _waits(call)
            try:
                message = await answers.__anext__()
            except StopAsyncIteration:
                metadata = [*await outcome.initial_metadata(), *await outcome.trailing_metadata()]
                with guard("grpc.over"):
                    _finish(call, peer, await outcome.code(), metadata, frame)
                return
            except grpc.aio.AioRpcError as error:
                with guard("grpc.over"):
                    stamp(error, frame)
                    _finish(call, peer, error.code(), _all_metadata(error), frame)
                raise
            _arrived(frame)
            yield message
    finally:
        call.end()  # the reader went away before the end


def _method(details: Any) -> str:
    method = details.method
    return method.decode("latin-1") if isinstance(method, bytes) else str(method)


def _aio_details(call: Call, peer: Peer, details: Any) -> Any:
    metadata = grpc.aio.Metadata(*_metadata(call, peer, details.metadata))
    return details._replace(metadata=metadata)


class _AioUnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await _answered(self._peer, continuation, details, request)


class _AioStreamUnary(grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def intercept_stream_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await _uploaded(self._peer, continuation, details, request)


class _AioUnaryStream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await _streamed(self._peer, continuation, details, request)


class _AioStreamStream(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def intercept_stream_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await _streamed(self._peer, continuation, details, request)
