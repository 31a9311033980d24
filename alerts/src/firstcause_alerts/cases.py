"""Tests of the rules for promtool: each alert is made to fire, and kept quiet by healthy series.

They ask for `ALERTS` by expression instead of listing alerts, so that a changed wording breaks no test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .causes import near_s
from .durations import promql
from .model import Latency, Level, Pattern, Ratio, Slo, Spec, bucket
from .selector import Selector, parse, quote
from .tickets import Row, table

Series = dict[str, str]
"""Series to promtool's notation of its values."""
SAMPLES, RATE = 5, 60
"""Scrapes per shortest window, and events per scrape."""
EACH_S, SLOW_EACH_S = 60, 600
# Each longer than the shortest window, which so fills with the fault, and then is free of it.
BURN, AFTER = 12, 10
"""Scrapes of a fault, and of good traffic after it."""
# Scrapes of a minute: more than Prometheus' look-back of five and the ten that `SLIAbsent` waits.
GONE = 30
# `CauseLasting` waits for four hours, longer than any other row of the table.
TICKET_S = 6 * 3600
DAY_S = 86_400
QUICKEST = -10
"""The bucket of a native histogram that ends below a millisecond, the least objective there is."""


def files(spec: Spec) -> dict[str, Any]:
    """File name to content; the slow one is evaluated every ten minutes, since it covers a day."""
    quick = [_burning(slos) for slos in _together(spec)]
    slow = [case for slo in spec.slos if isinstance(slo.sli, Pattern) for case in _fallen(slo)]
    return {
        "tests.yml": _file(EACH_S, [*quick, *_gone(spec), _quiet(spec)]),
        "tests-slow.yml": _file(SLOW_EACH_S, [*slow, *_tickets(table())]),
    }


