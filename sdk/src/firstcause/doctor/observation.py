"""One real request through the application, and everything that came out of the process because of it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from .wire import SERVER, Collector, Received, WireMetric, WireRecord, WireSpan

ANSWER_S = 10.0
"""The longest wait for a lifespan, a response, or a database."""
ECHOES = 10
"""So many lines because of one are a loop; it is broken then."""
PROBE = "doctor.probe"
"""The logger of the line that must arrive exactly once."""


@dataclass
class Query:
    """What one SQLAlchemy engine did when it was asked something inside a request."""

    engine: str
    most: int
    """Connections that its pool may open, per process; 0 when it has no bound."""
    booked: bool = False
    """Whether its time was booked to `db:…`."""
    max_connections: int = 0
    """PostgreSQL's own limit, without what it reserves; 0 for others."""
    error: str = ""


@dataclass
class Observed:
    """The request's evidence. `spans` and `records` are those of its trace, as they arrived at a collector."""

    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    request_id: str = field(default_factory=lambda: "doctor-" + secrets.token_hex(6))
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""
    lifespan_error: str = ""
    received: Received = field(default_factory=Received)
    lines: list[dict[str, Any]] = field(default_factory=list)
    metrics_text: str = ""
    queries: list[Query] = field(default_factory=list)
    shutdown_s: float = 0.0
    """How long the last flush took with a collector that never answers."""
    stock_processors: int = 0
    """Span processors of the OpenTelemetry SDK that flush without a bound."""
    echoes: list[str] = field(default_factory=list)
    """Loggers that spoke while a line was being handled."""
    layers: list[str] = field(default_factory=list)
    """Type names of the ASGI or WSGI layers, from the outside in."""

    @property
    def spans(self) -> list[WireSpan]:
        """The trace's spans, each once."""
        found = {span.span_id: span for span in self.received.spans if span.trace_id == self.trace_id}
        return list(found.values())

    @property
    def copies(self) -> list[WireSpan]:
        """Spans that arrived a second time."""
        every = [span for span in self.received.spans if span.trace_id == self.trace_id]
        first = {span.span_id: span for span in reversed(every)}
        return [span for span in every if first[span.span_id] is not span]

    @property
    def server_spans(self) -> list[WireSpan]:
        """One, when all is well."""
        return [span for span in self.spans if span.kind == SERVER]

    @property
    def canonical(self) -> list[WireRecord]:
        """The request's canonical line as a log record."""
        wanted = [r for r in self.received.records if r.attributes.get("request_id") == self.request_id]
        return [record for record in wanted if any(name.startswith("ledger.") for name in record.attributes)]

    @property
    def probes(self) -> int:
        """How often one line of stdlib logging arrived."""
        return sum(str(record.body).startswith(PROBE) for record in self.received.records)

    @property
    def metrics(self) -> Sequence[WireMetric]:
        """What was pushed."""
        return self.received.metrics

    @property
    def ledger(self) -> dict[str, Any]:
        """The request's shares by resource, from its span or its line."""
        carriers = [span.attributes for span in self.server_spans] + [record.attributes for record in self.canonical]
        return {
            name.partition("ledger.")[2]: value
            for attributes in carriers for name, value in attributes.items() if "ledger." in name
        }  # fmt: skip


def observe(app: Any, path: str, collector: Collector, metrics_address: Callable[[], str]) -> Observed:
    """Serve one GET of `path`, ask each database once, flush, and gather what arrived."""
    observed = Observed(received=collector.received)
    asyncio.run(_serve(app, path, observed))
    observed.layers = [f"{type(each).__module__}.{type(each).__name__}" for each in stack_of(app)]
    observed.echoes = _probe()
    observed.stock_processors = len(instances("opentelemetry.sdk.trace.export", "BatchSpanProcessor"))
    _flush()
    observed.metrics_text = _scraped(metrics_address())
    return observed


def is_asgi(app: Any) -> bool:
    """Whether an application is called as `await app(scope, receive, send)`."""
    call = app if asyncio.iscoroutinefunction(app) else getattr(app, "__call__", None)  # noqa: B004 - functions too
    return asyncio.iscoroutinefunction(call)


