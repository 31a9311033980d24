"""Settings: one frozen object, validated whole, argument before environment before default.

Standard `OTEL_*` variables first; `FIRSTCAUSE_*` only for what is ours.
"""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ._errors import ConfigError
from ._rules import problems_of
from ._variables import Reader

__all__ = ["Config", "ConfigError"]


@dataclass(frozen=True)
class Otlp:
    """One signal's way out."""

    url: str
    """The full URL; for `grpc` the target."""
    headers: Mapping[str, str] = field(repr=False)
    timeout_s: float
    compression: str
    protocol: str


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
    """`service.instance.id`; empty means host and process id, renewed in every forked child."""
    resource: Mapping[str, str] = field(default_factory=dict)
    """Further resource attributes."""
    endpoint: str = "http://127.0.0.1:4318"
    """Base URL of the collector (`OTEL_EXPORTER_OTLP_ENDPOINT`); with `grpc` its port is mostly 4317."""
    protocol: str = "http/protobuf"
    """`http/protobuf`, or `grpc` with the extra `firstcause[otlp-grpc]` (`OTEL_EXPORTER_OTLP_PROTOCOL`)."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of every export (`OTEL_EXPORTER_OTLP_HEADERS`); may hold credentials."""
    timeout_s: float = 10.0
    """Seconds one export may take."""
    compression: str = "none"
    """`none` or `gzip`."""
    per_signal: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What differs for `traces`, `logs` or `metrics`: endpoint (used as it is), headers, timeout_s, compression,
    protocol (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and so on)."""
    traces: bool = True
    """Export spans over OTLP; `OTEL_TRACES_EXPORTER=none` switches it off."""
    span_exporters: tuple[str, ...] = ()
    """Further span exporters, by entry point of `opentelemetry_traces_exporter` (`OTEL_TRACES_EXPORTER=console`)."""
    logs: bool = True
    """Export log records; `OTEL_LOGS_EXPORTER=none` switches it off."""
    sampler: str = "parentbased_always_on"
    """One of OpenTelemetry's sampler names, or an entry point of `opentelemetry_traces_sampler`."""
    sampler_arg: str = ""
    """The ratio, for the ratio samplers; other samplers get it as it is."""
    id_generator: str = "random"
    """`random`, or an entry point of `opentelemetry_id_generator` (`OTEL_PYTHON_ID_GENERATOR`)."""
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    """How context travels in calls (`OTEL_PROPAGATORS`): `none`, or entry points of `opentelemetry_propagator`."""
    trust_sampled: bool = False
    """Whether callers outside the mesh decide about sampling (`FIRSTCAUSE_TRUST_SAMPLED`)."""
    queue: int = 4096
    """Spans kept while the collector is away (`OTEL_BSP_MAX_QUEUE_SIZE`)."""
    batch: int = 512
    """The most spans per export (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`)."""
    interval_s: float = 1.0
    """Longest wait before an export of spans (`OTEL_BSP_SCHEDULE_DELAY`, there in milliseconds)."""
    log_queue: int = 0
    """The same for log records (`OTEL_BLRP_MAX_QUEUE_SIZE`); 0 means as for spans."""
    log_batch: int = 0
    """`OTEL_BLRP_MAX_EXPORT_BATCH_SIZE`; 0 means as for spans."""
    log_interval_s: float = 0.0
    """`OTEL_BLRP_SCHEDULE_DELAY`; 0 means as for spans."""
    shutdown_s: float = 2.0
    """Bound of the last flush, even when the collector hangs (`FIRSTCAUSE_SHUTDOWN_S`)."""
    attribute_count: int = 128
    """Attributes per span (`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`)."""
    attribute_length: int = 4096
    """Characters per attribute value (`OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`)."""
    event_count: int = 128
    """Events per span (`OTEL_SPAN_EVENT_COUNT_LIMIT`)."""
    link_count: int = 128
    """Links per span (`OTEL_SPAN_LINK_COUNT_LIMIT`)."""
    event_attribute_count: int = 128
    """Attributes per event (`OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`)."""
    link_attribute_count: int = 128
    """Attributes per link (`OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`)."""
    disabled_instrumentations: tuple[str, ...] = ()
    """Libraries left alone (`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`): names such as `redis`, or `*` for all."""
    engine: str = "firstcause"
    """Who makes FastAPI's server span: `firstcause`, or `opentelemetry` (its own telemetry, else contrib; slower)."""
    objectives: Mapping[str, float] = field(default_factory=dict)
    """Latency objective in seconds per `METHOD /route`, `/route` or `default` (1 s)."""
    bad_statuses: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Statuses below 500 that count as errors, per `METHOD /route`, `/route` or `default`, such as 429."""
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
    metrics_path: str = ""
    """Path on the application itself that answers with the metrics; empty for none (`FIRSTCAUSE_METRICS_PATH`)."""
    metrics_dir: str = ""
    """Folder where processes that count together keep their counts (`FIRSTCAUSE_METRICS_DIR`, else
    `PROMETHEUS_MULTIPROC_DIR`); empty finds one for the workers of gunicorn, uvicorn and hypercorn."""
    metrics_exporters: tuple[str, ...] = ()
    """`otlp`, `prometheus`, both or `none` (`OTEL_METRICS_EXPORTER`); empty means scrape when there is a port or path,
    else `otlp`."""
    metrics_interval_s: float = 60.0
    """Seconds between pushes (`OTEL_METRIC_EXPORT_INTERVAL`, there in milliseconds)."""
    histograms: str = "base2_exponential_bucket_histogram"
    """Buckets pushed by OTLP; `explicit_bucket_histogram` for receivers that know no others
    (`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`)."""
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

    def is_bad(self, key: str, route: str, status: int) -> bool:
        """Whether an answer of this status is an error: 5xx, and what `bad_statuses` names for the route."""
        if status >= 500 or not self.bad_statuses:
            return status >= 500
        found = self.bad_statuses
        return status in (found.get(key) or found.get(route) or found.get("default", ()))

    def signal(self, name: str) -> Otlp:
        """Where and how `traces`, `logs` or `metrics` are exported."""
        own = self.per_signal.get(name, {})
        protocol = own.get("protocol", self.protocol)
        # As the specification has it: the common endpoint gets a path, a signal's own is complete.
        base = self.endpoint if protocol == "grpc" else f"{self.endpoint.rstrip('/')}/v1/{name}"
        return Otlp(
            own.get("endpoint", base), {**own.get("headers", self.headers)}, own.get("timeout_s", self.timeout_s),
            own.get("compression", self.compression), protocol,
        )  # fmt: skip

    @property
    def metrics_to(self) -> tuple[str, ...]:
        """Where metrics go: `otlp`, `prometheus`, both or neither."""
        if self.metrics_exporters:
            return tuple(name for name in self.metrics_exporters if name != "none")
        return ("otlp",) if self.metrics_port is None and not self.metrics_path else ("prometheus",)

    def resource_attributes(self) -> dict[str, str]:
        """What every span, log record and series says of its origin; asked again in a forked child."""
        named = {
            "service.name": self.service,
            "service.version": self.version,
            "service.instance.id": self.instance or f"{socket.gethostname()}-{os.getpid()}",
            "deployment.environment.name": self.environment,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "firstcause",
        }
        # Empty ones are left out, so that what the resource says of them stands.
        return {**self.resource, **{name: value for name, value in named.items() if value}}

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **arguments: Any) -> Config:
        """Read and check everything; raises one `ConfigError` that lists every problem."""
        reader = Reader(environ)
        values = {**reader.values(), **{k: v for k, v in arguments.items() if v is not None}}
        problems = [*reader.problems, *_unknown_arguments(arguments)]
        values = {k: v for k, v in values.items() if k in _NAMES}
        problems += problems_of(values)
        if problems:
            raise ConfigError(problems)
        return cls(**_frozen(values))


_NAMES = {f.name for f in fields(Config)}


def _unknown_arguments(arguments: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in arguments:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            problems.append(f"{name}= is no setting: " + (f"did you mean {near[0]}=?" if near else "remove it"))
    return problems


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    for name, given in values.items():
        if isinstance(given, list):
            values[name] = tuple(given)
    return values
