"""gRPC servers, `grpc` and `grpc.aio`: a unit of work per call, of all four kinds.

Servers made by `grpc.server` and `grpc.aio.server` get an interceptor, outermost. Whoever took such a function
out of the module before `firstcause.configure` passes `interceptors=[ServerInterceptor()]` or
`[AioServerInterceptor()]` by hand.

The canonical line's `status` is the HTTP status that Google's API design guide pairs with the code, so that
what counts as an error of the server (5xx) is what the semantic conventions count for gRPC. A verified caller
gets the verdict as `server-timing` in the trailing metadata. Unknown methods have no handler and make no unit,
health probes (`grpc.health.v1`) neither. A stream is judged on its first message.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from .._guard import guard
from .._watch import WATCH
from ..clients.call import RUNTIME
from ..clients.patches import Patches
from ..diagnosis.clock import Clock, thread_clock
from ..diagnosis.ledger import FRAME
from .failure import note_failure
from .incoming import LOOPBACK, adopt

if TYPE_CHECKING:
    from .._recorder import Recorder
    from ..diagnosis.unit import Unit

_Code = grpc.StatusCode
STATUSES = {
    _Code.OK: 200, _Code.CANCELLED: 499, _Code.UNKNOWN: 500, _Code.INVALID_ARGUMENT: 400,
    _Code.DEADLINE_EXCEEDED: 504, _Code.NOT_FOUND: 404, _Code.ALREADY_EXISTS: 409, _Code.PERMISSION_DENIED: 403,
    _Code.UNAUTHENTICATED: 401, _Code.RESOURCE_EXHAUSTED: 429, _Code.FAILED_PRECONDITION: 400, _Code.ABORTED: 409,
    _Code.OUT_OF_RANGE: 400, _Code.UNIMPLEMENTED: 501, _Code.INTERNAL: 500, _Code.UNAVAILABLE: 503,
    _Code.DATA_LOSS: 500,
}  # fmt: skip
"""Google's API design guide, "HTTP mapping"."""
_BY_NUMBER = {code.value[0]: code for code in _Code}
QUEUED_NS = 1_000_000
"""A call that waited longer for one of the server's threads is shown to have waited."""
STREAM_NS = 50_000_000
"""A message this long after the first one makes a stream, as under HTTP."""
_HEALTH = "/grpc.health."
_patches = Patches()


def instrument() -> None:
    """Patch the makers of servers; safe to call again. `clients.grpc` does so with its own."""
    if _patches:
        return
    _patches.put(grpc, "server", _makes(ServerInterceptor))
    _patches.put(grpc.aio, "server", _makes(AioServerInterceptor))


def uninstrument() -> None:
    """Put gRPC back; servers that exist stay watched."""
    _patches.undo()


def _makes(interceptor: Callable[[], Any]) -> Any:
    def wrap(original: Any) -> Any:
        def server(*args: Any, **kwargs: Any) -> Any:
            with guard("grpc.server"):
                args, kwargs = with_interceptors(args, kwargs, 2, [interceptor()])
            return original(*args, **kwargs)

        return server

    return wrap


