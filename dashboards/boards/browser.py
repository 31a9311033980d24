"""Browser: what users saw, where the time of slow pages went, what broke in them."""

from __future__ import annotations

from firstcause.conventions import THRESHOLDS

from ..board import ENVIRONMENT, Board, Row, Variable, row
from ..panels import (
    HALF,
    ORANGE,
    QUARTER,
    RATE,
    RED,
    SECONDS,
    SHARE,
    THIRD,
    Query,
    Steps,
    bars,
    graph,
    stat,
    table,
)  # fmt: skip
from ..promql import increase, quantile, rate, share, within

PAGE = 'page_route=~"$page"'
REGION, DEVICE = 'region=~"$region"', 'device=~"$device"'
VIEWS, BAD = "firstcause_page_views_total", "firstcause_page_bad_total"
PAGES = Variable("page", "Page", f"{VIEWS}{within()}", "page_route")
REGIONS = Variable("region", "Region", f"firstcause_page_lcp_region_seconds_count{within()}", "region")
DEVICES = Variable("device", "Device", f"firstcause_page_lcp_device_seconds_count{within()}", "device")
VITALS = {
    "LCP": ("Largest paint", "When the largest part of the page was seen.", SECONDS),
    "INP": ("Slowest interaction", "From a click to what it changed on screen.", SECONDS),
    "CLS": ("Layout shift", "How much the page moved under the reader.", "none"),
    "FCP": ("First paint", "When anything was seen.", SECONDS),
    "TTFB": ("First byte", "From the click to the server's first byte.", SECONDS),
}
PARTS = {
    "network": "orange", "server": "red", "transfer": "yellow", "render": "purple", "own_script": "blue",
    "third_party_script": "dark-blue", "unknown": "text",
}  # fmt: skip
BAD_VIEWS = ((0.05, ORANGE), (0.25, RED))
"""Vitals are good when three of four views are (web.dev/vitals): a quarter bad is too many."""


def board() -> Board:
    """Pages as browsers saw them."""
    says = "Pages as browsers saw them: vitals by route, region and device, where slow pages lost time, what broke."
    variables = (ENVIRONMENT, PAGES, REGIONS, DEVICES)
    return Board("browser", says, variables, (_now(), _vitals(), _where(), _blame(), _errors()))


def p75(vital: str, by: str, *matchers: str, dimension: str = "device") -> str:
    """The 75th percentile of a vital, from the histogram that knows this dimension."""
    unit = "" if vital == "CLS" else "_seconds"
    return quantile(0.75, f"firstcause_page_{vital.lower()}_{dimension}{unit}", PAGE, *matchers, by=by)


def steps(vital: str) -> Steps:
    """Where a vital stops being good, and begins to be poor."""
    good, poor = THRESHOLDS[vital]
    return ((good, ORANGE), (poor, RED))


def _now() -> Row:
    views, bad = rate(VIEWS, PAGE), rate(BAD, PAGE)
    joined = rate(VIEWS, PAGE, 'joined="true"')
    return row(
        "Are pages well?",
        stat("Page views", "Views per second.", Query(views), RATE),
        stat("Slow or failed", "Share of views that were slow or failed, each counted once.",
             Query(f"({share(bad, views)}) or {views} * 0"), SHARE, BAD_VIEWS),
        stat("Proven to be ours", "Share of views that prove which trace they come from; only those can page.",
             Query(f"({share(joined, views)}) or {views} * 0"), SHARE),
        *(stat(f"{VITALS[name][0]} p75", f"{VITALS[name][1]} Three of four views are better.",
               Query(p75(name, "", DEVICE)), VITALS[name][2], steps(name)) for name in ("LCP", "INP", "CLS")),
    )  # fmt: skip


