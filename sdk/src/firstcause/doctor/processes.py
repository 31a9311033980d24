"""Questions about processes: workers, what they share, and what is patched under them."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .examination import ERROR, NOTE, Check, Context, Finding

SHARING = ("uvicorn", "gunicorn", "hypercorn", "granian", "fastapi")
"""Servers whose workers find each other (`metrics.prefork`)."""
_OWN = ("ProcessCollector", "PlatformCollector", "GCCollector")


def shared_metrics(context: Context) -> list[Finding]:
    """With several workers any scrape has to answer for all."""
    start, config = context.start, context.config
    assert config is not None
    if start.workers < 2 or "prometheus" not in config.metrics_to:  # pushed, each worker is an instance of its own
        return []
    found = []
    if start.server not in SHARING and not config.metrics_dir:
        what = f"{start.workers} workers of {start.server or 'an unknown server'} count each for itself"
        found.append(Finding(what, "FIRSTCAUSE_METRICS_DIR", "set it to a directory that is empty at every start"))
    theirs = list(_own_collectors())
    if theirs and not context.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        what = f"metrics of yours ({', '.join(theirs[:3])}) are those of the one worker that answers the scrape"
        fix = "set PROMETHEUS_MULTIPROC_DIR, or make them by the OpenTelemetry metrics API"
        found.append(Finding(what, "prometheus_client.REGISTRY", fix))
    return found


def _own_collectors() -> Iterator[str]:
    client = sys.modules.get("prometheus_client")
    # The registry has no public list of its collectors.
    for collector in list(getattr(getattr(client, "REGISTRY", None), "_collector_to_names", {})):
        if type(collector).__name__ not in _OWN and type(collector).__module__.startswith("prometheus_client"):
            yield getattr(collector, "_name", type(collector).__name__)


def pools(context: Context) -> list[Finding]:
    """Workers × pool must not be more than the server takes."""
    assert context.observed is not None
    found = []
    for query in context.observed.queries:
        wanted = query.most * context.start.workers
        if query.max_connections and wanted > query.max_connections:
            what = (
                f"{context.start.workers} worker(s) × {query.most} connections = {wanted}, "
                f"but the server allows {query.max_connections} (max_connections less the reserved ones)"
            )
            fix = f"use pool_size + max_overflow ≤ {query.max_connections // context.start.workers}, or fewer workers"
            found.append(Finding(what, query.engine, fix))
        elif query.max_connections and not query.most:
            what = "the pool has no bound (max_overflow=-1), the server has one: " + str(query.max_connections)
            found.append(Finding(what, query.engine, "set max_overflow to a number"))
    return found


def gevent(context: Context) -> list[Finding]:
    """A monkey patch after our locks were made stops the whole loop on them."""
    fix = "begin the program with `from gevent import monkey; monkey.patch_all()`, before anything else is imported"
    if is_patched_late(source_of(context.name)):
        return [Finding("gevent patches the threads after firstcause has been imported", context.name, fix)]
    if context.start.worker_class.startswith(("gevent", "eventlet")) and "--preload" in context.start.words:
        return [Finding("--preload imports the application before gevent patches it", "--preload", fix)]
    return []


def source_of(name: str) -> str:
    """The text of the module of `module:attribute`, without importing anything; empty when it is not found."""
    stem = name.partition(":")[0].replace(".", "/")
    for folder in sys.path if stem else ():
        for path in (Path(folder, f"{stem}.py"), Path(folder, stem, "__init__.py")):
            with suppress(OSError, UnicodeDecodeError):
                return path.read_text("utf-8")
    return ""


def patches(source: str) -> int:
    """The line in which a module has gevent patch everything; 0 when it does not."""
    return next((at for at, line in enumerate(source.splitlines(), 1) if "patch_all(" in line), 0)


def is_patched_late(source: str) -> bool:
    """Whether a module imports firstcause before that line: the order of its text is the order in which it runs."""
    above = source.splitlines()[: patches(source)]
    return any(line.lstrip().startswith(("import firstcause", "from firstcause")) for line in above)


def metrics_port(context: Context) -> list[Finding]:
    """The port of `/metrics` is free, or this service's own."""
    config = context.config
    assert config is not None
    if not config.metrics_port:
        return []
    address = (config.metrics_host, config.metrics_port)
    with socket.socket() as sock:
        # As our server binds: connections that are still closing do not take a port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
        except OSError as error:
            if _is_ours(f"http://{address[0]}:{address[1]}/metrics", config.service):
                return []
            fix = "set FIRSTCAUSE_METRICS_PORT to a free port"
            return [Finding(f"/metrics cannot listen: {error.strerror}", f"{address[0]}:{address[1]}", fix)]
    return []


def _is_ours(url: str, service: str) -> bool:
    from .network import read

    return f'service_name="{service}"' in read(url).text


def deaf_port(context: Context) -> list[Finding]:
    """Loopback is right on a laptop, and unreachable from Prometheus elsewhere."""
    config = context.config
    assert config is not None
    if config.metrics_port is None or config.metrics_host not in ("127.0.0.1", "::1", "localhost"):
        return []
    if not context.start.is_public:
        return []
    what = "/metrics listens on loopback only, while the service itself is public"
    return [Finding(what, "FIRSTCAUSE_METRICS_HOST", "set it to an address that Prometheus reaches")]


CHECKS = (
    Check("shared-metrics", "Workers count together", ERROR, shared_metrics, ("config",)),
    Check("pools", "Pools fit into the database's limit", ERROR, pools, ("observed",)),
    Check("gevent", "gevent patches first", ERROR, gevent),
    Check("metrics-port", "The port of /metrics is free", ERROR, metrics_port, ("config",)),
    Check("deaf-port", "/metrics can be reached", NOTE, deaf_port, ("config",)),
)
