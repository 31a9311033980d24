"""Settings: one frozen object, validated whole, argument before environment before default.

Standard `OTEL_*` variables first; `FIRSTCAUSE_*` only for what is ours.
"""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import unquote, urlsplit

from ._errors import ConfigError

__all__ = ["Config", "ConfigError"]

MASKED = "***"


@dataclass(frozen=True)
class Config:
    """Every setting, in its final form. Make one with `Config.from_env`."""

    service: str = ""
    """Service name (`OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`); required."""
    version: str = ""
    """`service.version`; empty means unknown."""
    environment: str = ""
    """`deployment.environment.name`; part of every grouping."""
    instance: str = ""
    """`service.instance.id`; default host and process id."""
    resource: Mapping[str, str] = field(default_factory=dict)
    """Further resource attributes."""
    endpoint: str = "http://127.0.0.1:4318"
    """Base URL of the collector (`OTEL_EXPORTER_OTLP_ENDPOINT`)."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of every export (`OTEL_EXPORTER_OTLP_HEADERS`); may hold credentials."""
    timeout_s: float = 10.0
    """Seconds one export may take."""
    compression: str = "none"
    """`none` or `gzip`."""
    traces: bool = True
    """Export spans; `OTEL_TRACES_EXPORTER=none` switches it off."""
    logs: bool = True
    """Export log records; `OTEL_LOGS_EXPORTER=none` switches it off."""
    sampler: str = "parentbased_always_on"
    """One of OpenTelemetry's sampler names."""
    sampler_arg: str = ""
    """The ratio, for the ratio samplers."""
    trust_sampled: bool = False
    """Whether callers outside the mesh decide about sampling (`FIRSTCAUSE_TRUST_SAMPLED`)."""
    queue: int = 4096
    """Spans, and log records, kept while the collector is away (`OTEL_BSP_MAX_QUEUE_SIZE`)."""
    batch: int = 512
    """The most per export (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`)."""
    interval_s: float = 1.0
    """Longest wait before an export (`OTEL_BSP_SCHEDULE_DELAY`, there in milliseconds)."""
    shutdown_s: float = 2.0
    """Bound of the last flush, even when the collector hangs (`FIRSTCAUSE_SHUTDOWN_S`)."""
    attribute_count: int = 128
    """Attributes per span (`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`)."""
    attribute_length: int = 4096
    """Characters per attribute value (`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`)."""
    objectives: Mapping[str, float] = field(default_factory=dict)
    """Latency objective in seconds per `METHOD /route`, `/route` or `default` (1 s)."""
    mesh_key: str = field(default="", repr=False)
    """Shared secret of the deployment (`FIRSTCAUSE_MESH_KEY`); without it only loopback peers are believed."""
    mesh_hosts: tuple[str, ...] = ()
    """Further hosts of the deployment: names, or suffixes beginning with a dot."""
    user_key: str = field(default="", repr=False)
    """Key of the user hash (`FIRSTCAUSE_USER_KEY`); without it no user id is kept at all."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose `X-Request-Start` is believed."""
    metrics_host: str = "127.0.0.1"
    """Where `/metrics` listens."""
    metrics_port: int | None = None
    """Its port; 0 takes a free one, None switches it off (`FIRSTCAUSE_METRICS_PORT`)."""
    log_stream: str = "stdout"
    """Where log lines go: `stdout`, `stderr` or `none`."""
    redact: tuple[str, ...] = ()
    """Further key names whose values are secrets."""
    disabled: bool = False
    """`OTEL_SDK_DISABLED`: nothing is attached, nothing is sent."""

    def objective_ns(self, key: str, route: str) -> int:
        """The latency objective of a unit, in nanoseconds: by method and route, by route, then the default."""
        found = self.objectives.get(key) or self.objectives.get(route) or self.objectives.get("default", 1.0)
        return int(found * 1e9)

    def resource_attributes(self) -> dict[str, str]:
        """What every span, log record and series says of its origin."""
        named = {
            "service.name": self.service,
            "service.version": self.version,
            "service.instance.id": self.instance,
            "deployment.environment.name": self.environment,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "firstcause",
        }
        return {**self.resource, **{name: value for name, value in named.items() if value}}

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **arguments: Any) -> Config:
        """Read and check everything; raises one `ConfigError` that lists every problem."""
        reader = _Reader(environ)
        values = {**reader.values(), **{k: v for k, v in arguments.items() if v is not None}}
        problems = [*reader.problems, *_unknown_arguments(arguments)]
        values = {k: v for k, v in values.items() if k in _NAMES}
        problems += _check(values)
        if problems:
            raise ConfigError(problems)
        return cls(**_frozen(values))


