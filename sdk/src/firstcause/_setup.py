"""Configuration to running parts: the only module that wires the SDK together."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from opentelemetry import trace

from . import _gevent, _guard, _imports
from ._config import Config
from ._exit import Exit
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
        self.resource: dict[str, Any] = {}
        self.exit: Exit | None = None
        self.pipelines: list[Any] = []
        self.lines: Any = None
        self.telemetry: Any = None
        self.forked: list[Callable[[], None]] = []
        self.lock = threading.RLock()


_state = _State()


def recorder() -> Recorder | None:
    """The running recorder, None before `configure` and while switched off."""
    return _state.recorder


def configure(service: str | None, app: Any, settings: dict[str, Any]) -> Setup:
    """See `firstcause.configure`."""
    with _state.lock:
        if service is not None:
            settings = {**settings, "service": service}
        if _state.setup is None:
            _start(Config.from_env(os.environ, **settings))
        else:
            _note_late(_state.setup, settings)
        setup = _state.setup
        assert setup is not None
        if app is not None and _state.recorder is not None:
            _attach(app, setup)
        return setup


def _note_late(setup: Setup, settings: dict[str, Any]) -> None:
    """A second call cannot change what runs: settings that differ are named."""
    late = [name for name, value in settings.items() if getattr(_state.config, name, value) != _kept(value)]
    warning = f"configured before, these settings came too late: {', '.join(sorted(late))}"
    if late and warning not in setup.warnings:
        setup.warnings.append(warning)


def _kept(value: Any) -> Any:
    """A setting as the configuration holds it, which nobody can change."""
    return tuple(value) if isinstance(value, list) else value


def _start(config: Config) -> None:
    setup = Setup(config.service)
    _state.config, _state.setup = config, setup
    if config.disabled:
        setup.warnings.append("switched off by OTEL_SDK_DISABLED")
        return
    _state.recorder = _build(config, setup)
    # Once per process: Python has no way to take these back.
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    _state.exit = Exit(flush, shutdown, config.shutdown_s, lambda: WATCH.in_flight)
    _state.exit.install()
    _gevent.install(setup, _after_fork, _refuse)


def _build(config: Config, setup: Setup) -> Recorder:
    from .export import outlets
    from .logs import Canonical
    from .mesh import Mesh
    from .metrics import make

    resource = _state.resource = config.resource_attributes()
    # First: a provider that was set before adds to the resource, which logs and metrics get too.
    provider = _provider(config, resource, setup)
    sink = _pipeline(outlets.logs(config, resource), config.signal("logs").url, setup).put if config.logs else None
    lines = _logging(config, sink)
    metrics = _metrics(*make(config, resource), config, setup)
    made = Recorder(
        config, provider, Mesh(config.mesh_key, config.mesh_hosts), metrics, Canonical(config.service, lines, sink)
    )
    _state.forked += [lambda: _new_resource(provider), _state.telemetry.after_fork, WATCH.after_fork]
    _state.forked.append(lambda: _fresh_locks(made))
    _adapters(made, setup)
    return made


def _nowhere(_item: Any) -> None:
    """Signals that are switched off end here, and are not counted as lost."""


def _pipeline(made: Any, target: str, setup: Setup) -> Any:
    _state.pipelines.append(made)
    setup.attached.append(f"{made.name} to {target}")
    return made


def _provider(config: Config, resource: dict[str, Any], setup: Setup) -> Any:
    """Our provider, as the global one or beside the one that was set before."""
    from . import _existing, _plugins
    from .trace.provider import TracerProvider

    theirs = _existing.existing()
    if theirs is not None:
        resource.update(_existing.joined_resource(resource, theirs))
    has_outlet = theirs is not None and _existing.has_processors(theirs)
    provider = TracerProvider(
        resource, _nowhere if has_outlet else _span_outlet(config, resource, setup),
        sampler=_plugins.sampler(config) if theirs is None else theirs.sampler,
        id_generator=_plugins.id_generator(config) if theirs is None else theirs.id_generator,
        limits=_plugins.limits(config), flush=flush,
    )  # fmt: skip
    if theirs is not None:
        _existing.join(provider, theirs)
        where = "its exporters get our spans too" if has_outlet else "it has no exporter, ours takes our spans"
        setup.attached.append(f"joined the tracer provider that was set before: {where}")
        setup.warnings.append(
            "joined spans cost more than our own pipeline: let firstcause.configure come before the other set-up"
        )
    else:
        _set_provider(provider, setup)
    _plugins.set_propagators(config)
    return provider


def _span_outlet(config: Config, resource: dict[str, Any], setup: Setup) -> Callable[[Any], None]:
    """Where ended spans go: our pipeline to the collector, and exporters that `OTEL_TRACES_EXPORTER` names."""
    from .export import outlets

    puts = []
    if config.traces:
        puts.append(_pipeline(outlets.traces(config, resource), config.signal("traces").url, setup).put)
    puts += [_pipeline(outlets.stock(config, name), name, setup).put for name in config.span_exporters]
    if len(puts) < 2:
        return puts[0] if puts else _nowhere

    def put_all(span: Any) -> None:
        for put in puts:
            put(span)

    return put_all


def _set_provider(provider: Any, setup: Setup) -> None:
    current = trace.get_tracer_provider()
    # The proxy stands for none. The API takes a provider once: of later ones it only warns.
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


def _metrics(telemetry: Any, shared: str, config: Config, setup: Setup) -> Any:
    """Metrics with what feeds them and who reads them; returns the cells."""
    _state.telemetry, metrics = telemetry, telemetry.metrics
    metrics.in_flight = lambda: WATCH.in_flight
    metrics.queues = lambda: {made.name: len(made._queue) for made in _state.pipelines}
    if shared:
        setup.attached.append(shared)
    if "otlp" in config.metrics_to:
        setup.attached.append(f"metrics to {config.signal('metrics').url}")
    _set_meter_provider(telemetry.meters, setup)
    _serve(config, telemetry.keeper, setup)
    telemetry.keeper.ensure()
    return metrics


def _set_meter_provider(meters: Any, setup: Setup) -> None:
    from opentelemetry import metrics as api
    from opentelemetry.metrics._internal import _ProxyMeterProvider

    current = api.get_meter_provider()
    if isinstance(current, _ProxyMeterProvider):
        api.set_meter_provider(meters)
        setup.attached.append("OpenTelemetry metrics API")
    else:
        setup.warnings.append(
            f"a meter provider was set before ({type(current).__name__}): it is left alone, and its metrics go "
            "where it sends them; call firstcause.configure first to have them at /metrics"
        )


def _serve(config: Config, keeper: Any, setup: Setup) -> None:
    if config.metrics_port is None:
        return
    host, wanted = config.metrics_host, config.metrics_port
    try:
        port = keeper.listen(host, wanted)
    except OSError as error:
        setup.warnings.append(
            f"/metrics cannot listen on {host}:{wanted} ({error.strerror}): set FIRSTCAUSE_METRICS_HOST to an "
            "address of this machine"
        )
        return
    setup.metrics_address = f"http://{host}:{port or wanted}/metrics"
    if port is None and keeper.metrics.store.group is None:
        setup.warnings.append(
            f"/metrics cannot listen on {host}:{wanted} (address in use), and tries again every second: set "
            "FIRSTCAUSE_METRICS_PORT to a free port, or 0"
        )
    else:
        setup.attached.append(f"metrics at {setup.metrics_address}" + (" by a sibling" if port is None else ""))


def _adapters(made: Recorder, setup: Setup) -> None:
    from . import clients

    clients.install(made)
    setup.attached += [f"{name}" for name in clients.instrument_all()]


def _attach(app: Any, setup: Setup) -> None:
    """Put the middleware around an application; what it is, is told by its shape."""
    # An isinstance would have to import frameworks that the host may not have.
    if hasattr(app, "build_middleware_stack"):
        assert _state.config is not None
        if _state.config.engine == "opentelemetry":
            from .servers.opentelemetry import attach
        else:
            from .servers.asgi import attach

            _replace_contrib(app, setup)
        setup.attached.append(f"{type(app).__name__}: {attach(app, recorder)}")
    elif hasattr(app, "load_middleware"):
        from .servers.django import attach as attach_django

        setup.attached.append(f"Django: {attach_django(app, recorder)}")
    elif hasattr(app, "wsgi_app"):
        from .servers.wsgi import attach as attach_wsgi

        _replace_contrib(app, setup)
        setup.attached.append(f"{type(app).__name__}: {attach_wsgi(app, recorder)}")
    else:
        raise _guard_config(app)
    if _state.config is not None and _state.config.metrics_path:
        from .metrics.mount import mount

        setup.attached.append(mount(app, _state.config.metrics_path, _state.telemetry.keeper.exposition))


def _replace_contrib(app: Any, setup: Setup) -> None:
    from ._existing import replace_contrib

    replaced = replace_contrib(app)
    if replaced:
        setup.attached.append(f"{type(app).__name__}: {replaced}")


def _guard_config(app: Any) -> Exception:
    from ._errors import ConfigError

    return ConfigError([f"app={type(app).__name__!r} is not known: pass one of FastAPI, Starlette, Flask or Django"])


LATE = (
    "http.client", "email.utils", "encodings.idna", "traceback", "orjson", "structlog", "prometheus_client.exposition",
    "firstcause.logs.redaction", "firstcause.metrics.otlp", "firstcause.metrics.protobuf",
    "firstcause.metrics.exposition", "firstcause.metrics.group", "firstcause.metrics.snapshot",
    "firstcause.trace.readable",
)  # fmt: skip
"""What we import when it is first needed, in threads of ours or of the host's."""


