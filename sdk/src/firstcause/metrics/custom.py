"""The host's own metrics: OpenTelemetry's Meter API, implemented by the stock SDK, read by us.

The SDK's provider is made when the first meter is asked for: a host without metrics of its own pays
nothing. What it counts is turned into plain lists, so that processes can leave theirs to one another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, cast

import orjson
from opentelemetry import metrics as api

from .._guard import count, guard, report
from ..conventions import BY_NAME, SECONDS
from ..logs.redaction import redact_attributes
from .buckets import SCHEMA, Buckets, Exponential
from .families import COUNTER, GAUGE, HISTOGRAM, UPDOWN, Distribution, Exemplar, Family, Number

MAX_SERIES = 1000
"""Attribute sets per instrument; the rest is one series with `otel.metric.overflow`, as the specification says."""
MAX_INSTRUMENTS = 1000
MAX_EXEMPLARS = 16
MAX_BUCKETS = 1024
MAX_LABEL = 256
OVERFLOW = {"otel.metric.overflow": True}
Item = dict[str, Any]
"""One instrument as plain data: name, unit, description, kind, and points (see `_number` and `_distribution`)."""


class LazyMeterProvider(api.MeterProvider):
    """Makes the SDK's `MeterProvider` with the first meter, and is it from then on."""

    def __init__(self, resource: Mapping[str, Any], *, explicit: bool) -> None:
        self._resource, self._explicit = resource, explicit
        self.awake: Callable[[], None] = lambda: None
        """Called when a series is born."""
        self._lock = threading.RLock()
        self._made: Any = None
        self._reader: Any = None
        self._inherited: list[Item] = []
        self._before_fork: list[Item] = []

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> api.Meter:
        """See OpenTelemetry."""
        meter: api.Meter = self.provider().get_meter(name, version, schema_url, attributes)
        return _forgiving(meter)

    def provider(self) -> Any:
        """The SDK's provider, made now if need be."""
        with self._lock:
            if self._made is None:
                self._made, self._reader = _provider(self._resource, self._wake, explicit=self._explicit)
            return self._made

    def _wake(self) -> None:
        self.awake()

    def __getattr__(self, name: str) -> Any:
        # Whoever only inspects us must not make the SDK's provider.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.provider(), name)

    def collect(self) -> list[Item]:
        """What this process recorded; of what a fork brought along only what was added since."""
        if self._made is None:
            return []
        return subtract(self._collect(), self._inherited)

    def _collect(self) -> list[Item]:
        data = self._reader.get_metrics_data()
        return list(_items(data)) if data is not None else []

    def before_fork(self) -> None:
        """In the parent: remember what a child will inherit, which the parent still reports."""
        with guard("metrics.custom"):
            self._before_fork = [] if self._made is None else self._collect()

    def after_fork(self) -> None:
        """In the child."""
        self._lock = threading.RLock()
        self._inherited = self._before_fork
        with guard("metrics.custom"):
            _renew_locks(self._made)


def _provider(resource: Mapping[str, Any], awake: Callable[[], None], *, explicit: bool) -> tuple[Any, Any]:
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = InMemoryMetricReader(preferred_aggregation={Histogram: _by_advice(explicit=explicit)})
    # Its exit hook would run before ours, which is older, and the last reading would find it shut down.
    made = MeterProvider([reader], Resource(dict(resource)), shutdown_on_exit=False)
    for storage in made._measurement_consumer._reader_storages.values():
        # The SDK (1.45) has no bound of its own; every measurement of every instrument comes through here.
        storage.consume_measurement = cast(Any, _Bounded(storage.consume_measurement, awake))  # type: ignore[method-assign]
    return made, reader


def _by_advice(*, explicit: bool) -> Any:
    """Exponential buckets, unless the instrument or the configuration names edges."""
    from opentelemetry.sdk.metrics.view import (
        Aggregation,
        ExplicitBucketHistogramAggregation,
        ExponentialBucketHistogramAggregation,
    )

    class ByAdvice(Aggregation):
        def _create_aggregation(self, instrument: Any, *given: Any, **named: Any) -> Any:
            edges = getattr(getattr(instrument, "_advisory", None), "explicit_bucket_boundaries", None)
            if edges is None and explicit and instrument.unit == "s":
                edges = SECONDS  # the SDK's own are meant for milliseconds
            if edges is None and not explicit:
                chosen: Any = ExponentialBucketHistogramAggregation(MAX_BUCKETS, SCHEMA)
            else:
                chosen = ExplicitBucketHistogramAggregation(edges)
            return chosen._create_aggregation(instrument, *given, **named)

    return ByAdvice()


