"""Indicators in PromQL: bad and all events in a window, always from counters, so that requests weigh alike.

While a series says NaN, what it is part of is unknown: without its share the ratio of the others would be wrong, in
either direction. Where good events are counted, a missing counter makes the bad ones unknown, not total: vanished
buckets page nobody.
"""

from __future__ import annotations

from .model import ENV, Latency, Level, Pattern, Ratio, Slo, bucket
from .selector import Selector, quote
from .timing import Timing

PATTERN_LEAST = 20
"""Events the usual window needs before a fall says anything."""


def total(slo: Slo, window: str) -> str:
    """All events in the window, by environment."""
    match slo.sli:
        case Ratio(counter):
            return counted(counter, window)
        case Latency(histogram, _, True):
            return f"histogram_count(sum by ({ENV}) (increase({histogram.over(window)})))"
        case Latency(histogram):
            return counted(histogram.named(histogram.name + "_count"), window)
        case _:
            return f"sum by ({ENV}) (count_over_time({sample(slo).over(window)}))"


def bad(slo: Slo, window: str, recorded_total: str) -> str:
    """The bad ones among them: zero where nothing counts them, unknown where NaN does."""
    match slo.sli:
        case Ratio(_, Selector() as counter, _):
            # Zero for what is missing belongs on the bad side only: vanished good events would page at 100 %.
            return f"({_increase(counter, window)} or on ({ENV}) {recorded_total} * 0) >= 0"
        case Level() | Pattern():
            return f"sum by ({ENV}) (sum_over_time({sample(slo).over(window)}))"
        case _:
            # Buckets can be a scrape ahead of their count, and more good ones than all are no bad ones.
            return f"clamp_min({recorded_total} - on ({ENV}) {_good(slo, window)}, 0) >= 0"


def _good(slo: Slo, window: str) -> str:
    match slo.sli:
        case Ratio(_, _, Selector() as counter):
            return _whole(counter, slo.selectors[0], window)
        case Latency(histogram, within_s, True):
            both = f"sum by ({ENV}) (increase({histogram.over(window)}))"
            return f"(histogram_fraction(0, {within_s:g}, {both}) * histogram_count({both}))"
        case Latency() as latency:
            return _whole(bucket(latency), slo.selectors[0], window)
    raise TypeError(slo.sli)


def _whole(good: Selector, every: Selector, window: str) -> str:
    """Good events, as if their counter had been there as long as that of all events, if it is there now.

    Buckets that vanish, or come back, in the middle of a window would make all events of the gap bad. Where the same
    processes went on counting from its begin to its end, their increase has the gap in it already.
    """
    ranged = good.over(window)
    seen = f"sum by ({ENV}) (count_over_time({every.over(window)}))"
    covered = f"clamp_min({seen} / on ({ENV}) sum by ({ENV}) (count_over_time({ranged})), 1)"
    partial = (
        # Restarts, and series that ended, in one pass over the window.
        f"sum by ({ENV}) (resets({ranged}) + 1) > on ({ENV}) count by ({ENV}) ({good})",
        f"count by ({ENV}) ({every} offset {window}) unless on ({ENV}) {good} offset {window}",
        f"max by ({ENV}) (timestamp({good})) < on ({ENV}) max by ({ENV}) (timestamp({every}))",
    )
    either = f" or on ({ENV}) ".join(f"({one})" for one in partial)
    factor = f"(({covered} and on ({ENV}) ({either})) or on ({ENV}) ({seen} * 0 + 1))"
    return f"({_increase(good, window)} * on ({ENV}) {factor} and on ({ENV}) {good})"


def counted(counter: Selector, window: str, *labels: str) -> str:
    """The increase of a counter by environment and `labels`; the filter drops NaN."""
    return f"({_increase(counter, window, *labels)} >= 0)"


def _increase(counter: Selector, window: str, *labels: str) -> str:
    return f"sum by ({', '.join((ENV, *labels))}) (increase({counter.over(window)}))"


def bad_by(slo: Slo, window: str, label: str) -> str:
    """Bad events by one more label; empty for indicators that have none."""
    match slo.sli:
        case Ratio(_, Selector() as counter, _):
            return counted(counter, window, label)
        case Ratio(all_of, _, Selector() as counter):
            every, by = counted(all_of, window, label), f"on ({ENV}, {label})"
            # A counter of good ones is born with the first: where all fail there is none.
            return f"{every} - {by} ({counted(counter, window, label)} or {by} {every} * 0)"
        case Latency(histogram, _, False) as latency:
            count = histogram.named(histogram.name + "_count")
            return f"{counted(count, window, label)} - {counted(bucket(latency), window, label)}"
    return ""


def histogram(slo: Slo) -> Selector | None:
    """The durations behind an indicator, for its p99."""
    match slo.sli:
        case Latency(found):
            return found
        case Ratio(counter) if counter.name.endswith("_count"):
            return counter.named(counter.name.removesuffix("_count"))
    return None


def p99(slo: Slo, window: str) -> str:
    """From native buckets where there are any, else from classic ones; seconds."""
    found = histogram(slo)
    if found is None:
        return ""
    return quantile(0.99, found, ENV, window)


def quantile(part: float, found: Selector, by: str, window: str) -> str:
    """A quantile from native buckets where there are any, else from classic ones."""
    buckets = found.named(found.name + "_bucket")
    native = f"histogram_quantile({part}, sum by ({by}) (rate({found.over(window)})))"
    classic = f"histogram_quantile({part}, sum by ({by}, le) (rate({buckets.over(window)})))"
    # A quantile of no requests is NaN, which a page would print.
    return f"({native} or on ({by}) {classic}) >= 0"


# -- samples ----------------------------------------------------------------------------------------


def sample(slo: Slo) -> Selector:
    """The recorded samples of an indicator that is no counter: 1 bad, 0 good."""
    from .selector import parse

    return parse(f"slo:sample:bad{{slo={quote(slo.name)}}}")


def sampled(slo: Slo, timing: Timing) -> str:
    """What records one sample; empty for counters."""
    match slo.sli:
        case Level(query, good_if, value, age):
            # The worst series decides; the filter drops NaN, which every comparison would call good.
            worst = "max" if good_if.startswith("<") != age else "min"
            given = f"time() - {worst} by ({ENV}) ({query})" if age else f"{worst} by ({ENV}) ({query})"
            return f"(({given}) >= -Inf) {_opposite(good_if)} bool {value:g}"
        case Pattern(counter, at_least, window_s):
            return _pattern(counter, at_least, timing(window_s), timing)
    return ""


def _pattern(counter: Selector, at_least: float, window: str, timing: Timing) -> str:
    now = counted(counter, window)
    day, week = (
        f"sum by ({ENV}) (increase({counter.over(window)} offset {timing(days * 86_400)}) >= 0)" for days in (1, 7)
    )
    # The lesser of both: an unusually busy day must not make a usual one look like a fall.
    usual = f"(({day} < on ({ENV}) {week}) or on ({ENV}) {week} or on ({ENV}) {day})"
    enough = f"({usual} >= {PATTERN_LEAST})"
    # A counter that is missing may not be born yet, so it counts nothing; what says NaN is not known.
    unknown = f"({_increase(counter, window)} != {_increase(counter, window)})"
    none = f"({enough} * 0 unless on ({ENV}) {unknown})"
    return f"({now} or on ({ENV}) {none}) < bool on ({ENV}) ({at_least:g} * {enough})"


def _opposite(good_if: str) -> str:
    return {"<=": ">", "<": ">=", ">=": "<", ">": "<="}[good_if]
