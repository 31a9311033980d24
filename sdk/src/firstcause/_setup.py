"""Configuration to running parts: the only module that wires the SDK together."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, cast

from opentelemetry import trace

from . import _guard
from ._config import Config
from ._recorder import Recorder
from ._watch import WATCH


@dataclass
class Setup:
    """What `configure` did: one line per thing attached, and the warnings worth reading."""

    service: str
    attached: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    metrics_address: str = ""

    def __str__(self) -> str:
        lines = [f"firstcause watches {self.service}"]
        lines += [f"  + {line}" for line in self.attached]
        lines += [f"  ! {line}" for line in self.warnings]
        return "\n".join(lines)


class _State:
    """Everything `configure` built; one per process."""

    def __init__(self) -> None:
        self.config: Config | None = None
        self.recorder: Recorder | None = None
        self.setup: Setup | None = None
        self.pipelines: list[Any] = []
        self.lines: Any = None
        self.forked: list[Callable[[], None]] = []
        self.lock = threading.RLock()


_state = _State()


def recorder() -> Recorder | None:
    """The running recorder, None before `configure` and while switched off."""
    return _state.recorder


def configure(service: str | None, app: Any, settings: dict[str, Any]) -> Setup:
    """See `firstcause.configure`."""
    with _state.lock:
        if _state.setup is None:
            if service is not None:
                settings = {**settings, "service": service}
            _start(Config.from_env(os.environ, **settings))
        setup = _state.setup
        assert setup is not None
        if app is not None and _state.recorder is not None:
            _attach(app, setup)
        return setup


def _start(config: Config) -> None:
    setup = Setup(config.service)
    _state.config, _state.setup = config, setup
    if config.disabled:
        setup.warnings.append("switched off by OTEL_SDK_DISABLED")
        return
    _state.recorder = _build(config, setup)
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(shutdown)
    _flush_on_sigterm()


def _build(config: Config, setup: Setup) -> Recorder:
    from .export.http import OtlpHttpExporter, SignalExport
    from .export.otlp import encode_logs, encode_spans
    from .export.pipeline import Pipeline
    from .logs import Canonical
    from .mesh import Mesh
    from .metrics import Metrics
    from .trace.provider import TracerProvider
    from .trace.span import Limits

    resource = config.resource_attributes()

    def pipeline(signal_name: str, path: str, encode: Any) -> Callable[[Any], None]:
        url = config.endpoint.rstrip("/") + path
        exporter = OtlpHttpExporter(url, config.headers, config.timeout_s, cast(Any, config.compression))
        made = Pipeline[Any](
            signal_name, SignalExport(resource, encode, exporter), config.queue, config.batch, config.interval_s
        )
        _state.pipelines.append(made)
        setup.attached.append(f"{signal_name} to {url}")
        return made.put

    on_end = pipeline("traces", "/v1/traces", encode_spans) if config.traces else _nowhere
    limits = Limits(config.attribute_count, value_characters=config.attribute_length)
    provider = TracerProvider(resource, on_end, sampler=_sampler(config), limits=limits)
    _set_provider(provider, setup)
    sink = pipeline("logs", "/v1/logs", encode_logs) if config.logs else None
    lines = _logging(config, sink)
    metrics = Metrics(resource, config.objectives.values())
    metrics.in_flight = lambda: WATCH.in_flight
    _serve(config, metrics, setup)
    made = Recorder(
        config, provider, Mesh(config.mesh_key, config.mesh_hosts), metrics, Canonical(config.service, lines, sink)
    )
    _state.forked += [metrics.after_fork, WATCH.after_fork]
    _adapters(made, setup)
    return made


def _nowhere(_item: Any) -> None:
    """Signals that are switched off end here, and are not counted as lost."""


def _sampler(config: Config) -> Any:
    """The SDK's sampler for the configured name; None for "everything", which needs no SDK."""
    if config.sampler in ("always_on", "parentbased_always_on"):
        return None
    from opentelemetry.sdk.trace import sampling

    ratio = float(config.sampler_arg or 1.0)
    name = config.sampler.removeprefix("parentbased_")
    return sampling.ALWAYS_OFF if name == "always_off" else sampling.TraceIdRatioBased(ratio)


