"""OTLP requests for metrics, without protobuf's runtime, in the manner of `export.otlp`.

Cumulative, one point per series. Identity (service, instance) is the resource's; an attribute without a
value is left out. Field numbers: `opentelemetry-proto`, metrics.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any

from ..export.protobuf import pairs, sized, text_field, varint
from .buckets import Buckets, Exponential
from .exposition import classic
from .families import COUNTER, HISTOGRAM, UPDOWN, Distribution, Exemplar, Family, Number

SCOPE = b"\x0a" + sized(text_field(b"\x0a", "firstcause"))
_fixed64, _double = Struct("<Q").pack, Struct("<d").pack
_CUMULATIVE = b"\x10\x02"


def encode_metrics(
    resource: Mapping[str, Any], families: Iterable[Family], born_ns: int, now_ns: int, *, explicit: bool = False
) -> bytes:
    """An `ExportMetricsServiceRequest`; empty when there is nothing to say.

    `explicit` sends the classic buckets instead of the exponential ones.
    """
    times = b"\x11" + _fixed64(born_ns) + b"\x19" + _fixed64(now_ns)
    made = [_metric(family, times, explicit=explicit) for family in families if family.points]
    if not made:
        return b""
    scope = SCOPE + b"".join(b"\x12" + sized(metric) for metric in made)
    body = b"\x0a" + sized(pairs(b"\x0a", resource.items())) + b"\x12" + sized(scope)
    return b"\x0a" + sized(body)


def _metric(family: Family, times: bytes, *, explicit: bool) -> bytes:
    head = text_field(b"\x0a", family.name) + text_field(b"\x12", family.description) + text_field(b"\x1a", family.unit)
    if family.kind == HISTOGRAM:
        return head + _histograms(family.points, times, explicit=explicit)
    points = b"".join(b"\x0a" + sized(_number(point, times)) for point in family.points if isinstance(point, Number))
    if family.kind == COUNTER:
        return head + b"\x3a" + sized(points + _CUMULATIVE + b"\x18\x01")
    if family.kind == UPDOWN:
        return head + b"\x3a" + sized(points + _CUMULATIVE)
    return head + b"\x2a" + sized(points)


def _attributes(tag: bytes, labels: Mapping[str, str]) -> bytes:
    return pairs(tag, [pair for pair in labels.items() if pair[1] != ""])


def _number(point: Number, times: bytes) -> bytes:
    return times + b"\x21" + _double(point.value) + _attributes(b"\x3a", point.labels)


def _histograms(points: Iterable[Number | Distribution], times: bytes, *, explicit: bool) -> bytes:
    """One metric is of one kind: exponential when all its points are."""
    found = [point for point in points if isinstance(point, Distribution)]
    if not explicit and all(point.exponential is not None for point in found):
        return b"\x52" + sized(b"".join(b"\x0a" + sized(_exponential(p, times)) for p in found) + _CUMULATIVE)
    return b"\x4a" + sized(b"".join(b"\x0a" + sized(_explicit(p, times)) for p in found) + _CUMULATIVE)


def _explicit(point: Distribution, times: bytes) -> bytes:
    edges, counts = classic(point)
    return b"".join([
        times, b"\x21", _fixed64(sum(counts)), b"\x29", _double(point.sum),
        b"\x32" + sized(b"".join(map(_fixed64, counts))), b"\x3a" + sized(b"".join(map(_double, edges))),
        *(b"\x42" + sized(_exemplar(exemplar)) for exemplar in point.exemplars), _attributes(b"\x4a", point.labels),
    ])  # fmt: skip


def _exponential(point: Distribution, times: bytes) -> bytes:
    made = point.exponential or Exponential()
    return b"".join([
        _attributes(b"\x0a", point.labels), times, b"\x21", _fixed64(made.count), b"\x29", _double(point.sum),
        b"\x30", _zigzag(made.schema), b"\x39", _fixed64(made.zero_count),
        _filled(made.positive),
        *(b"\x5a" + sized(_exemplar(exemplar)) for exemplar in point.exemplars),
        b"\x71", _double(made.zero_threshold),
    ])  # fmt: skip


def _filled(buckets: Buckets) -> bytes:
    """OpenTelemetry numbers a bucket by its lower bound, Prometheus by its upper one."""
    if not buckets.counts:
        return b""
    counts = b"".join(map(varint, buckets.counts))
    return b"\x42" + sized(b"\x08" + _zigzag(buckets.first - 1) + b"\x12" + sized(counts))


def _exemplar(exemplar: Exemplar) -> bytes:
    body = b"\x11" + _fixed64(exemplar.at_ns) + b"\x19" + _double(exemplar.value)
    if exemplar.span_id:
        body += b"\x22\x08" + exemplar.span_id.to_bytes(8, "big")
    return body + b"\x2a\x10" + exemplar.trace_id.to_bytes(16, "big")


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)