_NAMES = {f.name for f in fields(Config)}
_SECRETS = ("headers", "mesh_key", "user_key")
SAMPLERS = (
    "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
    "parentbased_traceidratio",
)  # fmt: skip


def seconds(text: str) -> float:
    """`1.5`, `1.5s` or `250ms` in seconds; raises ValueError."""
    text = text.strip()
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("s"))


def _objectives(text: str) -> dict[str, float]:
    pairs = (part.rpartition("=") for part in text.split(",") if part.strip())
    return {name.strip(): seconds(value) for name, _, value in pairs}


def _pairs(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not name.strip() or not equals for name, equals, _ in parts):
        raise ValueError("not name=value")
    return {name.strip(): unquote(value.strip()) for name, _, value in parts}


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _exporter(text: str) -> bool:
    if text not in ("otlp", "none"):
        raise ValueError(text)
    return text == "otlp"


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false", "1", "0", ""):
        raise ValueError(text)
    return text.strip().lower() in ("true", "1")


def _port(text: str) -> int | None:
    return None if text.strip().lower() in ("", "off", "none") else int(text)


_VARIABLES: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("OTEL_SERVICE_NAME", "service", str, "a name"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", str, "a URL such as http://127.0.0.1:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "headers", _pairs, "name=value,name=value"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "timeout_s", lambda t: float(t) / 1000, "milliseconds such as 10000"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "compression", str, "gzip or none"),
    ("OTEL_TRACES_EXPORTER", "traces", _exporter, "otlp or none"),
    ("OTEL_LOGS_EXPORTER", "logs", _exporter, "otlp or none"),
    ("OTEL_TRACES_SAMPLER", "sampler", str, "one of " + ", ".join(SAMPLERS)),
    ("OTEL_TRACES_SAMPLER_ARG", "sampler_arg", str, "a ratio between 0 and 1"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "queue", int, "a whole number"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "batch", int, "a whole number"),
    ("OTEL_BSP_SCHEDULE_DELAY", "interval_s", lambda t: float(t) / 1000, "milliseconds such as 1000"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "attribute_count", int, "a whole number"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "attribute_length", int, "a whole number"),
    ("OTEL_SDK_DISABLED", "disabled", _flag, "true or false"),
    ("FIRSTCAUSE_MESH_KEY", "mesh_key", str, "at least 16 characters"),
    ("FIRSTCAUSE_MESH_HOSTS", "mesh_hosts", _names, "names or suffixes, separated by commas"),
    ("FIRSTCAUSE_USER_KEY", "user_key", str, "at least 16 characters"),
    ("FIRSTCAUSE_OBJECTIVES", "objectives", _objectives, "default=1s,GET /report=5s"),
    ("FIRSTCAUSE_METRICS_PORT", "metrics_port", _port, "a port, 0 for a free one, or off"),
    ("FIRSTCAUSE_METRICS_HOST", "metrics_host", str, "an address such as 127.0.0.1"),
    ("FIRSTCAUSE_LOG", "log_stream", str, "stdout, stderr or none"),
    ("FIRSTCAUSE_TRUSTED_PROXIES", "trusted_proxies", _names, "addresses, separated by commas"),
    ("FIRSTCAUSE_REDACT", "redact", _names, "key names, separated by commas"),
    ("FIRSTCAUSE_SHUTDOWN_S", "shutdown_s", seconds, "seconds such as 2"),
    ("FIRSTCAUSE_TRUST_SAMPLED", "trust_sampled", _flag, "true or false"),
)