def _set_provider(provider: Any, setup: Setup) -> None:
    current = trace.get_tracer_provider()
    if isinstance(current, trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
        setup.attached.append("OpenTelemetry tracing API")
    else:
        setup.warnings.append(
            f"a tracer provider was set before ({type(current).__name__}): its spans stay apart from ours; "
            "call firstcause.configure first"
        )


def _logging(config: Config, sink: Any) -> Any:
    from .logs import Lines, install
    from .logs.redaction import also_secret

    also_secret(config.redact)
    lines = None
    if config.log_stream != "none":
        lines = Lines(_unbuffered(sys.stdout if config.log_stream == "stdout" else sys.stderr))
        _state.lines = lines
        _state.forked.append(lines.after_fork)
    install(config.service, lines, sink, stdlib=True)
    return lines


def _unbuffered(stream: Any) -> Any:
    """The stream below the interpreter's buffer, whose lock a blocked pipe would hold at exit."""
    try:
        return open(stream.fileno(), "wb", buffering=0, closefd=False)
    except (OSError, ValueError, AttributeError):
        return getattr(stream, "buffer", None) or io.BytesIO()


def _serve(config: Config, metrics: Any, setup: Setup) -> None:
    if config.metrics_port is None:
        return
    from .metrics import serve

    try:
        port = serve(metrics, config.metrics_host, config.metrics_port)
    except OSError as error:
        setup.warnings.append(
            f"/metrics cannot listen on {config.metrics_host}:{config.metrics_port} ({error.strerror}): "
            "set FIRSTCAUSE_METRICS_PORT to a free port, or 0"
        )
        return
    setup.metrics_address = f"http://{config.metrics_host}:{port}/metrics"
    setup.attached.append(f"metrics at {setup.metrics_address}")


def _adapters(made: Recorder, setup: Setup) -> None:
    from . import clients

    clients.install(made)
    setup.attached += [f"{name}" for name in clients.instrument_all()]


def _attach(app: Any, setup: Setup) -> None:
    """Put the middleware around an application; what it is, is told by its shape."""
    if hasattr(app, "build_middleware_stack"):
        from .servers.asgi import attach

        setup.attached.append(f"{type(app).__name__}: {attach(app, recorder)}")
    elif hasattr(app, "wsgi_app"):
        from .servers.wsgi import attach as attach_wsgi

        setup.attached.append(f"{type(app).__name__}: {attach_wsgi(app, recorder)}")
    else:
        raise _guard_config(app)


def _guard_config(app: Any) -> Exception:
    from ._errors import ConfigError

    return ConfigError([f"app={type(app).__name__!r} is not known: pass a FastAPI, Starlette or Flask application"])


def _after_fork() -> None:
    _guard.after_fork()
    for renew in _state.forked:
        with _guard.guard("fork"):
            renew()


def _flush_on_sigterm() -> None:
    """Flush when SIGTERM would end the process at once; a handler of the host's is left alone.

    Servers that handle the signal and raise it again afterwards (uvicorn) come through here as well.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def flushed(number: int, _frame: Any) -> None:
        shutdown()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, flushed)


def flush(timeout_s: float) -> bool:
    """See `firstcause.flush`."""
    end = monotonic() + timeout_s
    done = [made.flush(max(0.0, end - monotonic())) for made in _state.pipelines]
    if _state.lines is not None:
        done.append(_state.lines.flush(max(0.0, end - monotonic())))
    return all(done)


def shutdown(timeout_s: float | None = None) -> bool:
    """See `firstcause.shutdown`."""
    config = _state.config
    if config is None:
        return True
    end = monotonic() + (config.shutdown_s if timeout_s is None else timeout_s)
    done = []
    if _state.lines is not None:
        done.append(_state.lines.flush(max(0.0, (end - monotonic()) / 4)))
    done += [made.shutdown(max(0.0, end - monotonic())) for made in _state.pipelines]
    _state.pipelines.clear()
    return all(done)