def _renew_locks(made: Any) -> None:
    """Fresh locks for the SDK's objects: a thread that is not in the child may have held theirs."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    seen, todo = set(), [made]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, (list, tuple, set)):
            todo += item
        elif type(item).__module__.startswith("opentelemetry.sdk.metrics") and id(item) not in seen:
            seen.add(id(item))
            held = getattr(item, "__dict__", {})
            for name, value in held.items():
                if isinstance(value, kinds):
                    setattr(item, name, threading.RLock() if isinstance(value, kinds[1]) else threading.Lock())
            todo += held.values()


def _forgiving(meter: api.Meter) -> api.Meter:
    """`meter`, giving an instrument that does nothing where the SDK would raise, as without us."""
    if "create_counter" not in vars(meter):
        nothing = api.NoOpMeter(meter.name)
        for name in [name for name in dir(api.Meter) if name.startswith("create_")]:
            setattr(meter, name, _forgiven(getattr(meter, name), getattr(nothing, name)))
    return meter


def _forgiven(create: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create)
    def made(*args: Any, **named: Any) -> Any:
        with guard("metrics.instrument"):
            return _sheltered(create(*args, **named))
        return instead(*args, **named)

    return made


def _sheltered(instrument: Any) -> Any:
    """The instrument; a value that is no number costs its measurement, where the SDK would raise."""
    for name in ("add", "record", "set"):
        take = getattr(instrument, name, None)
        if take is not None and name not in vars(instrument):
            setattr(instrument, name, _tried(take))
    return instrument


def _tried(take: Callable[..., None]) -> Callable[..., None]:
    @wraps(take)
    def tried(*args: Any, **named: Any) -> None:
        try:
            take(*args, **named)
        except Exception as error:  # the guard as a plain handler: this is a hot path
            if not report("metrics.measurement", error):
                raise

    return tried


class _Bounded:
    """Takes secrets out of attribute sets, folds those beyond `MAX_SERIES` of an instrument into one.

    Before they are counted, since two that differ by a secret only are one series. Drops instruments beyond the bound.
    """

    def __init__(self, consume: Callable[..., None], awake: Callable[[], None]) -> None:
        self._consume, self._awake = consume, awake
        self._seen: dict[Any, dict[Any, Mapping[str, Any] | None]] = {}

    def __call__(self, measurement: Any, *rest: Any) -> None:
        """Take one measurement; what an attribute of the host's raises is swallowed and counted."""
        try:
            self._take(measurement, *rest)
        except Exception as error:  # the guard as a plain handler: this is a hot path
            if not report("metrics.measurement", error):
                raise

    def _take(self, measurement: Any, *rest: Any) -> None:
        seen = self._seen.get(measurement.instrument)
        if seen is None:
            if len(self._seen) >= MAX_INSTRUMENTS:
                count("firstcause.self.overflow", attribute="instrument")
                return
            seen = self._seen.setdefault(measurement.instrument, {})
        attributes = measurement.attributes
        try:
            key: Any = frozenset(attributes.items()) if attributes else None
        except TypeError:  # a value that is a list or a mapping
            key = repr(attributes)
        instead = seen[key] if key in seen else self._first(seen, key, measurement)
        if instead is not None:
            measurement = replace(measurement, attributes=instead)
        self._consume(measurement, *rest)

    def _first(self, seen: dict[Any, Any], key: Any, measurement: Any) -> Mapping[str, Any] | None:
        """What an attribute set that was not seen before becomes; None when it may stay as it is."""
        self._awake()
        if len(seen) >= MAX_SERIES:
            count("firstcause.self.overflow", attribute=measurement.instrument.name)
            # Not remembered: beyond the bound a set must cost no memory either.
            return OVERFLOW
        given = measurement.attributes or {}
        clean = redact_attributes(given)
        instead = seen[key] = None if clean is given else clean
        return instead


# -- the SDK's data as plain items ----------------------------------------------------------------


def _items(data: Any) -> Iterator[Item]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = _kind(metric.data)
                read = _distribution if kind == HISTOGRAM else _number
                yield {
                    "name": metric.name, "unit": metric.unit or "", "description": metric.description or "",
                    "kind": kind, "points": [read(point) for point in metric.data.data_points],
                }  # fmt: skip


def _kind(data: Any) -> str:
    if hasattr(data, "is_monotonic"):
        return COUNTER if data.is_monotonic else UPDOWN
    return HISTOGRAM if hasattr(data, "aggregation_temporality") else GAUGE


def _number(point: Any) -> Item:
    return {"labels": _labels(point.attributes), "value": point.value}