def _before_fork() -> None:
    # Alone, nobody else can be in the middle of an import, and the fork need not pay for ours.
    if threading.active_count() > 1:
        _imports.finish(LATE)


def _after_fork() -> None:
    # First: whatever goes wrong below is counted under the guard's lock.
    _guard.after_fork()
    _state.lock = threading.RLock()
    if _state.exit is not None:
        _state.exit.after_fork()
    for made in _state.pipelines:
        with _guard.guard("fork"):
            made.after_fork()
    for renew in _state.forked:
        with _guard.guard("fork"):
            renew()


def _new_resource(provider: Any) -> None:
    """The child is an instance of its own, in spans and log records; metrics it shares with its siblings."""
    assert _state.config is not None
    new = _state.config.resource_attributes()["service.instance.id"]
    # In place: encoders hold these very mappings.
    for attributes in (_state.resource, provider.resource_attributes):
        attributes["service.instance.id"] = new
    provider._resource = None


def _fresh_locks(made: Recorder) -> None:
    """Diagnosis has locks too, which a thread may have held that the child does not have."""
    from .diagnosis.holders import WAITS

    for owner in (made.baselines, WAITS):
        owner._lock = threading.Lock()
    # Those who wait are the parent's threads.
    WAITS._going.clear()


def _refuse() -> None:
    """Switch off for good, before the ground under our threads changes."""
    shutdown()
    _state.recorder = None


