"""Questions about what came out of the process because of one request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .examination import ERROR, WARNING, Check, Context, Finding
from .observation import PROBE, Observed

OLD_NAMES = {
    "http.method": "http.request.method", "http.status_code": "http.response.status_code", "http.url": "url.full",
    "http.target": "url.path", "net.peer.name": "server.address", "net.peer.port": "server.port",
    "db.system": "db.system.name", "db.statement": "db.query.text", "db.name": "db.namespace",
}  # fmt: skip
"""Attributes of before the stable semantic conventions, and what they are called now."""
_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
_MILLISECONDS_FROM = 1000.0
"""No latency histogram in seconds has an edge of a quarter of an hour; one in milliseconds begins there."""


def _seen(context: Context) -> Observed:
    assert context.observed is not None
    return context.observed


def answered(context: Context) -> list[Finding]:
    """The application itself works."""
    observed = _seen(context)
    found = []
    if observed.lifespan_error:
        found.append(Finding(f"the lifespan failed: {observed.lifespan_error}", "lifespan", "let it start first"))
    if observed.error or not observed.status:
        what = f"no answer: {observed.error or 'nothing was sent'}"
        found.append(Finding(what, "--path", "give a path that answers, such as --path /health"))
    return found


def one_server_span(context: Context) -> list[Finding]:
    """One request, one server span."""
    spans = _seen(context).server_spans
    if len(spans) == 1 or not _seen(context).status:
        return []
    if not spans:
        fix = "look at the checks `configured`, `attached` and `providers`"
        return [Finding("the request left no server span with the caller's trace id", "OTLP traces", fix)]
    scopes = ", ".join(sorted(span.scope for span in spans))
    fix = "pass every FastAPI application to configure(app=…), or FastAPI(telemetry={'tracing': False}) to the others"
    return [Finding(f"one request left {len(spans)} server spans", scopes, fix)]


def exported_once(context: Context) -> list[Finding]:
    """The same span by two exporters."""
    copies = _seen(context).copies
    if not copies:
        return []
    # With it FastAPI adds an exporter to whatever provider takes span processors, ours included.
    native = context.environ.get("FASTAPI_OTEL_AUTO_CONFIGURE", "").lower() == "true"
    where = "FASTAPI_OTEL_AUTO_CONFIGURE" if native else "trace.get_tracer_provider().add_span_processor"
    fix = "unset FASTAPI_OTEL_AUTO_CONFIGURE" if native else "take the second exporter off: firstcause exports itself"
    return [Finding(f"{len(copies)} span(s) were exported twice", where, fix)]


def canonical_line(context: Context) -> list[Finding]:
    """One line per request, where lines are wanted."""
    observed, config = _seen(context), context.config
    assert config is not None
    found = []
    if config.logs and len(observed.canonical) != 1:
        what = f"the request left {len(observed.canonical)} canonical log records"
        found.append(Finding(what, "OTLP logs", "look at the check `attached`"))
    printed = [line for line in observed.lines if line.get("request_id") == observed.request_id and "ledger" in line]
    if config.log_stream != "none" and len(printed) != 1:
        what = f"the request left {len(printed)} canonical lines on {config.log_stream}"
        found.append(Finding(what, "FIRSTCAUSE_LOG", "look at the check `attached`"))
    return found


def ledger(context: Context) -> list[Finding]:
    """The time of the request is accounted for."""
    if _seen(context).ledger:
        return []
    return [Finding("the request left no ledger", "firstcause.ledger.*", "look at the check `attached`")]


def metric(context: Context) -> list[Finding]:
    """The request was counted, and somebody can see it."""
    observed, config = _seen(context), context.config
    assert config is not None
    counted = "http_server_request_duration_seconds_count" in observed.metrics_text
    pushed = any(each.name == "http.server.request.duration" for each in observed.metrics)
    found = []
    if not counted and not pushed:
        fix = "look at the check `attached`"
        found.append(Finding("the request is in no http.server.request.duration", "/metrics", fix))
    if not config.metrics_to:
        fix = "set FIRSTCAUSE_METRICS_PORT=9464 and let Prometheus scrape it, or unset it for a push by OTLP"
        found.append(Finding("metrics are counted, but go nowhere", "OTEL_METRICS_EXPORTER", fix))
    return found


def stdlib_logging(context: Context) -> list[Finding]:
    """A line of the `logging` module arrives, once."""
    config = context.config
    assert config is not None
    observed = _seen(context)
    if not config.logs or observed.probes == 1:
        return []
    if not observed.probes:
        what = "lines of the logging module do not arrive: a level, a filter or logging.disable() stops a WARNING"
        return [Finding(what, "logging.getLogger()", "let WARNING pass, and take logging.disable() out")]
    what = f"one line of the logging module arrived {observed.probes} times"
    fix = "take OpenTelemetry's LoggingHandler off: firstcause exports lines itself"
    return [Finding(what, "logging.getLogger().handlers", fix)]


def log_loop(context: Context) -> list[Finding]:
    """A handler that logs while it handles."""
    echoes = _seen(context).echoes
    if not echoes:
        return []
    what = f"handling one log line made more of them, by {', '.join(sorted(set(echoes)))}"
    fix = "set the level of these loggers to WARNING, or take the handler that sends by network off the root logger"
    return [Finding(what, "logging.getLogger().handlers", fix)]


def stable_names(context: Context) -> list[Finding]:
    """Names of before the stable conventions, which dashboards and rules do not know."""
    old: dict[str, set[str]] = {}
    for span in _seen(context).received.spans:
        found = set(OLD_NAMES) & set(span.attributes)
        if found:
            old.setdefault(span.scope, set()).update(found)
    fix = f"set {_OPT_IN}=http,database"
    said = {scope: ", ".join(f"{n} (now {OLD_NAMES[n]})" for n in sorted(names)) for scope, names in old.items()}
    return [Finding(f"spans have old attribute names: {names}", scope, fix) for scope, names in sorted(said.items())]


def buckets(context: Context) -> list[Finding]:
    """Buckets in milliseconds under a unit of seconds, or the other way round, give percentiles of nonsense."""
    found = []
    for name, seconds, edges in _histograms(_seen(context)):
        if seconds and edges and edges[-1] >= _MILLISECONDS_FROM:
            what = f"a histogram in seconds has buckets up to {edges[-1]:g}, which look like milliseconds"
            found.append(Finding(what, name, "give buckets in seconds, such as 0.005 to 10"))
        elif not seconds and edges and edges[-1] <= 60:
            what = f"a histogram in milliseconds has buckets up to {edges[-1]:g} only, which look like seconds"
            found.append(Finding(what, name, "give buckets in milliseconds, or observe seconds (the base unit)"))
    return found


_BUCKET = re.compile(r'^(\w+(?:_seconds|_milliseconds|_ms))_bucket\{.*?le="([^"]+)"', re.MULTILINE)


def _histograms(observed: Observed) -> Iterator[tuple[str, bool, list[float]]]:
    """(name, whether in seconds, upper edges) of every latency histogram, scraped or pushed."""
    scraped: dict[str, set[float]] = {}
    for name, edge in _BUCKET.findall(observed.metrics_text):
        if edge != "+Inf":
            scraped.setdefault(name, set()).add(float(edge))
    yield from ((name, name.endswith("_seconds"), sorted(edges)) for name, edges in scraped.items())
    yield from ((m.name, m.unit == "s", list(m.bounds)) for m in observed.metrics if m.unit in ("s", "ms") and m.bounds)


def flush(context: Context) -> list[Finding]:
    """The last flush has to end, whatever the collector does."""
    observed, config = _seen(context), context.config
    assert config is not None
    found = []
    if observed.shutdown_s > config.shutdown_s + 0.5:
        what = f"the last flush took {observed.shutdown_s:.1f} s of {config.shutdown_s:g} s when the collector hangs"
        found.append(Finding(what, "firstcause.shutdown", "report this, with the versions of this report"))
    if observed.stock_processors:
        what = "the OpenTelemetry SDK's BatchSpanProcessor flushes without a bound: 13 to 20 s for a hanging collector"
        fix = "let firstcause export (take the processor off), or grant the process that long to end"
        found.append(Finding(what, "opentelemetry.sdk.trace.export", fix))
    return found


CHECKS = (
    Check("answered", "The application answers", ERROR, answered, ("observed",)),
    Check("server-span", "One request, one server span", ERROR, one_server_span, ("observed", "setup")),
    Check("exported-once", "Every span is exported once", ERROR, exported_once, ("observed",)),
    Check("canonical-line", "One request, one canonical line", ERROR, canonical_line, ("watched",)),
    Check("ledger", "The request's time is accounted for", ERROR, ledger, ("watched",)),
    Check("metric", "Requests are counted, and can be read", ERROR, metric, ("watched",)),
    Check("stdlib-logging", f"Log lines arrive once (logger {PROBE})", ERROR, stdlib_logging, ("observed", "setup")),
    Check("log-loop", "No handler feeds itself", ERROR, log_loop, ("observed",)),
    Check("stable-names", "Attribute names are the stable ones", WARNING, stable_names, ("observed",)),
    Check("buckets", "Buckets belong to their unit", ERROR, buckets, ("observed",)),
    Check("flush", "The last flush is bounded", WARNING, flush, ("observed", "setup")),
)
