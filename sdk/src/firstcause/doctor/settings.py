"""Questions about the settings alone."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..conventions import SECONDS
from .examination import ERROR, NOTE, WARNING, Check, Context, Finding

BATCH = 8192
"""Spans of about 500 bytes: 4 MiB, the most that a collector's gRPC receiver takes in one message."""
LATENCY_EDGES = SECONDS
_GRPC_PORT, _HTTP_PORT = 4317, 4318
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


def settings(context: Context) -> list[Finding]:
    """Each problem that `configure` would raise, except the one that has a check of its own."""
    others = [problem for problem in context.problems if not _is_nameless(problem)]
    return [_as_finding(problem) for problem in others]


def _is_nameless(problem: str) -> bool:
    return problem.startswith("service='' is missing")


def _as_finding(problem: str) -> Finding:
    what, _, fix = problem.partition(": ")
    return Finding(what, what.partition("=")[0], fix or "correct it")


def service_name(context: Context) -> list[Finding]:
    """Without a name nothing can be told apart."""
    if not any(map(_is_nameless, context.problems)):
        return []
    return [Finding("the service has no name", "OTEL_SERVICE_NAME", "set OTEL_SERVICE_NAME, or configure(service=…)")]


def disabled(context: Context) -> list[Finding]:
    """Switched off by the environment."""
    assert context.config is not None
    if not context.config.disabled:
        return []
    return [Finding("everything is switched off", "OTEL_SDK_DISABLED", "unset OTEL_SDK_DISABLED")]


def signals(context: Context) -> list[Finding]:
    """Signals that are made and thrown away."""
    config = context.config
    assert config is not None
    off = [] if config.traces or config.span_exporters else [("spans", "OTEL_TRACES_EXPORTER")]
    off += [] if config.logs else [("log records", "OTEL_LOGS_EXPORTER")]
    return [Finding(f"{what} are not exported", name, f"unset {name}, or set it to otlp") for what, name in off]


def sampler(context: Context) -> list[Finding]:
    """A sampler that keeps nothing."""
    config = context.config
    assert config is not None
    ratio = config.sampler.endswith("traceidratio") and config.sampler_arg in ("0", "0.0")
    if not ratio and not config.sampler.endswith("always_off"):
        return []
    return [
        Finding(
            "only slow and failed requests are exported, since the sampler keeps nothing",
            "OTEL_TRACES_SAMPLER", "set a ratio such as 0.1 if other traces are wanted",
        )
    ]  # fmt: skip


def protocol_port(context: Context) -> list[Finding]:
    """The port of one protocol with the other."""
    config = context.config
    assert config is not None
    found = []
    for name in ("traces", "logs", "metrics"):
        way = config.signal(name)
        port = urlsplit(way.url if "//" in way.url else f"//{way.url}").port
        if port == _GRPC_PORT and way.protocol != "grpc":
            fix = f"set {_PROTOCOL}=grpc, or use port {_HTTP_PORT}"
            found.append(Finding(f"{name} are sent as HTTP to port {port}, which is for gRPC", way.url, fix))
        elif port == _HTTP_PORT and way.protocol == "grpc":
            fix = f"set {_PROTOCOL}=http/protobuf, or use port {_GRPC_PORT}"
            found.append(Finding(f"{name} are sent as gRPC to port {port}, which is for HTTP", way.url, fix))
    return found


def batch(context: Context) -> list[Finding]:
    """Batches that a collector refuses."""
    config = context.config
    assert config is not None
    if config.batch <= BATCH:
        return []
    what = f"a batch of {config.batch} spans may be larger than what a collector takes in one request (4 MiB)"
    return [Finding(what, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", f"use at most {BATCH}; 512 is plenty")]


def mesh_key(context: Context) -> list[Finding]:
    """Verdicts do not travel beyond loopback without a key."""
    config = context.config
    assert config is not None
    if config.mesh_key:
        return []
    public = context.start.is_public or bool(config.mesh_hosts)
    if not public:
        return []
    return [
        Finding(
            "peers on other hosts are not believed, so causes do not travel between services",
            "FIRSTCAUSE_MESH_KEY", "set the same key of at least 16 characters in all services",
        )
    ]  # fmt: skip


def user_key(context: Context) -> list[Finding]:
    """Users are dropped without a key; worth knowing before somebody misses them."""
    assert context.config is not None
    if context.config.user_key:
        return []
    what = "firstcause.identify(user=…) keeps nothing, since ids are kept only as keyed hash"
    return [Finding(what, "FIRSTCAUSE_USER_KEY", "set a key of at least 16 characters, if users matter")]


def origin(context: Context) -> list[Finding]:
    """Without version and environment a page cannot say which deploy it was."""
    config = context.config
    assert config is not None
    missing = [] if config.version else ["service.version"]
    missing += [] if config.environment else ["deployment.environment.name"]
    fix = "set OTEL_RESOURCE_ATTRIBUTES={}=…"
    return [Finding(f"{name} is not set", "OTEL_RESOURCE_ATTRIBUTES", fix.format(name)) for name in missing]


def objectives(context: Context) -> list[Finding]:
    """An objective given in milliseconds is one that nothing ever misses."""
    config = context.config
    assert config is not None
    return [
        Finding(f"the objective of {route} is {limit:g} s", "FIRSTCAUSE_OBJECTIVES", f"use {limit:g}ms, if meant so")
        for route, limit in config.objectives.items()
        if limit > 6 * LATENCY_EDGES[-1]
    ]


CHECKS = (
    Check("settings", "The settings can be read", ERROR, settings),
    Check("service-name", "The service has a name", ERROR, service_name),
    Check("disabled", "Telemetry is switched on", ERROR, disabled, ("config",)),
    Check("signals", "Every signal is exported", WARNING, signals, ("config",)),
    Check("sampler", "Some traces are kept", WARNING, sampler, ("config",)),
    Check("protocol-port", "Protocol and port belong together", ERROR, protocol_port, ("config",)),
    Check("batch", "Batches fit into a request", WARNING, batch, ("config",)),
    Check("mesh-key", "Peers can be believed", WARNING, mesh_key, ("config",)),
    Check("user-key", "Users can be kept as hash", NOTE, user_key, ("config",)),
    Check("origin", "Version and environment are known", NOTE, origin, ("config",)),
    Check("objectives", "Objectives are in seconds", WARNING, objectives, ("config",)),
)