def flush(timeout_s: float) -> bool:
    """See `firstcause.flush`."""
    end = monotonic() + timeout_s
    # A list, no generator: one that could not be flushed must not keep the others from it.
    done = [made.flush(max(0.0, end - monotonic())) for made in _state.pipelines]
    if _state.lines is not None:
        done.append(_state.lines.flush(max(0.0, end - monotonic())))
    if _state.telemetry is not None:
        done.append(_state.telemetry.keeper.flush(max(0.0, end - monotonic())))
    return all(done)


def shutdown(timeout_s: float | None = None) -> bool:
    """See `firstcause.shutdown`."""
    config = _state.config
    if config is None:
        return True
    end = monotonic() + (config.shutdown_s if timeout_s is None else timeout_s)
    done = []
    lines = _state.lines
    keeper = _state.telemetry.keeper if _state.telemetry is not None else None
    if keeper is not None:
        keeper.stop()
    for made in _state.pipelines:
        made.stop(end - monotonic())  # all at once: one that hangs must not cost the others their time
    if lines is not None:
        # A share of the time for them alone: a hanging collector would leave the lines none.
        done.append(lines.flush(max(0.0, (end - monotonic()) / 4)))
    done += [made.shutdown(max(0.0, end - monotonic())) for made in _state.pipelines]
    if lines is not None and not lines.flush(max(0.0, end - monotonic())):
        lines.abandon()
    # The exit calls this again: whoever was shut down here has nothing more to send.
    _state.pipelines.clear()
    if keeper is not None:
        done.append(keeper.join(end - monotonic()))
    return all(done)