def is_watched(app: Any) -> bool:
    """Whether our middleware is around an application, or will be when its stack is built."""
    ours = ("firstcause.servers.asgi", "firstcause.servers.wsgi")
    kinds = [entry.cls for entry in getattr(app, "user_middleware", ())]
    # Django's handlers are patched by class.
    patched = getattr(type(app).__call__, "__globals__", {}).get("__name__") == "firstcause.servers.django"
    marked = patched or getattr(app, "_firstcause_attached", False)
    return marked or any(kind.__module__ in ours for kind in [*kinds, *map(type, stack_of(app))])


def stack_of(app: Any) -> Iterator[Any]:
    """The layers of an application, as far as each keeps the next one under `.app`; its own stack included."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        yield app
        built = getattr(app, "middleware_stack", None) or getattr(app, "wsgi_app", None)
        # Flask's own `wsgi_app` is a method: only what was put in its place is a layer.
        app = built if built is not None and not hasattr(built, "__func__") else getattr(app, "app", None)


async def _serve(app: Any, path: str, observed: Observed) -> None:
    if is_asgi(app):
        async with _Lifespan(app, observed):
            await _request(app, path, observed)
            await _ask_all(observed)
    else:
        await _answered(_detached(partial(_serve_wsgi, app, path, observed)), observed)
        await _ask_all(observed)


async def _answered(answer: Awaitable[object], observed: Observed) -> None:
    """Wait for an answer; the application's own error is a finding."""
    try:
        await asyncio.wait_for(answer, ANSWER_S)
    except Exception as error:  # noqa: BLE001 - whatever it is
        observed.error = f"{type(error).__name__}: {error}".rstrip(": ")


async def _detached(work: Callable[[], Any]) -> Any:
    """Run blocking code in a thread that nobody waits for when it hangs, unlike those of an executor."""
    loop, context = asyncio.get_running_loop(), copy_context()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            settle(value)

    def run() -> None:
        try:
            loop.call_soon_threadsafe(tell, done.set_result, context.run(work))
        except Exception as error:  # noqa: BLE001 - it goes to who waits
            with suppress(RuntimeError):  # nobody: the loop is closed
                loop.call_soon_threadsafe(tell, done.set_exception, error)

    threading.Thread(target=run, daemon=True).start()
    return await done


# -- ASGI ---------------------------------------------------------------------------------------


class _Lifespan:
    """Starts and ends an application as a server does; one without a lifespan is served all the same."""

    def __init__(self, app: Any, observed: Observed) -> None:
        self._app, self._observed = app, observed
        self._to: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._task = asyncio.ensure_future(self._app(scope, self._to.get, self._from.put))
        await self._step("startup")

    async def __aexit__(self, *_error: object) -> None:
        await self._step("shutdown")
        self._task.cancel()
        with suppress(BaseException):
            await self._task

    async def _step(self, name: str) -> None:
        if self._task.done():
            return
        await self._to.put({"type": f"lifespan.{name}"})
        answer = asyncio.ensure_future(self._from.get())
        await asyncio.wait({answer, self._task}, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() and answer.result()["type"].endswith(".failed"):
            self._observed.lifespan_error = answer.result().get("message", "") or f"{name} failed"
        elif not answer.done() and not self._task.done():
            self._observed.lifespan_error = f"{name} took more than {ANSWER_S:.0f} s"
        answer.cancel()


async def _request(app: Any, path: str, observed: Observed) -> None:
    sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        # A client that stays: who listens for a disconnect must not see one before the answer.
        await asyncio.sleep(ANSWER_S)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            observed.status = message["status"]
            observed.headers = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in message["headers"]]

    await _answered(app(_scope(path, observed), receive, send), observed)


def _headers(observed: Observed) -> dict[str, str]:
    return {
        "host": "doctor.local", "user-agent": "firstcause-doctor", "x-request-id": observed.request_id,
        "traceparent": f"00-{observed.trace_id}-{secrets.token_hex(8)}-01",
    }  # fmt: skip


def _scope(path: str, observed: Observed) -> dict[str, Any]:
    target, _, query = path.partition("?")
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": target, "raw_path": target.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in _headers(observed).items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip


# -- WSGI ---------------------------------------------------------------------------------------


