"""The environment variables there are, and how the text of each becomes a value. Pure: it reads a mapping."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from ._rules import HISTOGRAMS, MASKED, PROTOCOLS, SAMPLERS, SECRETS

SIGNALS = ("traces", "logs", "metrics")


def seconds(text: str) -> float:
    """`1.5`, `1.5s` or `250ms` in seconds; raises ValueError."""
    text = text.strip()
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("s"))


def _objectives(text: str) -> dict[str, float]:
    # From the right: a route may have an equals sign of its own.
    pairs = (part.rpartition("=") for part in text.split(",") if part.strip())
    return {name.strip(): seconds(value) for name, _, value in pairs}


def _pairs(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not name.strip() or not equals for name, equals, _ in parts):
        raise ValueError("not name=value")
    # Percent-encoded, as the specification has both headers and resource attributes.
    return {name.strip(): unquote(value.strip()) for name, _, value in parts}


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _statuses(text: str) -> dict[str, tuple[int, ...]]:
    pairs = (part.rpartition("=") for part in text.split(",") if part.strip())
    return {name.strip() or "default": tuple(map(int, value.split("+"))) for name, _, value in pairs}


def _exporter(text: str) -> bool:
    if text not in ("otlp", "none"):
        raise ValueError(text)
    return text == "otlp"


def _milliseconds(text: str) -> float:
    return float(text) / 1000


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false", "1", "0", ""):
        raise ValueError(text)
    return text.strip().lower() in ("true", "1")


def _port(text: str) -> int | None:
    return None if text.strip().lower() in ("", "off", "none") else int(text)


# Where two set the same, the later one wins: the specific one, and ours over the standard's.
VARIABLES: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("OTEL_SERVICE_NAME", "service", str, "a name"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", str, "a URL such as http://127.0.0.1:4318"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "headers", _pairs, "name=value,name=value"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "timeout_s", _milliseconds, "milliseconds such as 10000"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "compression", str, "gzip or none"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "protocol", str, " or ".join(PROTOCOLS)),
    ("OTEL_TRACES_EXPORTER", "exporters", _names, "otlp, none, or the name of an installed exporter"),
    ("OTEL_LOGS_EXPORTER", "logs", _exporter, "otlp or none"),
    ("OTEL_TRACES_SAMPLER", "sampler", str, "one of " + ", ".join(SAMPLERS)),
    ("OTEL_TRACES_SAMPLER_ARG", "sampler_arg", str, "a ratio between 0 and 1"),
    ("OTEL_PYTHON_ID_GENERATOR", "id_generator", str, "random, or the name of an installed generator"),
    ("OTEL_PROPAGATORS", "propagators", _names, "tracecontext,baggage, or none"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "queue", int, "a whole number"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "batch", int, "a whole number"),
    ("OTEL_BSP_SCHEDULE_DELAY", "interval_s", _milliseconds, "milliseconds such as 1000"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "log_queue", int, "a whole number"),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "log_batch", int, "a whole number"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "log_interval_s", _milliseconds, "milliseconds such as 1000"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "attribute_count", int, "a whole number"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "attribute_count", int, "a whole number"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "attribute_length", int, "a whole number"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "attribute_length", int, "a whole number"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "event_count", int, "a whole number"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "link_count", int, "a whole number"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "event_attribute_count", int, "a whole number"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "link_attribute_count", int, "a whole number"),
    ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "disabled_instrumentations", _names, "names such as redis, or *"),
    ("OTEL_SDK_DISABLED", "disabled", _flag, "true or false"),
    ("FIRSTCAUSE_MESH_KEY", "mesh_key", str, "at least 16 characters"),
    ("FIRSTCAUSE_MESH_HOSTS", "mesh_hosts", _names, "names or suffixes, separated by commas"),
    ("FIRSTCAUSE_USER_KEY", "user_key", str, "at least 16 characters"),
    ("FIRSTCAUSE_OBJECTIVES", "objectives", _objectives, "default=1s,GET /report=5s"),
    ("FIRSTCAUSE_BAD_STATUSES", "bad_statuses", _statuses, "POST /login=429,default=409+429"),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "metrics_port", _port, "a port such as 9464"),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "metrics_host", str, "an address such as 127.0.0.1"),
    ("FIRSTCAUSE_METRICS_PORT", "metrics_port", _port, "a port, 0 for a free one, or off"),
    ("FIRSTCAUSE_METRICS_PATH", "metrics_path", str, "a path such as /metrics"),
    ("PROMETHEUS_MULTIPROC_DIR", "metrics_dir", str, "a folder"),
    ("FIRSTCAUSE_METRICS_DIR", "metrics_dir", str, "a folder"),
    ("OTEL_METRICS_EXPORTER", "metrics_exporters", _names, "otlp, prometheus or none"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "metrics_interval_s", _milliseconds, "milliseconds such as 60000"),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "histograms", str, " or ".join(HISTOGRAMS)),
    ("FIRSTCAUSE_METRICS_HOST", "metrics_host", str, "an address such as 127.0.0.1"),
    ("FIRSTCAUSE_LOG", "log_stream", str, "stdout, stderr or none"),
    ("FIRSTCAUSE_ENGINE", "engine", str, "firstcause or opentelemetry"),
    ("FIRSTCAUSE_TRUSTED_PROXIES", "trusted_proxies", _names, "addresses, separated by commas"),
    ("FIRSTCAUSE_REDACT", "redact", _names, "key names, separated by commas"),
    ("FIRSTCAUSE_SHUTDOWN_S", "shutdown_s", seconds, "seconds such as 2"),
    ("FIRSTCAUSE_TRUST_SAMPLED", "trust_sampled", _flag, "true or false"),
)


class Reader:
    """Environment variables to values; keeps the problems instead of raising at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def values(self) -> dict[str, Any]:
        found = self._from_resource()
        for variable, name, parse, form in VARIABLES:
            text = self._environ.get(variable, "")
            # Empty is unset, as the specification says.
            if text:
                self._take(found, variable, name, parse, form, text)
        self._per_signal(found)
        self._unknown()
        exporters = found.pop("exporters", ("otlp",))
        found.setdefault("traces", "otlp" in exporters)
        found.setdefault("span_exporters", tuple(name for name in exporters if name not in ("otlp", "none")))
        return found

    def _per_signal(self, found: dict[str, Any]) -> None:
        given: dict[str, dict[str, Any]] = {}
        for signal in SIGNALS:
            for variable, name, parse, form in VARIABLES:
                own = variable.replace("_OTLP_", f"_OTLP_{signal.upper()}_")
                text = self._environ.get(own, "")
                if own != variable and text:
                    self._take(given.setdefault(signal, {}), own, name, parse, form, text)
        if given:
            found["per_signal"] = given

    def _take(
        self, found: dict[str, Any], variable: str, name: str, parse: Callable[[str], Any], form: str, text: str
    ) -> None:
        try:
            found[name] = parse(text)
        except ValueError:
            shown = MASKED if name in SECRETS else text
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
        known = [variable for variable, *_ in VARIABLES]
        for variable in self._environ:
            foreign = variable.startswith("FIRSTCAUSE_RUM_") or "_DEMO_" in variable  # those have readers of their own
            if variable.startswith("FIRSTCAUSE_") and variable not in known and not foreign:
                near = difflib.get_close_matches(variable, known, 1)
                hint = f"did you mean {near[0]}?" if near else "remove it"
                # Masked, since a misspelt name may hold a key.
                self.problems.append(f"{variable}={MASKED!r} is no setting: {hint}")