class _Reader:
    """Environment variables to values; keeps the problems instead of raising at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def values(self) -> dict[str, Any]:
        found = self._from_resource()
        for variable, name, parse, form in _VARIABLES:
            text = self._environ.get(variable, "")
            if text:
                self._take(found, variable, name, parse, form, text)
        self._unknown()
        return found

    def _take(
        self, found: dict[str, Any], variable: str, name: str, parse: Callable[[str], Any], form: str, text: str
    ) -> None:
        try:
            found[name] = parse(text)
        except ValueError:
            shown = MASKED if name in _SECRETS else text
            self.problems.append(f"{variable}={shown!r} cannot be read: use {form}")

    def _from_resource(self) -> dict[str, Any]:
        text = self._environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        try:
            given = _pairs(text)
        except ValueError:
            self.problems.append(f"OTEL_RESOURCE_ATTRIBUTES={text!r} cannot be read: use name=value,name=value")
            return {}
        named = {
            "service": given.pop("service.name", ""),
            "version": given.pop("service.version", ""),
            "instance": given.pop("service.instance.id", ""),
            "environment": given.pop("deployment.environment.name", ""),
        }
        return {"resource": given, **{name: value for name, value in named.items() if value}}

    def _unknown(self) -> None:
        known = [variable for variable, *_ in _VARIABLES]
        for variable in self._environ:
            if variable.startswith("FIRSTCAUSE_") and variable not in known and "_DEMO_" not in variable:
                near = difflib.get_close_matches(variable, known, 1)
                hint = f"did you mean {near[0]}?" if near else "remove it"
                self.problems.append(f"{variable}={MASKED!r} is no setting: {hint}")


def _unknown_arguments(arguments: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in arguments:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            problems.append(f"{name}= is no setting: " + (f"did you mean {near[0]}=?" if near else "remove it"))
    return problems


def _check(values: Mapping[str, Any]) -> list[str]:
    """One line per value that cannot work."""
    problems = []
    for name, fits, fix in _RULES:
        if name in values:
            shown = MASKED if name in _SECRETS else values[name]
            try:
                good = fits(values[name])
            except (TypeError, ValueError, AttributeError):
                good = False
            if not good:
                problems.append(f"{name}={shown!r} cannot work: {fix}")
    if not values.get("service") and not values.get("disabled"):
        problems.append("service='' is missing: configure(service='orders'), or set OTEL_SERVICE_NAME")
    return problems


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and low <= value <= high


def _is_url(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0


def _are_objectives(value: Mapping[str, float]) -> bool:
    return all(isinstance(k, str) and _number(0.001, 3600)(v) for k, v in value.items())


_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("service", lambda v: isinstance(v, str) and len(v) <= 64, "use a short name"),
    ("endpoint", _is_url, "use a URL such as http://127.0.0.1:4318"),
    ("timeout_s", _number(0.1, 300), "use 0.1 to 300 seconds"),
    ("compression", lambda v: v in ("none", "gzip"), "use none or gzip"),
    ("sampler", lambda v: v in SAMPLERS, "use one of " + ", ".join(SAMPLERS)),
    ("sampler_arg", lambda v: v == "" or 0 <= float(v) <= 1, "use a ratio between 0 and 1"),
    ("queue", _number(1, 1_000_000), "use 1 to 1000000"),
    ("batch", _number(1, 65_536), "use 1 to 65536"),
    ("interval_s", _number(0.01, 300), "use 0.01 to 300 seconds"),
    ("shutdown_s", _number(0, 60), "use 0 to 60 seconds"),
    ("attribute_count", _number(1, 10_000), "use 1 to 10000"),
    ("attribute_length", _number(16, 1_000_000), "use 16 to 1000000 characters"),
    ("objectives", _are_objectives, "use seconds between 0.001 and 3600, as in {'GET /report': 5.0}"),
    ("mesh_key", lambda v: v == "" or len(v) >= 16, "use at least 16 characters, the same in all services"),
    ("user_key", lambda v: v == "" or len(v) >= 16, "use at least 16 characters"),
    ("metrics_port", lambda v: v is None or _number(0, 65_535)(v), "use 0 to 65535, or None"),
    ("log_stream", lambda v: v in ("stdout", "stderr", "none"), "use stdout, stderr or none"),
)


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    values.setdefault("instance", f"{socket.gethostname()}-{os.getpid()}")
    for name in ("mesh_hosts", "trusted_proxies", "redact"):
        if name in values:
            values[name] = tuple(values[name])
    return values
