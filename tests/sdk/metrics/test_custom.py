"""The host's own metrics by OpenTelemetry's API: recorded by the stock SDK, shown by us, bounded."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.metrics import Observation

from firstcause import _guard
from firstcause.conventions import SECONDS
from firstcause.metrics import Metrics
from firstcause.metrics.custom import MAX_SERIES, LazyMeterProvider, families, merge_custom, subtract
from firstcause.metrics.exposition import Exposition
from tests.sdk.metrics.scraped import LABELS, OPENMETRICS, samples, value


@pytest.fixture
def meters() -> LazyMeterProvider:
    """A provider with exponential histograms."""
    return LazyMeterProvider(LABELS, explicit=False)


@pytest.fixture
def metrics(meters: LazyMeterProvider) -> Metrics:
    """Metrics that show what `meters` records."""
    made = Metrics(LABELS)
    made.custom = meters.collect
    return made


def test_no_sdk_before_the_first_meter(meters: LazyMeterProvider) -> None:
    """A host without metrics of its own pays nothing."""
    assert [] == meters.collect()
    assert meters._made is None


def test_counters_gauges_and_observables_are_served(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """Names as Prometheus' OTLP receiver makes them, attributes as labels."""
    meter = meters.get_meter("host")
    meter.create_counter("orders.paid", "{order}").add(3, {"plan": "free", "paid": True})
    meter.create_up_down_counter("open.carts").add(-2)
    meter.create_gauge("room.temperature", "Cel").set(21.5)
    meter.create_observable_counter("bytes.read", [lambda _options: [Observation(7, {"disk": "a"})]], "By")
    assert 3 == value(metrics, "orders_paid_total", plan="free", paid="true")
    assert -2 == value(metrics, "open_carts")
    assert 21.5 == value(metrics, "room_temperature_celsius")
    assert 7 == value(metrics, "bytes_read_total", disk="a")