def _vitals() -> Row:
    graphs = (
        graph(
            f"{heading} by page", f"{says} 75th percentile; lines: good, poor.",
            Query(p75(name, "page_route", DEVICE), "{{page_route}}"),
            unit=unit, steps=steps(name),
        ).wide(THIRD)
        for name, (heading, says, unit) in VITALS.items()
    )  # fmt: skip
    phase = "firstcause_page_phase_device_seconds"
    mean = share(rate(f"{phase}_sum", PAGE, DEVICE, by="phase"), rate(f"{phase}_count", PAGE, DEVICE, by="phase"),
                 on="phase")
    return row(
        "How do pages feel?",
        *graphs,
        graph("Phases of a load", "Mean of each phase; they follow one another.", Query(mean, "{{phase}}"),
              unit=SECONDS, stacked=True).wide(THIRD),
    )  # fmt: skip


def _where() -> Row:
    tables = (
        table(
            f"By {dimension}", f"75th percentiles by {dimension}: is it everybody, or somebody?",
            {dimension: dimension.title()},
            *(Query(p75(name, dimension, matcher, dimension=dimension), name=f"{name} p75", unit=VITALS[name][2],
                    steps=steps(name)) for name in ("LCP", "INP", "TTFB")),
            Query(rate(f"firstcause_page_lcp_{dimension}_seconds_count", PAGE, matcher, by=dimension), name="Views",
                  unit=RATE),
        ).wide(THIRD)
        for dimension, matcher in (("region", REGION), ("device", DEVICE), ("navigation", ""))
    )  # fmt: skip
    return row("Is it everybody?", *tables)


def _blame() -> Row:
    lost = rate("firstcause_page_blame_seconds_total", PAGE, REGION, by="part")
    by_page = increase("firstcause_page_blame_seconds_total", PAGE, REGION, by="page_route, region, part")
    script = rate("firstcause_page_script_seconds_total", PAGE, by="page_route, party")
    blocked = quantile(0.75, "firstcause_page_blocked_device_seconds", PAGE, DEVICE, by="page_route")
    request = quantile(0.75, "firstcause_page_request_device_seconds", PAGE, DEVICE, by="page_route")
    return row(
        "Where did slow pages lose their time?",
        graph("Blame", "Seconds per second of views over their threshold, by part.", Query(lost, "{{part}}"),
              unit=SECONDS, stacked=True, colours=PARTS),
        bars("Most blamed", "Seconds in the whole time range, by page, region and part.",
             Query(f"topk(10, {by_page} > 0)", "{{page_route}} {{region}} {{part}}"), SECONDS),
        graph("Scripts", "Run time in long frames, own and third party, seconds per second.",
              Query(script, "{{page_route}} {{party}}"), unit=SECONDS).wide(THIRD),
        graph("Blocked main thread", "75th percentile per report of time beyond 50 ms in long frames.",
              Query(blocked, "{{page_route}}"), unit=SECONDS, steps=((0.2, ORANGE), (0.6, RED))).wide(THIRD),
        graph("Requests of pages", "75th percentile to the headers.", Query(request, "{{page_route}}"),
              unit=SECONDS).wide(THIRD),
    )  # fmt: skip


def _errors() -> Row:
    errors, views = rate("firstcause_page_errors_total", PAGE, by="release"), rate(VIEWS, PAGE, by="release")
    kinds = increase("firstcause_page_errors_total", PAGE, by="page_route, release, error_kind")
    bad = rate(BAD, PAGE, by="page_route, outcome")
    return row(
        "What broke?",
        graph("Errors per view, by release", "A release whose line jumps throws.",
              Query(share(errors, views, on="release"),
              "{{release}}"), unit="none", steps=((0.01, ORANGE), (0.1, RED))).wide(HALF),
        graph("Slow and failed views", "Views per second by page and outcome.",
              Query(bad, "{{page_route}} {{outcome}}"),
              unit=RATE, stacked=True).wide(HALF),
        table("Errors", "Every kind of error in the time range, each counted once per view.",
              {"page_route": "Page", "release": "Release", "error_kind": "Kind"},
              Query(f"{kinds} > 0", name="Errors")).wide(HALF),
        graph("Beacons", "What became of reports, per second.", Query(rate("firstcause_rum_beacons_total", by="result"),
              "{{result}}"), unit="ops").wide(QUARTER),
        graph("Dropped from beacons", "Items and fields left out, per second.",
              Query(rate("firstcause_rum_dropped_total", by="drop"), "{{drop}}"), unit="ops").wide(QUARTER),
    )  # fmt: skip