def _file(each_s: int, cases: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rule_files": ["rules.yml"], "evaluation_interval": promql(each_s), "tests": cases}


def _case(name: str, each_s: int, series: Series, asked: Iterable[tuple[str, int, int]]) -> dict[str, Any]:
    """`asked`: a selector of ALERTS, the second, and how many must fire then."""
    return {
        "name": name,
        "interval": promql(each_s),
        "input_series": [{"series": one, "values": values} for one, values in sorted(series.items())],
        "promql_expr_test": [
            {
                # A count of nothing is empty, not 0, and could not be expected beside numbers.
                "expr": f'count(ALERTS{{alertstate="firing",{chosen}}}) or vector(0)',
                "eval_time": promql(at_s),
                "exp_samples": [{"labels": "{}", "value": count}],
            }
            for chosen, at_s, count in asked
        ],
    }


# -- objectives ---------------------------------------------------------------------------------------


def _together(spec: Spec) -> list[list[Slo]]:
    """Objectives that one test can burn at once: promtool evaluates every rule for every test."""
    found: list[tuple[tuple[object, ...], Series, list[Slo]]] = []
    for slo in (slo for slo in spec.slos if not isinstance(slo.sli, Pattern)):
        series, kind = _series(slo, BURN, AFTER), (type(slo.sli), near_s(slo))
        for key, known, slos in found:
            if key == kind and all(known.get(one, values) == values for one, values in series.items()):
                known.update(series)
                slos.append(slo)
                break
        else:
            found.append((kind, series, [slo]))
    return [slos for _kind, _series_of, slos in found]


def _burning(slos: list[Slo]) -> dict[str, Any]:
    """Everything is bad for a while, then good again."""
    # Samples are one per evaluation, whatever the scrape; the guard wants five of them.
    each = max(1, near_s(slos[0]) // SAMPLES)
    series: Series = {}
    asked: list[tuple[str, int, int]] = []
    for slo in slos:
        series |= _series(slo, BURN, AFTER)
        asked += _burn_asked(slo, BURN * each, (BURN + AFTER - 1) * each)
    return _case("burns, then recovers: " + ", ".join(slo.name for slo in slos), each, series, asked)


def _burn_asked(slo: Slo, burning_s: int, better_s: int) -> list[tuple[str, int, int]]:
    named = f"slo={quote(slo.name)}"
    slow = any(pair.tier == "ticket" for pair in slo.pairs)
    return [
        (f'alertname="SLOBurn",{named}', burning_s, 1),
        (f'alertname="SLORecovering",{named}', burning_s, 0),
        (f'alertname="SLORecovering",{named}', better_s, 1),
        *([(f'alertname="SLOSlowBurn",{named}', burning_s, 1)] if slow else []),
    ]


def _series(slo: Slo, bad: int, good: int) -> Series:
    match slo.sli:
        case Level() as level:
            return {_text(level.query): f"{_level(level, False)}+0x{bad} {_level(level, True)}+0x{good}"}
        case Pattern():
            raise TypeError("a pattern needs a day of history")
        case Latency(histogram, within_s, True):
            values = f"{_native(within_s)}+{_native(within_s, slow=RATE)}x{bad}"
            if good:
                values += f" {_native(within_s, RATE, RATE * bad)}+{_native(within_s, RATE)}x{good - 1}"
            return {_text(histogram): values}
    found = {}
    for series, while_bad, while_good in _counters(slo):
        # promtool's a+bxn is n + 1 samples, hence one less of the good ones.
        first = f"0+{while_bad}x{bad}"
        found[series] = first + (f" {while_bad * bad + while_good}+{while_good}x{good - 1}" if good else "")
    return found


def _counters(slo: Slo) -> Iterator[tuple[str, int, int]]:
    """Series with their pace while everything is bad, and while everything is good."""
    match slo.sli:
        case Ratio(total, Selector() as bad, _):
            yield _text(bad), RATE, 0
            yield (_text(_unlike(total, bad)), 0, RATE) if bad.name == total.name else (_text(total), RATE, RATE)
        case Ratio(total, _, Selector() as good):
            yield _text(_unlike(total, good)), RATE, 0
            yield _text(good), 0, RATE
        case Latency(histogram, _, False) as latency:
            yield _text(histogram.named(histogram.name + "_count")), RATE, RATE
            yield _text(bucket(latency)), 0, RATE
        case _:
            return


def _native(within_s: float, quick: int = 0, slow: int = 0) -> str:
    """A native histogram as promtool writes it, with requests far below the objective and just above it."""
    # Of schema 0, bucket n ends at 2^n seconds: the last one begins at the objective, or after it.
    above = math.ceil(math.log2(within_s)) + 1
    counts = [quick, *[0] * (above - QUICKEST - 1), slow]
    places = " ".join(map(str, counts))
    return f"{{{{schema:0 sum:{quick + slow} count:{quick + slow} buckets:[{places}] offset:{QUICKEST}}}}}"


def _unlike(total: Selector, part: Selector) -> Selector:
    """The total, narrowed to series that the part does not select."""
    for matcher in part.matchers:
        if matcher not in total.matchers:
            opposite = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[matcher.op]
            return total.where(matcher.label, opposite, matcher.value)
    return total


def _text(series: Selector) -> str:
    labels = series.example() or {}
    return series.name + "{" + ",".join(f"{label}={quote(value)}" for label, value in sorted(labels.items())) + "}"


def _level(level: Level, good: bool) -> float:
    """A value far on one side; of a time stamp, long ago or in a while."""
    up = abs(level.value) * 2 + 1
    high = good != level.good_if.startswith("<")
    if level.age:
        # promtool's clock starts at zero, so what was long ago is negative.
        return 1e9 if not high else -1e9
    return up if high else -up


def _gone(spec: Spec) -> Iterator[dict[str, Any]]:
    """All series end; each objective says that it is blind."""
    series: Series = {}
    for slo in spec.slos:
        for one in slo.selectors:
            series[_text(one)] = f"0+{RATE}x{BURN} _x{GONE}"
    asked = [(f'alertname="SLIAbsent",slo={quote(slo.name)}', (BURN + GONE - 5) * EACH_S, 1) for slo in spec.slos]
    yield _case("nothing is measured any more", EACH_S, series, asked)


def _quiet(spec: Spec) -> dict[str, Any]:
    series = {one: f"0+{pace}x{GONE}" for one, pace in healthy(spec).items()}
    for slo in spec.slos:
        match slo.sli:
            case Level() as level:
                series[_text(level.query)] = f"{_level(level, True)}+0x{GONE}"
            case Latency(histogram, within_s, True):
                series[_text(histogram)] = f"{_native(within_s)}+{_native(within_s, RATE)}x{GONE}"
    asked = [('alertname!="Watchdog"', minutes * EACH_S, 0) for minutes in (1, 5, GONE)]
    return _case("all is well", EACH_S, series, [*asked, ('alertname="Watchdog"', GONE * EACH_S, 1)])


def healthy(spec: Spec) -> dict[str, int]:
    """All counters of a specification with their pace while everything is good."""
    series: dict[str, int] = {}
    for slo in spec.slos:
        for one, _bad, pace in _counters(slo):
            series[one] = max(series.get(one, 0), pace)
        if isinstance(slo.sli, Pattern):
            series.setdefault(_text(slo.events), RATE)
    for slo in spec.slos:
        if isinstance(slo.sli, Latency) and not slo.sli.native:
            series |= _buckets(slo.sli, series)
    return series


def _buckets(latency: Latency, series: Mapping[str, int]) -> dict[str, int]:
    """Every counted request is a quick one, also those that another objective's series count."""
    found = {}
    count = latency.histogram.named(latency.histogram.name + "_count")
    for one, pace in series.items():
        given = parse(one)
        labels = {matcher.label: matcher.value for matcher in given.matchers}
        if given.name == count.name and all(m.accepts(labels.get(m.label, "")) for m in count.matchers):
            bucketed = given.named(latency.histogram.name + "_bucket").where("le", "=", f"{latency.within_s:g}")
            found[_text(bucketed)] = pace
    return found


def _fallen(slo: Slo) -> Iterator[dict[str, Any]]:
    """A day as usual, then nothing although the counter is there."""
    each = SLOW_EACH_S // 2  # two scrapes per evaluation, so that its window holds a rate
    usual, after = DAY_S // each + 12, 36
    series = {_text(slo.events): f"0+{RATE}x{usual} {RATE * usual}+0x{after}"}
    named = f'alertname="SLOBurn",slo={quote(slo.name)}'
    # At an evaluation: they are ten minutes apart, and each is seen for five.
    asked = [(named, DAY_S + 1800, 0), (named, (usual + after) * each // SLOW_EACH_S * SLOW_EACH_S, 1)]
    yield _case(f"{slo.name} falls below its pattern", each, series, asked)


# -- tickets ------------------------------------------------------------------------------------------


def _tickets(rows: tuple[Row, ...]) -> Iterator[dict[str, Any]]:
    told = [row for row in rows if row.fires]
    for name, kind, count in (("every ticket fires", "fires", 1), ("no ticket fires", "quiet", 0)):
        # One test for all rows: promtool evaluates every rule for every test.
        series = _joined({row.alert: getattr(row, kind) for row in told})
        asked = [(f"alertname={quote(row.alert)}", TICKET_S, count) for row in told]
        yield _case(name, EACH_S, series, asked)


def _joined(given: Mapping[str, Series]) -> Series:
    found: Series = {}
    for row, series in given.items():
        for one, values in series.items():
            if found.setdefault(one, values) != values:
                raise ValueError(f"tickets.yml, {row}: another row gives {one} other values; use another label value")
    return found