def _distribution(point: Any) -> Item:
    found: Item = {"labels": _labels(point.attributes), "sum": point.sum, "exemplars": _exemplars(point)}
    if hasattr(point, "scale"):
        # OpenTelemetry numbers a bucket by its lower bound, Prometheus by its upper one.
        first, counts = point.positive.offset + 1, list(point.positive.bucket_counts)
        found["exponential"] = [point.scale, 0.0, point.zero_count, first, counts]
    else:
        found["edges"], found["counts"] = list(point.explicit_bounds), list(point.bucket_counts)
    return found


def _exemplars(point: Any) -> list[list[Any]]:
    return [
        [f"{e.trace_id:032x}", e.value, e.time_unix_nano, f"{e.span_id or 0:016x}"]
        for e in list(point.exemplars)[-MAX_EXEMPLARS:]
        if e.trace_id
    ]


def _labels(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(name): _text(value)[:MAX_LABEL] for name, value in (attributes or {}).items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        # A lone surrogate would keep the whole state from being written.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (bool, list, tuple, dict)):
        return orjson.dumps(value, default=str).decode()
    return str(value)


# -- arithmetic over items ------------------------------------------------------------------------


def merge_custom(parts: Iterable[Iterable[Item]]) -> list[Item]:
    """Several processes' items as one: counts add up, of gauges the first said wins."""
    families: dict[tuple[str, str, str], Item] = {}
    points: dict[tuple[Any, ...], Item] = {}
    for part in parts:
        for item in part:
            key = (item["name"], item["unit"], item["kind"])
            into = families.setdefault(key, {**item, "points": []})
            for point in item["points"]:
                same = (*key, *sorted(point["labels"].items()))
                known = points.get(same)
                if known is None:
                    points[same] = dict(point)
                    into["points"].append(points[same])
                elif item["kind"] != GAUGE:
                    _add(known, point)
    return list(families.values())


def _add(known: Item, point: Item) -> None:
    if "value" in known:
        known["value"] += point["value"]
        return
    if "counts" in known:
        # Counts at other edges cannot be added: what was read first stays.
        if known["edges"] != point.get("edges"):
            return
        known["counts"] = [a + b for a, b in zip(known["counts"], point["counts"], strict=True)]
    elif "exponential" in point:
        known["exponential"] = _plain(_exponential(known).plus(_exponential(point)))
    known["sum"] += point["sum"]
    newest = sorted(known["exemplars"] + point["exemplars"], key=lambda exemplar: exemplar[2])
    known["exemplars"] = newest[-MAX_EXEMPLARS:]


def subtract(items: list[Item], inherited: list[Item]) -> list[Item]:
    """What was added since `inherited` was read."""
    counted = [item for item in inherited if item["kind"] != GAUGE]
    before = {(item["name"], *sorted(p["labels"].items())): p for item in counted for p in item["points"]}
    for item in items:
        for point in item["points"]:
            old = before.get((item["name"], *sorted(point["labels"].items())))
            if old is not None and item["kind"] != GAUGE:
                _take_off(item["kind"], point, old)
    return items


def _take_off(kind: str, point: Item, old: Item) -> None:
    if "value" in point:
        # An observable may say its own process's value, which is less than the parent's: then it stands.
        if kind == UPDOWN or point["value"] >= old["value"]:
            point["value"] -= old["value"]
        return
    point["sum"] -= old["sum"]
    if "counts" in point:
        point["counts"] = [max(0, a - b) for a, b in zip(point["counts"], old["counts"], strict=False)]
    else:
        point["exponential"] = _plain(_exponential(point).minus(_exponential(old)))


def _exponential(point: Item) -> Exponential:
    schema, threshold, zeros, first, counts = point["exponential"]
    return Exponential(schema, threshold, zeros, Buckets(first, list(counts)))


def _plain(made: Exponential) -> list[Any]:
    return [made.schema, made.zero_threshold, made.zero_count, made.positive.first, made.positive.counts]


def families(items: Iterable[Item]) -> Iterator[Family]:
    """The items as families. Those that bear a name of ours are left out and counted: ours wins."""
    for item in items:
        if item["name"] in BY_NAME:
            count("firstcause.self.dropped", signal="metrics", reason="duplicate")
            continue
        with guard("metrics.custom"):
            points = [_point(point) for point in item["points"]]
            yield Family(item["name"], item["unit"], item["kind"], item["description"], points)


def _point(point: Item) -> Number | Distribution:
    if "value" in point:
        return Number(point["labels"], point["value"])
    exponential = _exponential(point) if "exponential" in point else None
    exemplars = [Exemplar(int(e[0], 16), e[1], e[2], int(e[3], 16)) for e in point["exemplars"]]
    return Distribution(
        point["labels"], point["sum"], point.get("edges", []), point.get("counts", []), exponential, exemplars
    )  # fmt: skip
