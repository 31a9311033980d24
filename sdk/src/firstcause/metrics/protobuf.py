"""Prometheus' protobuf exposition (`io.prometheus.client.MetricFamily`, delimited): classic and native buckets at once.

The only scrape format of Prometheus 3 that carries native histograms and is no draft; `prometheus_client` does not
write it. Field numbers: client_model, metrics.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from struct import Struct
from typing import Any

from ..export.protobuf import sized, text_field, varint
from .buckets import Buckets, Exponential, spans
from .exposition import by_bucket, classic
from .families import COUNTER, HISTOGRAM, Distribution, Exemplar, Family, Number, prometheus_label, prometheus_name

_COUNTER, _GAUGE, _SUMMARY, _UNTYPED, _HISTOGRAM = range(5)
_TYPES = {"counter": _COUNTER, "summary": _SUMMARY, "unknown": _UNTYPED, "histogram": _HISTOGRAM}
_VALUE_FIELDS = {_GAUGE: b"\x12", _COUNTER: b"\x1a", _UNTYPED: b"\x2a"}
"""Tags of the messages in `Metric` that hold one value each."""
_double = Struct("<d").pack


def encode(families: Iterable[Family], constant: Mapping[str, str]) -> bytes:
    """Our families, one delimited message each."""
    return b"".join(_family(family, constant) for family in families)


def _family(family: Family, constant: Mapping[str, str]) -> bytes:
    name = prometheus_name(family.name, family.unit, family.kind)
    kind = _TYPES.get(family.kind, _GAUGE)
    head = b"".join(_label(*pair) for pair in constant.items())
    metrics = [_metric(point, kind, head) for point in family.points]
    return _message(name + "_total" if family.kind == COUNTER else name, family.description, kind, metrics)


def _message(name: str, text: str, kind: int, metrics: list[bytes]) -> bytes:
    body = text_field(b"\x0a", name) + text_field(b"\x12", text) + b"\x18" + varint(kind)
    return sized(body + b"".join(b"\x22" + sized(metric) for metric in metrics))


def _metric(point: Number | Distribution, kind: int, head: bytes) -> bytes:
    labels = head + b"".join(_label(prometheus_label(name), value) for name, value in point.labels.items())
    if isinstance(point, Distribution):
        return labels + b"\x3a" + sized(_histogram(point))
    return labels + _value(kind, point.value)


def _value(kind: int, value: float) -> bytes:
    return _VALUE_FIELDS[kind] + sized(b"\x09" + _double(value))


def _label(name: str, value: str) -> bytes:
    return b"\x0a" + sized(text_field(b"\x0a", name) + text_field(b"\x12", value))


def _histogram(point: Distribution) -> bytes:
    """Both kinds of buckets share one count, which Prometheus checks against the native ones."""
    edges, counts = classic(point)
    native = point.exponential
    total = sum(counts) if native is None else native.count
    exemplars = by_bucket(point, edges)
    parts = [b"\x08", varint(total), b"\x11", _double(point.sum)]
    for place, below in enumerate(accumulate(counts[: len(edges)])):
        # A process read between its two additions may be one ahead here.
        parts.append(b"\x1a" + sized(_bucket(min(below, total), edges[place], exemplars.get(place))))
    if len(edges) in exemplars:
        parts.append(b"\x1a" + sized(_bucket(total, float("inf"), exemplars[len(edges)])))
    if native is not None:
        parts.append(_native(native))
        parts += [b"\x82\x01" + sized(_exemplar(exemplar)) for exemplar in sorted(exemplars.values(), key=_at)]
    return b"".join(parts)


def _at(exemplar: Exemplar) -> int:
    return exemplar.at_ns


def _bucket(below: int, edge: float, exemplar: Exemplar | None) -> bytes:
    body = b"\x08" + varint(below) + b"\x11" + _double(edge)
    return body if exemplar is None else body + b"\x1a" + sized(_exemplar(exemplar))


def _exemplar(exemplar: Exemplar) -> bytes:
    seconds, nanos = divmod(exemplar.at_ns, 1_000_000_000)
    at = b"\x08" + varint(seconds) + b"\x10" + varint(nanos)
    return _label("trace_id", f"{exemplar.trace_id:032x}") + b"\x11" + _double(exemplar.value) + b"\x1a" + sized(at)


def _native(native: Exponential) -> bytes:
    parts = [b"\x28", _zigzag(native.schema), b"\x31", _double(native.zero_threshold)]
    parts += [b"\x38", varint(native.zero_count), _filled(native.positive)]
    if not native.count and not native.zero_threshold:
        parts.append(b"\x62" + sized(b""))  # an empty span: else it would be taken for a classic histogram
    return b"".join(parts)


def _filled(buckets: Buckets) -> bytes:
    """Spans of neighbouring buckets, then each count as the difference to the one before, packed."""
    found, deltas, before = [], [], 0
    for gap, counts in spans(buckets):
        found.append(b"\x62" + sized(b"\x08" + _zigzag(gap) + b"\x10" + varint(len(counts))))
        for n in counts:
            deltas.append(_zigzag(n - before))
            before = n
    return b"".join(found) + (b"\x6a" + sized(b"".join(deltas)) if deltas else b"")


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


# -- the host's own families ----------------------------------------------------------------------


def encode_foreign(metrics: Iterable[Any]) -> bytes:
    """Families of `prometheus_client`; what the format has no type for becomes a gauge."""
    return b"".join(_foreign(metric) for metric in metrics)


def _foreign(metric: Any) -> bytes:
    kind = _TYPES.get(metric.type, _GAUGE)
    if kind in (_HISTOGRAM, _SUMMARY):
        return _message(metric.name, metric.documentation, kind, _composites(metric, kind))
    # Creation times are OpenMetrics' affair: here each would become a series of its own.
    samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    by_name: dict[str, list[bytes]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(_labels(sample.labels) + _value(kind, sample.value))
    return b"".join(_message(name, metric.documentation, kind, found) for name, found in by_name.items())


def _labels(labels: Mapping[str, str], *, without: str = "") -> bytes:
    return b"".join(_label(name, value) for name, value in labels.items() if name != without)


def _composites(metric: Any, kind: int) -> list[bytes]:
    """Histograms and summaries: samples that differ in `le` or `quantile` alone make one message."""
    own = "le" if kind == _HISTOGRAM else "quantile"
    heads: dict[bytes, list[bytes]] = {}
    for sample in metric.samples:
        body = heads.setdefault(_labels(sample.labels, without=own), [])
        if sample.name.endswith("_count"):
            body.append(b"\x08" + varint(int(sample.value)))
        elif sample.name.endswith("_sum"):
            body.append(b"\x11" + _double(sample.value))
        elif own in sample.labels:
            place = float(sample.labels[own])
            pair = (
                b"\x08" + varint(int(sample.value)) + b"\x11" + _double(place) + _foreign_exemplar(sample.exemplar)
                if kind == _HISTOGRAM
                else b"\x09" + _double(place) + b"\x11" + _double(sample.value)
            )
            body.append(b"\x1a" + sized(pair))
    tag = b"\x3a" if kind == _HISTOGRAM else b"\x22"
    return [head + tag + sized(b"".join(body)) for head, body in heads.items()]


def _foreign_exemplar(exemplar: Any) -> bytes:
    if exemplar is None:
        return b""
    body = _labels(exemplar.labels) + b"\x11" + _double(exemplar.value)
    if exemplar.timestamp is not None:
        seconds, nanos = divmod(int(float(exemplar.timestamp) * 1e9), 1_000_000_000)
        body += b"\x1a" + sized(b"\x08" + varint(seconds) + b"\x10" + varint(nanos))
    return b"\x1a" + sized(body)


__all__ = ["HISTOGRAM", "encode", "encode_foreign"]
