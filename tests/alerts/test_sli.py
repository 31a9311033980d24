"""Indicators and budgets stay right whatever happens to the series, by the real promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from .specs import BAD_, CAUSES, COUNT, INDICATORS, LATENCY, OK_, Series, at_env, case, only, render, run, slo

SECOND = slo(indicator=LATENCY, objective="op: lte, value: 0.5, target: 0.999")
ALL_, QUICK_ = (
    f'{COUNT}{{service_name="shop"}}',
    'http_server_request_duration_seconds_bucket{service_name="shop",le="0.5"}',
)
FAILED_, BAD_QUERY = (
    'failures_total{service_name="shop"}',
    f'{COUNT}{{service_name="shop",http_response_status_code=~"5.."}}',
)
LEFT = "round(slo:budget:left, 0.01) or on () vector(-1)"
UNKNOWN = -1.0


def half(*breaks: str) -> Series:
    """One failure in 2,000 requests, which is half the budget, with something in the middle of both counters."""
    ok, bad = breaks or ("", "")
    return {OK_: f"0+1999x20 {ok}", BAD_: f"0+1x20 {bad}"}


@pytest.mark.parametrize(
    ("why", "document", "series", "left"),
    [
        ("no traffic ever", slo(), {OK_: "5000+0x60"}, {30: 1}),
        ("no traffic any more", slo(), half("39980+0x60", "20+0x60"), {20: 0.5, 60: 0.5}),
        ("no 5xx series", slo(), {OK_: "0+2000x60"}, {2: 1, 60: 1}),
        ("no series at all", slo(), {"up": "1+0x60"}, {60: UNKNOWN}),
        ("one NaN among the good", slo(), half("NaN 43978+1999x40", "21+1x40"), {20: 0.5, 21: UNKNOWN, 22: 0.5, 60: 0.5}),
        ("one NaN among the bad", slo(), half("41979+1999x40", "NaN 22+1x40"), {20: 0.5, 21: UNKNOWN, 22: 0.5, 60: 0.5}),
        ("Prometheus was away", slo(), half("_x9 59970+1999x30", "_x9 30+1x30"), {20: 0.5, 31: 0.5, 60: 0.5}),
        ("the service restarted", slo(), half("0+1999x40", "0+1x40"), {20: 0.5, 22: 0.5, 60: 0.5}),
        ("vanished buckets", SECOND, {ALL_: "0+2000x60", QUICK_: "0+1999x20 _x20 81959+1999x20"},
         {20: 0.5, 30: UNKNOWN, 60: 0.5}),
    ],
)  # fmt: skip
def test_the_budget_stays_right(
    promtool: Path, tmp_path: Path, why: str, document: str, series: Series, left: dict[int, float]
) -> None:
    """Half of it is spent before, during and after; what cannot be known is not guessed."""
    asked = [
        (LEFT, f"{minute}m", [("{}" if value == UNKNOWN else '{slo="shop",window="30d"}', value)])
        for minute, value in left.items()
    ]
    rules = only(render(document), *INDICATORS, "slo:budget:left")
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)]), why


@pytest.mark.parametrize(
    ("why", "document", "series"),
    [
        ("no traffic", slo(), {OK_: "5000+0x30", BAD_: "0x30"}),
        ("no 5xx series at all", slo(), {OK_: "0+60x30"}),
        ("one NaN", slo(), {OK_: "0+60x10 NaN 660+60x20", BAD_: "0x12 NaN 0x20"}),
        ("one NaN beside a few failures", slo(), {OK_: "0+2000x15 NaN 32000+2000x20", BAD_: "0x10 6+0x25"}),
        ("four failures of four", slo(), {OK_: "0x30", BAD_: "0x10 1 2 3 4 4x20"}),
        ("a restart of the service", slo(), {OK_: "90000+600x10 0+600x20", BAD_: "900x10 0x20"}),
        ("a restart of Prometheus", slo(), {OK_: "0+60x10 _x10 1200+60x10", BAD_: "0x10 _x10 0x10"}),
        ("vanished buckets", SECOND, {ALL_: "0+60x30", QUICK_: "0+60x10 _x20"}),
        ("buckets vanished and back", SECOND, {ALL_: "0+60x30", QUICK_: "0+60x10 stale _x7 1140+60x11"}),
        ("back with a release", SECOND, {ALL_: "0+60x60 0+60x7 0+60x25", QUICK_: "0+60x60 stale _x7 0+60x25"}),
    ],
)  # fmt: skip
def test_what_is_no_fault_pages_nobody(promtool: Path, tmp_path: Path, why: str, document: str, series: Series) -> None:
    """No traffic, missing series, NaN, resets, gaps and vanished buckets."""
    rules = only(render(document), *INDICATORS, *CAUSES)
    asked = [
        ("sum(slo:paging) or vector(0)", f"{minute}m", [("{}", 0.0)])
        for minute in (5, 11, 13, 16, 20, 25, 29, 63, 69, 70, 71, 72, 75, 80)
    ]
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)]), why


@pytest.mark.parametrize(
    ("why", "series"),
    [
        ("a gap of ten minutes", {OK_: "0+30x15 _x10 450+30x25", BAD_: "0+30x15 _x10 450+30x25"}),
        ("one NaN among the good", {OK_: "0+30x20 NaN 660+30x30", BAD_: "0+30x50"}),
        ("one NaN among the bad", {OK_: "0+30x50", BAD_: "0+30x20 NaN 660+30x30"}),
        ("one NaN in a counter of failures only", {ALL_: "0+60x50", FAILED_: "0+30x20 NaN 660+30x30"}),
        ("NaN in one of two bad series", {OK_: "0+30x50", BAD_: "0+30x20 NaN 660+30x30", BAD_.replace("500", "503"): "0x50"}),
        ("a restart of the service", {OK_: "0+30x20 0+30x30", BAD_: "0+30x20 0+30x30"}),
        # Longer than the fastest pair is held for by itself
        ("a gap of 25 minutes", {OK_: "0+30x15 _x25 1230+30x10", BAD_: "0+30x15 _x25 1230+30x10"}),
        ("NaN for a quarter of an hour among the bad", {OK_: "0+30x50", BAD_: "0+30x20 NaN+0x14 1080+30x15"}),
        ("NaN for as long among the good", {OK_: "0+30x20 NaN+0x14 1080+30x15", BAD_: "0+30x50"}),
        ("NaN for as long in a counter of failures only", {ALL_: "0+60x50", FAILED_: "0+30x20 NaN+0x14 1080+30x15"}),
    ],
)  # fmt: skip
def test_a_page_stays_one_page(promtool: Path, tmp_path: Path, why: str, series: Series) -> None:
    """Lost telemetry is no recovery: it pages in every minute of the fault."""
    document = slo().replace(BAD_QUERY, FAILED_) if FAILED_ in series else slo()
    rules = only(render(document), *INDICATORS, *CAUSES)
    asked = [("slo:paging", f"{minute}m", [('slo:paging{slo="shop"}', 1.0)]) for minute in range(12, 46)]
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)]), why


def test_series_that_stay_missing_or_nan_are_told(promtool: Path, tmp_path: Path) -> None:
    """`SLIAbsent` after ten minutes, for either; not for a single NaN."""
    asked = 'count(ALERTS{alertname="SLIAbsent",alertstate="firing"}) or vector(0)'
    rules = only(render(slo()), "SLIAbsent")
    told = [
        case({OK_: values}, (asked, "20m", [("{}", 0.0)]), (asked, "40m", [("{}", float(fires))]))
        for values, fires in (("0+60x21 NaN+0x30", True), ("0+60x21 _x30", True), ("0+60x21 NaN 1320+60x30", False))
    ]
    assert "" == run(promtool, tmp_path, rules, told)


def test_buckets_a_scrape_ahead_of_their_count_are_no_gap(promtool: Path, tmp_path: Path) -> None:
    """More good ones than there are: none is bad, rather than a number nobody knows."""
    asked = ('slo:bad:increase{window="5m"}', "15m", [('slo:bad:increase{slo="shop",window="5m"}', 0.0)])
    series = {ALL_: "0+60x20", QUICK_: "0+61x20"}
    assert "" == run(promtool, tmp_path, only(render(SECOND), *INDICATORS), [case(series, asked)])


@pytest.mark.parametrize(
    ("indicator", "objective", "good", "bad"),
    [
        ("query: 'export_age_seconds{service_name=\"shop\"}'", "op: lte, value: 3600, target: 0.99", "60", "7200"),
        ("query: 'export_time{service_name=\"shop\"}', as: age", "op: lte, value: 600, target: 0.99", "9e9", "-9e9"),
        ("query: 'stock{service_name=\"shop\"}'", "op: gte, value: 5, target: 0.99", "50", "1"),
    ],
)
def test_freshness_pages_when_it_is_out_of_bounds(
    promtool: Path, tmp_path: Path, indicator: str, objective: str, good: str, bad: str
) -> None:
    """Gauges and ages, counted as samples; NaN counts as none."""
    document = slo(
        indicator=f"{{thresholdMetric: {{metricSource: {{type: Prometheus, spec: {{{indicator}}}}}}}}}",
        objective=objective,
    )
    name = indicator.split("'")[1]
    series = {name: f"{float(good)}x30 NaN NaN NaN {float(bad)}x20"}
    rules = only(render(document), *INDICATORS, *CAUSES)
    asked = [("slo:paging", at, [('slo:paging{slo="shop"}', value)]) for at, value in (("29m", 0.0), ("50m", 1.0))]
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)])


def test_a_pattern_that_says_nan_has_not_fallen(promtool: Path, tmp_path: Path) -> None:
    """What stands still has; so has what is missing, as a counter that is not born counts nothing. NaN is not known."""
    query = "{type: Prometheus, spec: {query: 'orders_total{service_name=\"shop\"}', as: pattern}}"
    document = slo(
        indicator=f"{{thresholdMetric: {{metricSource: {query}}}}}", objective="op: gte, value: 0.5, target: 0.99"
    )
    series = {
        at_env('orders_total{service_name="shop"}', why): f"0+100x288 {then}"
        for why, then in (("usual", "28900+100x12"), ("still", "28800+0x12"), ("gone", "_x12"), ("nan", "NaN+0x12"))
    }
    asked = ("slo:sample:bad", "1470m", [
        (at_env('slo:sample:bad{slo="shop"}', why), value) for why, value in (("gone", 1.0), ("still", 1.0), ("usual", 0.0))
    ])  # fmt: skip
    rules = only(render(document), *INDICATORS)
    assert "" == run(promtool, tmp_path, rules, [case(series, asked, each="5m")], each="5m")


@pytest.mark.parametrize("within", ["0.3", "1", "7.5"])
def test_generated_tests_of_native_histograms_pass(promtool: Path, tmp_path: Path, within: str) -> None:
    """They burn, get better, are silent and are missed, like any other objective."""
    document = slo(indicator=LATENCY.replace("classic", "native"), objective=f"op: lte, value: {within}, target: 0.99")
    for name, text in render(document).items():
        if name in ("rules.yml", "tests.yml"):
            (tmp_path / name).write_text(text)
    assert "SLORecovering" in (tmp_path / "tests.yml").read_text()
    done = subprocess.run([promtool, "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_native_histograms_say_the_same(promtool: Path, tmp_path: Path) -> None:
    """Half of the requests above the objective are half bad, without any classic bucket."""
    document = slo(indicator=LATENCY.replace("classic", "native"), objective="op: lte, value: 1, target: 0.99")
    # Schema 0: one bucket holds (0.5, 1], the next (1, 2].
    name = 'http_server_request_duration_seconds{service_name="shop"}'
    one = "{{schema:0 sum:60 count:60 buckets:[30 30]}}"
    series = {name: f"{one}+{one}x20"}
    asked = ('round(slo:error:ratio{window="5m"}, 0.001)', "15m", [('{slo="shop",window="5m"}', 0.5)])
    assert "" == run(promtool, tmp_path, only(render(document), *INDICATORS), [case(series, asked)])


STEP_MIN, STEPS = 5, 72
"""Six hours of scrapes, five minutes apart."""
PROFILE = st.lists(st.tuples(st.integers(1, 100), st.floats(0, 1)), min_size=6, max_size=6)
"""Requests per scrape and the part of them that fails, for an hour each."""


# Not shrunk: each try is a run of promtool, and the profiles are small already.
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(PROFILE, min_size=5, max_size=5))
def test_the_long_window_weighs_requests_alike(
    promtool: Path, tmp_path_factory: pytest.TempPathFactory, profiles: list[list[tuple[int, float]]]
) -> None:
    """Traffic that varies 100 times: the ratio of six hours is that of all its requests, no average of ratios."""
    series: Series = {}
    asked = []
    for number, profile in enumerate(profiles):
        # Nothing happens in the first two steps, of which Prometheus 2 and 3 count one more or less.
        steps = [(0, 0)] * 2 + [(n, round(n * part)) for n, part in profile for _ in range(STEPS // 6)][2:]
        for name, counts in ((OK_, [n - bad for n, bad in steps]), (BAD_, [bad for _n, bad in steps])):
            total, values = 1_000_000, []
            for count in (0, *counts):
                total += count
                values.append(str(total))
            series[at_env(name, number)] = " ".join(values)
        wanted = sum(bad for _n, bad in steps) / sum(n for n, _bad in steps)
        ratio = at_env('slo:error:ratio{window="6h"}', number)
        near = f"count(abs({ratio} - {wanted!r}) < 1e-9)"
        asked.append((near, f"{STEP_MIN * STEPS}m", [("{}", 1.0)]))
    each = f"{STEP_MIN}m"
    rules = only(render(slo()), *INDICATORS[:3])
    folder = tmp_path_factory.mktemp("weights")
    assert "" == run(promtool, folder, rules, [case(series, *asked, each=each)], each=each)
