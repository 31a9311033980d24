"""Which values can work: one rule per setting, one line per problem, each with the fix. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

MASKED = "***"
PROTOCOLS = ("http/protobuf", "grpc")
SECRETS = ("headers", "mesh_key", "user_key")
SAMPLERS = (
    "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
    "parentbased_traceidratio",
)  # fmt: skip
HISTOGRAMS = ("base2_exponential_bucket_histogram", "explicit_bucket_histogram")


def problems_of(values: Mapping[str, Any]) -> list[str]:
    """One line per value that cannot work."""
    problems = _fitting(values)
    problems += [
        f"per_signal[{signal!r}]: {problem}"
        for signal, own in dict(values.get("per_signal") or {}).items()
        for problem in _fitting(own)
    ]
    problems += _together(values)
    if not values.get("service") and not values.get("disabled"):
        problems.append("service='' is missing: configure(service='orders'), or set OTEL_SERVICE_NAME")
    return problems


def _together(values: Mapping[str, Any]) -> list[str]:
    """What can be seen only by looking at several values, each of which is possible by itself."""
    problems = []
    for queue, batch in (("queue", "batch"), ("log_queue", "log_batch")):
        most, one = values.get(queue), values.get(batch)
        # What is wrong by itself has a line of its own; a queue of 0 is as long as that of spans.
        if isinstance(most, int) and isinstance(one, int) and most and one > most:
            problems.append(f"{batch}={one} cannot work: use at most {queue}={most}, from which a batch is taken")
    sampler, ratio = str(values.get("sampler", "")), values.get("sampler_arg", "")
    if sampler.endswith("traceidratio") and not _is_ratio(ratio):
        problems.append(f"sampler_arg={ratio!r} cannot work: use a ratio between 0 and 1")
    protocols = {own.get("protocol") for own in dict(values.get("per_signal") or {}).values()}
    if "grpc" in {values.get("protocol"), *protocols} and not _has_grpc():
        problems.append("protocol='grpc' cannot work: pip install 'firstcause[otlp-grpc]', or use http/protobuf")
    return problems


def _is_ratio(text: str) -> bool:
    try:
        return text == "" or 0 <= float(text) <= 1
    except ValueError:
        return False


def _has_grpc() -> bool:
    from importlib.util import find_spec

    try:
        # Imports the parents, any of which may be missing.
        return find_spec("opentelemetry.exporter.otlp.proto.grpc") is not None
    except ModuleNotFoundError:
        return False


def _fitting(values: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, fits, fix in _RULES:
        if name in values:
            shown = MASKED if name in SECRETS else values[name]
            try:
                good = fits(values[name])
            except (TypeError, ValueError, AttributeError):
                # A value of another type than the rule is for cannot work either.
                good = False
            if not good:
                problems.append(f"{name}={shown!r} cannot work: {fix}")
    return problems


def _number(low: float, high: float) -> Callable[[Any], bool]:
    # True is an int, but no number of anything.
    return lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and low <= value <= high


def _is_url(value: str) -> bool:
    parts = urlsplit(value)
    # `port` raises for what cannot be one, which counts as wrong.
    return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0


def _are_objectives(value: Mapping[str, float]) -> bool:
    return all(isinstance(k, str) and _number(0.001, 3600)(v) for k, v in value.items())


def _are_statuses(value: Mapping[str, Sequence[int]]) -> bool:
    return all(isinstance(k, str) and all(400 <= int(status) <= 599 for status in v) for k, v in value.items())


def _are_propagators(names: Sequence[str]) -> bool:
    return all(name in (*W3C, "none") or _installed("propagator", name) for name in names)


def _installed(group: str, name: str) -> bool:
    """Whether some distribution registers `name`; asked only for names that are not OpenTelemetry's own."""
    if group == "id_generator" and name == "random":
        return True
    from importlib.metadata import entry_points

    return bool(entry_points(group=f"opentelemetry_{group}", name=name))


W3C = ("tracecontext", "baggage")
_LIMITS = ("event_count", "link_count", "event_attribute_count", "link_attribute_count")
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("service", lambda v: isinstance(v, str) and len(v) <= 64, "use a short name"),
    ("endpoint", _is_url, "use a URL such as http://127.0.0.1:4318"),
    ("timeout_s", _number(0.1, 300), "use 0.1 to 300 seconds"),
    ("compression", lambda v: v in ("none", "gzip"), "use none or gzip"),
    ("protocol", lambda v: v in PROTOCOLS, "use " + " or ".join(PROTOCOLS)),
    ("sampler", lambda v: v in SAMPLERS or _installed("traces_sampler", v), "use one of " + ", ".join(SAMPLERS)),
    ("id_generator", lambda v: _installed("id_generator", v), "use random, or install the one named"),
    ("propagators", _are_propagators, "use tracecontext,baggage or none, or install the one named"),
    ("span_exporters", lambda v: all(_installed("traces_exporter", n) for n in v), "use otlp or none, or install it"),
    ("queue", _number(1, 1_000_000), "use 1 to 1000000"),
    ("batch", _number(1, 65_536), "use 1 to 65536"),
    ("interval_s", _number(0.01, 300), "use 0.01 to 300 seconds"),
    ("shutdown_s", _number(0, 60), "use 0 to 60 seconds"),
    ("attribute_count", _number(1, 10_000), "use 1 to 10000"),
    ("log_queue", _number(0, 1_000_000), "use 1 to 1000000"),
    ("log_batch", _number(0, 65_536), "use 1 to 65536"),
    ("log_interval_s", _number(0, 300), "use 0.01 to 300 seconds"),
    ("attribute_length", _number(16, 1_000_000), "use 16 to 1000000 characters"),
    *((name, _number(0, 10_000), "use 0 to 10000") for name in _LIMITS),
    ("objectives", _are_objectives, "use seconds between 0.001 and 3600, as in {'GET /report': 5.0}"),
    ("bad_statuses", _are_statuses, "use statuses from 400 to 499, as in {'POST /login': (429,)}"),
    ("mesh_key", lambda v: v == "" or len(v) >= 16, "use at least 16 characters, the same in all services"),
    ("user_key", lambda v: v == "" or len(v) >= 16, "use at least 16 characters"),
    ("metrics_port", lambda v: v is None or _number(0, 65_535)(v), "use 0 to 65535, or None"),
    ("metrics_path", lambda v: v == "" or v.startswith("/"), "use a path that begins with /"),
    ("metrics_exporters", lambda v: {*v} <= {"otlp", "prometheus", "none"}, "use otlp, prometheus or none"),
    ("metrics_interval_s", _number(0.1, 3600), "use 0.1 to 3600 seconds"),
    ("histograms", lambda v: v in HISTOGRAMS, "use " + " or ".join(HISTOGRAMS)),
    ("log_stream", lambda v: v in ("stdout", "stderr", "none"), "use stdout, stderr or none"),
    ("engine", lambda v: v in ("firstcause", "opentelemetry"), "use firstcause or opentelemetry"),
)