def _serve_wsgi(app: Any, path: str, observed: Observed) -> None:
    from wsgiref.util import setup_testing_defaults

    target, _, query = path.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": target, "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1"}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _headers(observed).items()}
    setup_testing_defaults(environ)

    def start_response(status: str, headers: list[tuple[str, str]], *_error: Any) -> Callable[[bytes], None]:
        observed.status = int(status.partition(" ")[0])
        observed.headers = [(name.lower(), value) for name, value in headers]
        return lambda _data: None

    body = app(environ, start_response)
    list(body)
    getattr(body, "close", lambda: None)()


# -- databases ----------------------------------------------------------------------------------


def instances(module: str, name: str) -> list[Any]:
    """Every living object of a class, when its module has been imported at all."""
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return []
    # Not isinstance, which asks an object for its `__class__`: lazy proxies would wake up.
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def engines() -> list[Any]:
    """Every SQLAlchemy engine of the process."""
    return instances("sqlalchemy.engine.base", "Engine")


async def _ask_all(observed: Observed) -> None:
    for engine in engines():
        observed.queries.append(await _ask(engine, observed))


async def _ask(engine: Any, observed: Observed) -> Query:
    """Ask an engine one harmless thing inside a request of its own, and see whether its time was booked."""
    query = Query(engine.url.render_as_string(hide_password=True), _most(engine))
    asked = Observed(received=observed.received)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        query.max_connections = await _limit(engine)
        frame = FRAME.get()
        # The accounts, not the shares: on a busy machine all of so short a wait may have been withheld from it.
        query.booked = frame is not None and any(name.startswith("db:") for name in frame.ledger.accounts)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    from .._setup import recorder
    from ..diagnosis.ledger import FRAME
    from ..servers.asgi import Middleware

    await _request(Middleware(app, recorder), "/", asked)
    query.error = asked.error
    return query


async def _limit(engine: Any) -> int:
    from sqlalchemy import text

    shows = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    statement = text(shows if engine.dialect.name == "postgresql" else "SELECT 1")
    if engine.dialect.is_async:
        from sqlalchemy.ext.asyncio import AsyncEngine

        owner = AsyncEngine(engine)
        async with owner.connect() as connection:
            found = (await connection.execute(statement)).scalar()
        # Pooled connections would stay bound to this loop, which is about to close.
        await owner.dispose()
    else:
        found = await _detached(partial(_scalar, engine, statement))
    return int(found or 0) if engine.dialect.name == "postgresql" else 0


def _scalar(engine: Any, statement: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(statement).scalar()


def _most(engine: Any) -> int:
    pool = engine.pool
    overflow = getattr(pool, "_max_overflow", -1)
    return 0 if overflow < 0 else pool.size() + overflow


def _probe() -> list[str]:
    """Log one line; returns the loggers that spoke because of it, on this thread."""
    echoes: list[str] = []
    factory, here = logging.getLogRecordFactory(), threading.get_ident()

    def noting(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if threading.get_ident() == here and record.name != PROBE:
            echoes.append(record.name)
            if len(echoes) > ECHOES:
                raise RecursionError("a log handler feeds itself")
        return record

    logging.setLogRecordFactory(noting)
    try:
        with suppress(RecursionError):
            logging.getLogger(PROBE).warning(PROBE)
    finally:
        logging.setLogRecordFactory(factory)
    return echoes


# -- flush and read -----------------------------------------------------------------------------


def _flush() -> None:
    """Everything that may hold telemetry back, ours and other providers', each for a few seconds at most."""
    from opentelemetry import _logs, metrics, trace

    from .._front import flush

    flush(5.0)
    held: list[Any] = [trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()]
    for provider in [*held, *instances("opentelemetry.sdk.trace", "TracerProvider")]:
        with suppress(Exception):
            provider.force_flush(2000)


def _scraped(address: str) -> str:
    from urllib.request import urlopen

    if not address:
        return ""
    try:
        with urlopen(address, timeout=5) as reply:  # noqa: S310 - our own address
            return str(reply.read().decode("utf-8", "replace"))
    except OSError:
        return ""


def read_lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines among whatever else was printed."""
    found = []
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def time_shutdown(collector: Collector) -> float:
    """Seconds that the last flush takes while the collector hangs and something waits to be sent."""
    from opentelemetry import trace

    from .._front import shutdown

    with collector.hanging():
        trace.get_tracer("firstcause.doctor").start_span("the last one").end()
        began = monotonic()
        shutdown()
        return monotonic() - began
