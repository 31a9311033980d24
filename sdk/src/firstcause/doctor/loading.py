"""Bring the application up as its server would, but with its telemetry led to the doctor's collector."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .. import _run
from .._config import Config
from .._errors import ConfigError
from .examination import Context
from .observation import is_watched, observe, read_lines, time_shutdown
from .startline import StartLine
from .wire import Collector

# What says where telemetry goes, or would thin it out or hold it back.
_LED = frozenset((
    "endpoint", "headers", "per_signal", "protocol", "compression", "traces", "logs", "metrics_port",
    "metrics_exporters", "metrics_dir", "sampler", "sampler_arg", "interval_s", "log_interval_s", "log_stream",
))  # fmt: skip
_LED_VARIABLES = (
    "OTEL_EXPORTER_OTLP_", "OTEL_BSP_", "OTEL_BLRP_", "OTEL_TRACES_", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER",
)  # fmt: skip


def context_of(start: StartLine, environ: Mapping[str, str], app: str, path: str, url: str) -> Context:
    """Everything the checks look at; imports and drives `app` (`module:attribute`) when there is one."""
    context = Context(dict(environ), start, name=app, url=url)
    if app:
        _bring_up(context, app, path)
    if context.config is None and not context.problems:
        try:
            context.config = Config.from_env(environ)
        except ConfigError as error:
            context.problems = error.problems
    return context


def _bring_up(context: Context, app: str, path: str) -> None:
    wanted: list[Config] = []
    if context.start.by_run:
        _run_by(context)
    collector = Collector()
    with _quiet() as printed, _led(context, collector.url, wanted):
        try:
            if context.start.by_run:
                _run.get_ready()
            context.app = _loaded(app)
            early = is_watched(context.app)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the application's own error is an answer
            context.problems = getattr(error, "problems", ())
            context.failure = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            context.why |= dict.fromkeys(("app", "observed", "setup"), f"{app} cannot be loaded")
            return
        from .. import _setup

        context.observed = observe(context.app, path, collector, lambda: _address(_setup._state.setup))
        context.config, context.setup = wanted[0] if wanted else None, _setup._state.setup
        context.late = is_watched(context.app) and not early
        context.watched = dict(context.observed.headers).get("x-request-id") == context.observed.request_id
        context.why |= {"setup": "nothing is configured", "watched": "requests are not watched"}
        # Towards the end, as it ends telemetry for good; the lines are read when all have been written.
        context.observed.shutdown_s = time_shutdown(collector)
        context.observed.lines = read_lines(printed())


def _loaded(app: str) -> Any:
    module_name, _, name = app.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in (name.removesuffix("()") or "app").split("."):
        found = getattr(found, part)
    return found() if name.endswith("()") else found


def _run_by(context: Context) -> None:
    """Give the service the environment that `firstcause run` gives it."""
    words = context.start.words
    context.environ = _run.environment(context.environ, words[words.index("run") + 1 :])
    os.environ["OTEL_SERVICE_NAME"] = context.environ.get("OTEL_SERVICE_NAME", "")


def _address(setup: Any) -> str:
    return setup.metrics_address if setup is not None else ""


@contextmanager
def _led(context: Context, url: str, wanted: list[Config]) -> Iterator[None]:
    """Every `configure` meanwhile is answered with its own settings, except where telemetry goes.

    The environment is led as well, for exporters that are not ours.
    """
    place: Any = Config
    original = vars(Config)["from_env"]
    made = Config.from_env

    def from_env(environ: Mapping[str, str], **arguments: Any) -> Config:
        config = made(context.environ, **arguments)
        wanted.append(config)
        kept = {name: value for name, value in arguments.items() if name not in _LED}
        stream = "none" if config.log_stream == "none" else "stdout"
        return made(environ, **{**kept, "endpoint": url, "log_stream": stream, "interval_s": 0.1, "metrics_port": 0})

    _lead_environment(url)
    place.from_env = from_env
    try:
        yield
    finally:
        place.from_env = original
        os.environ.clear()
        os.environ.update(context.environ)


def _lead_environment(url: str) -> None:
    for name in list(os.environ):
        if name.startswith(_LED_VARIABLES):
            del os.environ[name]
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"


@contextmanager
def _quiet() -> Iterator[Any]:
    """Keep standard output for the report: what the application writes there goes to a file, to be read."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        # The descriptor itself: log lines are written below `sys.stdout`.
        os.dup2(file.fileno(), 1)

        def printed() -> str:
            sys.stdout.flush()
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        try:
            yield printed
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