def test_a_histogram_is_exponential_and_classic_at_powers_of_two(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """Text shows exact counts at powers of two; sum and count are the values'."""
    histogram = meters.get_meter("host").create_histogram("basket.value", "{euro}")
    for amount in (0.5, 3.0, 3.5, 100.0):
        histogram.record(amount)
    found = {dict(k)["le"]: v for (name, k), v in samples(metrics).items() if name == "basket_value_bucket"}
    assert (1, 3, 4) == (found["0.5"], found["4.0"], found["128.0"])
    assert (4, 107) == (value(metrics, "basket_value_count"), value(metrics, "basket_value_sum"))


def test_edges_that_an_instrument_advises_are_kept(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """Who names edges wants them."""
    meter = meters.get_meter("host")
    meter.create_histogram("size", explicit_bucket_boundaries_advisory=[1, 10]).record(5)
    assert 1 == value(metrics, "size_bucket", le="10.0")
    assert 0 == value(metrics, "size_bucket", le="1.0")


def test_explicit_buckets_of_seconds_are_not_the_sdks_milliseconds() -> None:
    """The SDK's default edges begin at 5: in seconds every request would be in the first bucket."""
    meters = LazyMeterProvider(LABELS, explicit=True)
    meters.get_meter("host").create_histogram("wait", "s").record(0.03)
    (family,) = families(meters.collect())
    assert list(SECONDS) == family.points[0].edges  # type: ignore[union-attr]


def test_attribute_sets_are_bounded(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """A label per user becomes one series beyond the bound, and no memory."""
    _guard.reset_self_counts()
    meter = meters.get_meter("host")
    counter = meter.create_counter("logins")
    for user in range(MAX_SERIES + 50):
        counter.add(1, {"user": str(user)})
    assert 50 == value(metrics, "logins_total", otel_metric_overflow="true")
    assert MAX_SERIES + 1 == sum(name == "logins_total" for name, _labels in samples(metrics))
    assert 50 == _guard.self_counts()["firstcause.self.overflow", (("attribute", "logins"),)]


def test_a_name_of_ours_is_ours(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """Another instrumentation's server durations would double the requests: left out and counted."""
    _guard.reset_self_counts()
    meters.get_meter("contrib").create_histogram("http.server.request.duration", "s").record(1)
    assert 0 == sum(name.startswith("http_server_request_duration") for name, _labels in samples(metrics))
    assert _guard.self_counts()["firstcause.self.dropped", (("reason", "duplicate"), ("signal", "metrics"))] >= 1


def test_what_a_fork_inherits_is_the_parents(meters: LazyMeterProvider) -> None:
    """The child shows what it added; gauges it shows as they are."""
    meter = meters.get_meter("host")
    counter, histogram, gauge = meter.create_counter("c"), meter.create_histogram("h"), meter.create_gauge("g")
    counter.add(5)
    histogram.record(2.0)
    gauge.set(9)
    meters.before_fork()
    meters.after_fork()
    counter.add(1)
    histogram.record(2.0)
    found = {family.name: family.points[0] for family in families(meters.collect())}
    assert (1, 1, 9) == (found["c"].value, found["h"].count, found["g"].value)  # type: ignore[union-attr]


def _counter(**points: float) -> dict[str, Any]:
    return {"name": "c", "unit": "", "description": "", "kind": "counter",
            "points": [{"labels": {"a": label}, "value": n} for label, n in points.items()]}  # fmt: skip


def test_processes_add_up() -> None:
    """Counters sum by labels; a gauge is said by one."""
    (merged,) = merge_custom([[_counter(x=1, y=2)], [_counter(y=3, z=4)]])
    assert {"x": 1, "y": 5, "z": 4} == {point["labels"]["a"]: point["value"] for point in merged["points"]}
    gauges = [[{**_counter(x=n), "kind": "gauge"}] for n in (7, 8)]
    (gauge,) = merge_custom(gauges)
    assert [7] == [point["value"] for point in gauge["points"]]


def test_an_observable_that_begins_anew_in_the_child_stands() -> None:
    """A value below the inherited one cannot contain it."""
    (left,) = subtract([_counter(x=2)], [_counter(x=5)])
    assert [2] == [point["value"] for point in left["points"]]


def test_custom_metrics_are_valid_openmetrics(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """The reference parser takes them all."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    meter = meters.get_meter("host")
    meter.create_counter("a.total", "1").add(1, {"x": 'quote " and \n line'})
    meter.create_histogram("empty").record(0)
    text = Exposition(metrics).render(OPENMETRICS)[1].decode()
    found = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    assert {"a", "empty"} <= {family.name for family in found}


def test_what_the_sdk_would_raise_the_host_does_not_get(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """A name that cannot be gives an instrument that does nothing; an attribute that raises costs its measurement."""

    class Nasty:
        def __hash__(self) -> int:
            raise RuntimeError("on purpose")

    meter = meters.get_meter("host")
    assert meter is meters.get_meter("host")
    meter.create_counter("no such name").add(1)
    orders = meter.create_counter("orders")
    orders.add(1, {"customer": Nasty()})  # type: ignore[dict-item]
    orders.add("many")  # type: ignore[arg-type]
    orders.add(2)
    meter.create_histogram("sizes").record(None)  # type: ignore[arg-type]
    meter.create_gauge("level").set(object())  # type: ignore[arg-type]
    assert 2 == value(metrics, "orders_total")


def test_a_child_has_locks_of_its_own(meters: LazyMeterProvider, metrics: Metrics) -> None:
    """Those of the SDK that were held at the fork are free, also in an instrument's series."""
    orders = meters.get_meter("host").create_counter("orders")
    orders.add(1)
    storages = meters.provider()._measurement_consumer._reader_storages
    held = [storages[reader]._lock for reader in storages]
    held += [match._lock for reader in storages for views in storages[reader]._instrument_view_instrument_matches.values() for match in views]
    for lock in held:
        lock.acquire()
    meters.after_fork()
    orders.add(2)
    assert 3 == value(metrics, "orders_total")