def with_interceptors(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: int, ours: list[Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with `ours` in front of the given `interceptors`; as they are when some of ours are there."""
    given = list((args[place] if len(args) > place else kwargs.get("interceptors")) or ())
    if any(type(one) in {type(other) for other in ours} for one in given):
        return args, kwargs
    if len(args) > place:
        return (*args[:place], [*ours, *given], *args[place + 1 :]), kwargs
    return args, {**kwargs, "interceptors": [*ours, *given]}


# -- one call -----------------------------------------------------------------------------------


class _Call:
    """One call being served: its unit, from `begin` in the context that works on it to `finish`."""

    def __init__(self, recorder: Recorder, details: Any, context: Any, clock: Clock, waited_ns: int) -> None:
        self.recorder, self.context = recorder, context
        self._over = False
        path = _text(details.method)
        self.unit: Unit = recorder.begin("server", "", path, clock)
        try:
            otel = self._identify(details, path.lstrip("/"))
        except BaseException:
            recorder.abandon(self.unit)
            raise
        if waited_ns > QUEUED_NS:
            self.unit.ledger.credit("runtime:threadpool", waited_ns)
            self.unit.started_ns -= waited_ns
        self._frame = FRAME.set(self.unit.ledger.root)
        self._span = otel_context.attach(trace.set_span_in_context(self.unit.span, otel))

    def _identify(self, details: Any, name: str) -> Any:
        unit = self.unit
        unit.route, unit.scheme = name, "grpc"
        headers = {_bytes(key): _bytes(value) for key, value in details.invocation_metadata or ()}
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}
        client = _address(self.context.peer())
        if client:
            attributes["client.address"] = client
        return adopt(self.recorder, unit, headers, attributes, SpanKind.SERVER, from_loopback=client in LOOPBACK)

    def failed(self, error: BaseException) -> None:
        """The handler raised: its own exception, or the one by which gRPC aborts."""
        code = self.code()
        if code is _Code.OK:
            # What gRPC itself answers when a handler raises.
            self._code = code = _Code.UNKNOWN
        if isinstance(error, Exception) and STATUSES[code] >= 500:
            note_failure(self.unit, error)
            if type(error) is Exception or isinstance(error, grpc.aio.AbortError):
                self.unit.error_type = code.name  # an abort; what led to it is its context

    _code: Any = None

    def sends(self) -> None:
        """A message goes out; the first one is what a stream is judged on."""
        now, unit = perf_counter_ns(), self.unit
        if not unit.first_byte:
            unit.first_byte = now
        elif now - unit.first_byte > STREAM_NS:
            unit.streamed = True

    def code(self) -> Any:
        """What the call is answered with, as far as it is decided."""
        if self._code is None:
            found = self.context.code()
            found = _BY_NUMBER.get(found, _Code.UNKNOWN) if isinstance(found, int) else found
            return found or _Code.OK
        return self._code

    def left(self) -> None:
        """The caller is not there any more: it gave up, or its deadline passed."""
        remaining = self.context.time_remaining()
        late = remaining is not None and remaining <= 0
        self._code = _Code.DEADLINE_EXCEEDED if late else _Code.CANCELLED

    def tell(self, given: Any = None) -> Any:
        """The trailing metadata, `given` or the handler's, for a verified caller with our verdict behind them."""
        metadata = tuple((self.context.trailing_metadata() if given is None else given) or ())
        if not self.unit.mark_verified:
            return metadata
        answer = self.recorder.answer(self.unit, STATUSES[self.code()])
        return (*metadata, ("server-timing", answer)) if answer else metadata

    def finish(self) -> None:
        """The handler is done: report, and leave the context as it was."""
        if self._over:
            return
        self._over = True
        with guard("grpc.finish"):
            code, unit = self.code(), self.unit
            unit.span.attributes["rpc.response.status_code"] = code.name
            if STATUSES[code] >= 500 and not unit.error_type:
                unit.error_type = code.name
            self.recorder.finish(unit, STATUSES[code], gone=code is _Code.CANCELLED)
        with guard("grpc.context"):
            try:
                FRAME.reset(self._frame)
                otel_context.detach(self._span)
            except ValueError:
                FRAME.set(None)  # a stream that was given up is closed by somebody else


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")


def _address(peer: Any) -> str:
    """The host of gRPC's `ipv4:127.0.0.1:1234`, `ipv6:[::1]:1234`, or nothing for a socket of this machine."""
    kind, _, rest = str(peer).replace("%5B", "[").replace("%5D", "]").partition(":")
    return "" if kind.startswith("unix") else rest.rpartition(":")[0].strip("[]")


def _begin(details: Any, context: Any, clock: Clock, waited_ns: int = 0) -> _Call | None:
    recorder = RUNTIME.recorder
    if recorder is not None:
        with guard("grpc.begin"):
            return _Call(recorder, details, context, clock, waited_ns)
    return None


def _is_watched(details: Any) -> bool:
    return RUNTIME.recorder is not None and not _text(details.method).startswith(_HEALTH)


def _text(method: Any) -> str:
    return method.decode("latin-1") if isinstance(method, bytes) else str(method)


def _wrapped(handler: Any, behave: Any) -> Any:
    """The handler with another behaviour."""
    made = {
        (False, False): grpc.unary_unary_rpc_method_handler, (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler, (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(handler.request_streaming), bool(handler.response_streaming)]  # fmt: skip
    return made(behave, handler.request_deserializer, handler.response_serializer)


def _behaviour(handler: Any) -> Any:
    names = {
        (False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary",
        (True, True): "stream_stream",
    }  # fmt: skip
    return getattr(handler, names[bool(handler.request_streaming), bool(handler.response_streaming)])


# -- grpc ---------------------------------------------------------------------------------------


class ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """For `grpc.server(interceptors=[...])`, as the first."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Called when a call arrives, before one of the server's threads is free for it."""
        handler = continuation(details)
        if handler is not None and _is_watched(details):
            with guard("grpc.intercept"):
                inner = _behaviour(handler)
                # Such a handler answers by a callback, after it has returned.
                if not getattr(inner, "experimental_non_blocking", False):
                    return _wrapped(handler, _sync(handler, inner, details, perf_counter_ns()))
        return handler


def _sync(handler: Any, inner: Any, details: Any, arrived: int) -> Any:
    def one(request: Any, context: Any) -> Any:
        context = _readable(context)
        call = _begin(details, context, thread_clock(), perf_counter_ns() - arrived)
        if call is None:
            return inner(request, context)
        try:
            response = inner(_uploaded(handler, request, call), context)
        except BaseException as error:
            _end_sync(call, error)
            raise
        _end_sync(call)
        return response

    def many(request: Any, context: Any) -> Iterator[Any]:
        context = _readable(context)
        call = _begin(details, context, thread_clock(), perf_counter_ns() - arrived)
        if call is None:
            yield from inner(request, context)
            return
        try:
            for response in inner(_uploaded(handler, request, call), context):
                sending = _sending(call)
                yield response
                _close(sending)
        except GeneratorExit:
            call.left()
            call.finish()
            raise
        except BaseException as error:
            _end_sync(call, error)
            raise
        _end_sync(call)

    return many if handler.response_streaming else one


class _Noting:
    """The context that `grpc.aio` gives to handlers in threads, with what was set kept to be read."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._code, self._metadata = inner, None, ()

    def set_code(self, code: Any) -> None:
        self._code = code
        self._inner.set_code(code)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._metadata = metadata
        self._inner.set_trailing_metadata(metadata)

    def abort(self, code: Any, *args: Any, **kwargs: Any) -> Any:
        self._code = code
        return self._inner.abort(code, *args, **kwargs)

    def code(self) -> Any:
        return self._code

    def trailing_metadata(self) -> Any:
        return self._metadata

    def is_active(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _readable(context: Any) -> Any:
    return context if hasattr(context, "code") else _Noting(context)


def _end_sync(call: _Call, error: BaseException | None = None) -> None:
    with guard("grpc.end"):
        if not call.context.is_active():
            call.left()
        else:
            if error is not None:
                call.failed(error)
            if call.unit.mark_verified:
                call.context.set_trailing_metadata(call.tell())
    call.finish()


def _sending(call: _Call) -> Any:
    """The wait until the caller takes what it was sent."""
    call.sends()
    root = call.unit.ledger.root
    return root.ledger.open("client:download", "", root)


def _close(frame: Any) -> None:
    if frame is not None:
        frame.ledger.close(frame, None, False, False)


def _uploaded(handler: Any, request: Any, call: _Call) -> Any:
    return _Upload(request, call) if handler.request_streaming else request


class _Upload:
    """gRPC's request iterator, with the waits for the caller booked."""

    def __init__(self, inner: Any, call: _Call) -> None:
        self._inner, self._root = inner, call.unit.ledger.root

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        waiting = self._root.ledger.open("client:upload", "", self._root)
        try:
            return next(self._inner)
        finally:
            _close(waiting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


# -- grpc.aio -----------------------------------------------------------------------------------


class AioServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """For `grpc.aio.server(interceptors=[...])`, as the first."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Called in the task that will run the handler."""
        handler = await continuation(details)
        if handler is not None and _is_watched(details):
            with guard("grpc.intercept"):
                inner = _behaviour(handler)
                return _wrapped(handler, _aio(handler, inner, details))
        return handler


def _aio(handler: Any, inner: Any, details: Any) -> Any:
    if inspect.isasyncgenfunction(inner):
        return _aio_many(handler, inner, details)
    if inspect.iscoroutinefunction(inner):
        return _aio_one(handler, inner, details)
    return _sync(handler, inner, details, perf_counter_ns())  # runs in a thread, with a context like that of `grpc`


def _aio_one(handler: Any, inner: Any, details: Any) -> Any:
    """A coroutine: one answer, or none for those that write their answers to the context."""

    async def one(request: Any, context: Any) -> Any:
        call = _begin_aio(details, context)
        if call is None:
            return await inner(request, context)
        try:
            response = await inner(_aio_uploaded(handler, request, call), _Context(context, call))
        except BaseException as error:
            _end_aio(call, error)
            raise
        _end_aio(call)
        return response

    return one


def _aio_many(handler: Any, inner: Any, details: Any) -> Any:
    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        call = _begin_aio(details, context)
        if call is None:
            async for response in inner(request, context):
                yield response
            return
        try:
            async for response in inner(_aio_uploaded(handler, request, call), _Context(context, call)):
                sending = _sending(call)
                yield response
                _close(sending)
        except BaseException as error:
            _end_aio(call, error)
            raise
        _end_aio(call)

    return many


def _aio_uploaded(handler: Any, request: Any, call: _Call) -> Any:
    return _aio_upload(request, call) if handler.request_streaming and hasattr(request, "__aiter__") else request


async def _aio_upload(requests: Any, call: _Call) -> AsyncIterator[Any]:
    root, inner = call.unit.ledger.root, requests.__aiter__()
    while True:
        waiting = root.ledger.open("client:upload", "", root)
        try:
            request = await inner.__anext__()
        except StopAsyncIteration:
            return
        finally:
            _close(waiting)
        yield request


def _begin_aio(details: Any, context: Any) -> _Call | None:
    import asyncio

    return _begin(details, context, WATCH.clock_for(asyncio.get_running_loop()))


def _end_aio(call: _Call, error: BaseException | None = None) -> None:
    with guard("grpc.end"):
        if error is not None and not isinstance(error, Exception):
            call.left()  # gRPC cancels the task when the caller is gone
        else:
            if error is not None:
                call.failed(error)
            # An abort has sent its metadata already, ours among it.
            if call.unit.mark_verified and not isinstance(error, grpc.aio.AbortError):
                call.context.set_trailing_metadata(call.tell())
    call.finish()


class _Context:
    """gRPC's own context; `abort` sends the answer at once, so that our part of it must go along."""

    def __init__(self, inner: Any, call: _Call) -> None:
        self._inner, self._call = inner, call

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        """As gRPC's, with our verdict behind the trailing metadata."""
        with guard("grpc.abort"):
            self._call._code = code
            trailing_metadata = self._call.tell(tuple(trailing_metadata) or None)
        await self._inner.abort(code, details, trailing_metadata)

    async def write(self, message: Any) -> None:
        """As gRPC's; the wait until the caller takes the message is the caller's."""
        sending = _sending(self._call)
        try:
            await self._inner.write(message)
        finally:
            _close(sending)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
