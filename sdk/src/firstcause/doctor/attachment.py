"""Questions about what sits where: around the application, on the libraries, behind the OpenTelemetry API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .examination import ERROR, WARNING, Check, Context, Finding
from .observation import Observed, instances

_OURS = ("firstcause.servers.asgi.Middleware", "firstcause.servers.wsgi.Middleware")
_ERRORS = "starlette.middleware.errors.ServerErrorMiddleware"
_CONTRIB = "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware"
_CONFIGURE = "firstcause.configure(app=app)"


def _seen(context: Context) -> Observed:
    assert context.observed is not None
    return context.observed


def _place(layers: Sequence[str], *names: str) -> int:
    return next((at for at, layer in enumerate(layers) if layer in names), -1)


def loaded(context: Context) -> list[Finding]:
    """The application can be imported, as its server would."""
    if not context.failure:
        return []
    return [Finding(context.failure, context.name, "start in the folder and with the settings of the service")]


def configured(context: Context) -> list[Finding]:
    """Somebody has to call `configure`."""
    if context.setup is not None:
        return []
    fix = f"call {_CONFIGURE} where the application is made, or start it by `firstcause run`"
    return [Finding("nothing is configured when the application has been imported", "firstcause.configure", fix)]


def attached(context: Context) -> list[Finding]:
    """A request has a unit: its answer carries the request id."""
    if context.watched or not _seen(context).status:  # no answer at all is another check's
        return []
    what = f"the answer ({_seen(context).status}) does not carry the request's X-Request-ID"
    return [Finding(what, _name(context.app), f"call {_CONFIGURE} with this very application")]


def outermost(context: Context) -> list[Finding]:
    """`add_middleware` puts us inside of what makes the 500."""
    layers = _seen(context).layers
    ours, errors = _place(layers, *_OURS), _place(layers, _ERRORS)
    if not -1 < errors < ours:
        return []
    what = "the middleware is inside ServerErrorMiddleware, so a 500 has no X-Request-ID and no verdict"
    return [Finding(what, "app.add_middleware", f"use {_CONFIGURE} instead")]


def in_time(context: Context) -> list[Finding]:
    """What comes before `configure` (a lifespan, the first request) is watched only in part."""
    if not context.late:
        return []
    what = "configure ran only when the application had begun to serve: what came before is not watched"
    return [Finding(what, _name(context.app), f"call {_CONFIGURE} when the module is imported, not in a lifespan")]


def contrib_inside(context: Context) -> list[Finding]:
    """Contrib's middleware within ours makes a second, internal span of everything."""
    config = context.config
    if _place(_seen(context).layers, _CONTRIB) < 0 or (config is not None and config.engine == "opentelemetry"):
        return []
    what = "opentelemetry-instrumentation-fastapi is on the application too: it costs more than all of the rest"
    return [Finding(what, "FastAPIInstrumentor", "take it off, or set FIRSTCAUSE_ENGINE=opentelemetry to use it")]


def providers(context: Context) -> list[Finding]:
    """Spans made behind another provider stay apart."""
    from opentelemetry import trace

    current = trace.get_tracer_provider()
    joined = any("joined the tracer provider" in line for line in getattr(context.setup, "attached", ()))
    found = []
    if type(current).__module__ != "firstcause.trace.provider" and not joined:
        what = f"the tracer provider is {_name(current)}: spans of libraries and of yours stay apart from ours"
        found.append(Finding(what, "trace.set_tracer_provider", "call firstcause.configure first"))
    others = [each for each in instances("opentelemetry.sdk.trace", "TracerProvider") if each is not current]
    if others:
        what = f"{len(others)} more tracer provider(s) exist, whose exporters see nothing of what is traced here"
        fix = "add their span processors to trace.get_tracer_provider(), and make no provider of your own"
        found.append(Finding(what, "opentelemetry.sdk.trace.TracerProvider", fix))
    return found


def adapters(context: Context) -> list[Finding]:
    """An adapter that could not be put on."""
    lines = [line for line in getattr(context.setup, "attached", ()) if "not attached" in line]
    return [
        Finding(line, line.partition(":")[0], "install a version of the library that is supported (see `versions`)")
        for line in lines
    ]


def warnings(context: Context) -> list[Finding]:
    """What `configure` said itself."""
    said = getattr(context.setup, "warnings", ())
    return [Finding(line, "firstcause.configure", "see the sentence itself") for line in said]


def async_engines(context: Context) -> list[Finding]:
    """`from … import create_async_engine` before contrib patched it: that name makes engines nobody sees."""
    module, now = sys.modules.get("sqlalchemy.ext.asyncio"), None
    now = getattr(module, "create_async_engine", None)
    # contrib patches by `wrapt`, which keeps the original under this name.
    if now is None or not hasattr(now, "__wrapped__"):
        return []
    early = [
        name for name, other in list(sys.modules.items())
        if not name.startswith("sqlalchemy") and _global(other, "create_async_engine") is now.__wrapped__
    ]  # fmt: skip
    fix = "instrument before this import, or leave contrib off: firstcause sees engines whenever they are made"
    what = "create_async_engine was imported before contrib patched it, so its engines have no query spans"
    return [Finding(what, name, fix) for name in early]


def _global(module: Any, name: str) -> Any:
    # `sys.modules` may hold anything, also what has no namespace.
    return vars(module).get(name) if hasattr(module, "__dict__") else None


def queries(context: Context) -> list[Finding]:
    """Each engine was asked something, which has to be in the ledger."""
    return [
        Finding("a query through this engine is in no ledger", query.engine, "update SQLAlchemy to a supported version")
        for query in _seen(context).queries
        if not query.error and not query.booked
    ]


def databases(context: Context) -> list[Finding]:
    """What could not be asked is not known."""
    return [
        Finding(f"the database cannot be asked: {query.error}", query.engine, "start it, or give its address")
        for query in _seen(context).queries
        if query.error
    ]


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__name__}"


CHECKS = (
    Check("loaded", "The application can be imported", ERROR, loaded),
    Check("configured", "The application configures telemetry", ERROR, configured, ("app",)),
    Check("attached", "Requests are watched", ERROR, attached, ("observed", "setup")),
    Check("outermost", "The middleware is outermost", ERROR, outermost, ("observed",)),
    Check("in-time", "Configured before the first request", WARNING, in_time, ("observed", "setup")),
    Check("contrib-inside", "Nobody else traces requests too", WARNING, contrib_inside, ("observed",)),
    Check("providers", "There is one tracer provider", ERROR, providers, ("setup",)),
    Check("adapters", "Every adapter is on", ERROR, adapters, ("setup",)),
    Check("warnings", "configure had nothing to say", WARNING, warnings, ("setup",)),
    Check("async-engines", "No engine escaped a late patch", WARNING, async_engines, ("app",)),
    Check("queries", "Queries are booked", ERROR, queries, ("observed",)),
    Check("databases", "Databases answer", WARNING, databases, ("observed",)),
)
