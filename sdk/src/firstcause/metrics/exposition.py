"""`/metrics`, served by `prometheus_client` over our cells."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .. import conventions
from .._guard import self_counts
from ..conventions import BY_NAME, prometheus_label, prometheus_name

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from .cells import Histogram, Metrics

_STARTED = time.time()


def collector(metrics: Metrics) -> Collector:
    """A collector over `metrics`, to register wherever the host exposes its own series."""
    from prometheus_client.registry import Collector

    class Cells(Collector):
        def collect(self) -> Iterable[Any]:
            return _families(metrics)

    return Cells()


def serve(metrics: Metrics, host: str, port: int) -> int:
    """Serve `/metrics` (ours and the default registry's) from a daemon thread; returns the port."""
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector(metrics))
    registry.register(_Everything(REGISTRY))
    server, _thread = start_http_server(port, host, registry)
    return int(server.server_port)


class _Everything:
    """The user's own default registry, as one collector among ours."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Any]:
        families: Iterable[Any] = self._registry.collect()
        return families

    def describe(self) -> Sequence[Any]:
        return ()


class _Names:
    """Constant labels of every series, and an instrument's own in order."""

    def __init__(self, metrics: Metrics) -> None:
        wanted = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
        given = [(prometheus_label(name), metrics.labels.get(name, "")) for name in wanted]
        self.names = [name for name, value in given if value]
        self.values = [value for _name, value in given if value]


def _families(metrics: Metrics) -> Iterator[Any]:
    names = _Names(metrics)
    yield _histograms(names, "http.server.request.duration", metrics.server)
    yield _histograms(names, "firstcause.message.duration", metrics.messages)
    active = {(): float(metrics.in_flight())}
    yield _simple(names, "http.server.active_requests", (), active)
    yield _simple(names, "firstcause.request.time", ("http.route", "resource"), metrics.time)
    bad = tuple(BY_NAME["firstcause.request.bad"].attributes)
    yield _simple(names, "firstcause.request.bad", bad, metrics.bad)
    yield _simple(names, "firstcause.request.excess", bad, metrics.excess)
    details = dict.fromkeys(list(metrics.details), 1.0)
    yield _simple(names, "firstcause.cause.detail", ("culprit.service", "cause", "detail"), details)
    yield _simple(names, "firstcause.deploy.time", (), {(): _STARTED})
    readings = {(resource,): reading for resource, reading in metrics.readings().items()}
    for place, what in enumerate(("in_use", "limit", "waiting")):
        values = {key: reading[place] for key, reading in readings.items()}
        yield _simple(names, f"firstcause.resource.{what}", ("resource",), values)
    yield from _selves(names)


def _simple(names: _Names, name: str, attributes: Sequence[str], cells: Any) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    instrument = BY_NAME[name]
    family = CounterMetricFamily if instrument.kind == conventions.COUNTER else GaugeMetricFamily
    labels = [*names.names, *map(prometheus_label, attributes)]
    made = family(prometheus_name(instrument), instrument.description, labels=labels)
    for key, value in list(cells.items()):
        made.add_metric([*names.values, *key], value)
    return made


def _histograms(names: _Names, name: str, cells: dict[Any, Histogram]) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    instrument = BY_NAME[name]
    labels = [*names.names, *map(prometheus_label, instrument.attributes)]
    made = HistogramMetricFamily(prometheus_name(instrument), instrument.description, labels=labels)
    for key, cell in list(cells.items()):
        made.add_metric([*names.values, *map(str, key)], _buckets(cell), cell.sum)
    return made


def _buckets(cell: Histogram) -> list[Any]:
    from prometheus_client.samples import Exemplar
    from prometheus_client.utils import floatToGoString

    edges = [*map(floatToGoString, cell.edges), "+Inf"]
    found: list[Any] = []
    for place, total in enumerate(accumulate(list(cell.counts))):
        exemplar = cell.exemplars.get(place)
        if exemplar is None:
            found.append((edges[place], total))
        else:
            trace_id, seconds, at_s = exemplar
            found.append((edges[place], total, Exemplar({"trace_id": f"{trace_id:032x}"}, seconds, at_s)))
    return found


def _selves(names: _Names) -> Iterator[Any]:
    counts: dict[str, dict[tuple[str, ...], int]] = {}
    for (name, pairs), value in self_counts().items():
        instrument = BY_NAME.get(name)
        if instrument is not None:
            given = dict(pairs)
            key = tuple(given.get(attribute, "") for attribute in instrument.attributes)
            cells = counts.setdefault(name, {})
            cells[key] = cells.get(key, 0) + value
    for name, cells in counts.items():
        yield _simple(names, name, tuple(BY_NAME[name].attributes), cells)
