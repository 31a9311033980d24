"""Objectives on page views, by the real promtool: they page with what browsers and backend say, and with nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from firstcause_alerts import load
from firstcause_alerts.history import openmetrics
from firstcause_alerts.output import render as rendered
from firstcause_alerts.problems import SpecError

from .conftest import ROOT, SLOS
from .specs import CAUSES, INDICATORS, TARGETS, Series, case, only, render, run, slo
from .test_rules import HOSTILE

PAGE_RULES = (
    *INDICATORS, *CAUSES, "slo:page:bad", "slo:page:blame", "slo:page:part", "slo:page:served", "slo:page:failed",
)  # fmt: skip
WINDOW = 20


def pages(joined: str = "true", labels: str = "owner: us, role: journey") -> str:
    """An objective on the page views of an endpoint of its own."""
    sides = "".join(
        f"""
        {side}: {{metricSource: {{type: Prometheus, spec: {{query: 'firstcause_page_{name}_total{{service_name="rum",joined="{joined}"}}'}}}}}}"""
        for side, name in (("bad", "bad"), ("total", "views"))
    )
    return slo("pages", f"\n      ratioMetric:\n        counter: true{sides}", "target: 0.99", "30d", labels)


def views(values: str, joined: str = "true", release: str = "7") -> Series:
    """All views, by the minute."""
    return {
        f'firstcause_page_views_total{{service_name="rum",page_route="/",release="{release}",joined="{joined}"}}': values
    }


def bad(outcome: str, values: str, route: str = "/", joined: str = "true", release: str = "7") -> Series:
    """The bad ones among them."""
    labels = f'service_name="rum",page_route="{route}",release="{release}",joined="{joined}",outcome="{outcome}"'
    return {f"firstcause_page_bad_total{{{labels}}}": values}


def blame(part: str, values: str, route: str = "/", joined: str = "true", region: str = "europe") -> Series:
    """Seconds of slow views by part."""
    labels = f'service_name="rum",page_route="{route}",region="{region}",joined="{joined}",vital="LCP",part="{part}"'
    return {f"firstcause_page_blame_seconds_total{{{labels}}}": values}


def backend(
    metric: str, values: str, service: str, culprit: str, cause: str, route: str = "/", outcome: str = "slow"
) -> Series:
    """What a service says of its own requests."""
    labels = (
        f'service_name="{service}",http_route="{route}",outcome="{outcome}",culprit_service="{culprit}",cause="{cause}"'
    )
    return {f"firstcause_request_{metric}_total{{{labels}}}": values}


EACH = f"0+60x{WINDOW}"
SLOW, ALL = bad("slow", EACH), views(EACH)
DB = backend("excess_seconds", EACH, "orders", "orders", "db.slow", outcome="degraded")
Shares = dict[tuple[str, str], float]


@pytest.mark.parametrize(
    ("why", "series", "shares"),
    [
        ("network", {**SLOW, **blame("network", EACH)}, {("shop", "client.region"): 1}),
        ("transfer", {**SLOW, **blame("transfer", EACH)}, {("shop", "client.slow_page"): 1}),
        ("render", {**SLOW, **blame("render", EACH)}, {("shop", "client.slow_page"): 1}),
        ("own script", {**SLOW, **blame("own_script", EACH)}, {("shop", "client.main_thread"): 1}),
        ("third party", {**SLOW, **blame("third_party_script", EACH)}, {("shop", "client.main_thread"): 1}),
        ("errors", bad("error", EACH), {("shop", "client.errors"): 1}),
        ("not said", SLOW, {("shop", "unknown"): 1}),
        ("no attribution", {**SLOW, **blame("unknown", EACH)}, {("shop", "unknown"): 1}),
        ("server", {**SLOW, **blame("server", EACH), **backend("excess_seconds", EACH, "shop", "shop", "app.slow")},
         {("shop", "app.slow"): 1}),
        ("server within its objective",
         {**SLOW, **blame("server", EACH), **backend("excess_seconds", EACH, "shop", "orders", "db.slow", outcome="degraded")},
         {("orders", "db.slow"): 1}),
        ("server, downstream",
         {**SLOW, **blame("server", EACH), **backend("excess_seconds", EACH, "shop", "orders", "dependency.slow"), **DB},
         {("orders", "db.slow"): 1}),
        ("server, of another route",
         {**SLOW, **blame("server", EACH), **backend("excess_seconds", EACH, "shop", "shop", "app.slow", route="/x")},
         {("shop", "unknown"): 1}),
        ("server, which says nothing", {**SLOW, **blame("server", EACH)}, {("shop", "unknown"): 1}),
        ("server, which explains a quarter",
         {**SLOW, **blame("server", EACH), **backend("excess_seconds", f"0+15x{WINDOW}", "shop", "shop", "app.gc")},
         {("shop", "app.gc"): 0.25, ("shop", "unknown"): 0.75}),
        ("failed requests",
         {**bad("request", EACH), **backend("bad", EACH, "shop", "orders", "app.exception", "/api", "error")},
         {("orders", "app.exception"): 1}),
        ("some of all",
         {**bad("error", f"0+15x{WINDOW}"), **bad("slow", f"0+30x{WINDOW}"), **bad("slow", f"0+15x{WINDOW}", "/b"),
          **blame("network", EACH), **blame("own_script", EACH), **blame("transfer", EACH, "/b")},
         {("shop", "client.errors"): 0.25, ("shop", "client.region"): 0.25, ("shop", "client.main_thread"): 0.25,
          ("shop", "client.slow_page"): 0.25}),
        ("blame of strangers", {**SLOW, **blame("network", EACH), **blame("render", f"0+900x{WINDOW}", joined="false")},
         {("shop", "client.region"): 1}),
    ],
)  # fmt: skip
def test_a_page_names_what_its_views_waited_for(
    promtool: Path, tmp_path: Path, why: str, series: Series, shares: Shares
) -> None:
    """It pages, and the shares of all causes are these: they add up to 1, so there is no other."""
    asked = [
        (
            f'round(sum(cause:score{{culprit_service="{service}",cause="{cause}"}}), 0.001)',
            "18m",
            [("{}", float(share))],
        )
        for (service, cause), share in shares.items()
    ]
    asked += [
        ("count(cause:score)", "18m", [("{}", float(len(shares)))]),
        ("round(sum(cause:score), 0.0001)", "18m", [("{}", 1.0)]),
        ("slo:paging", "18m", [('slo:paging{slo="pages"}', 1.0)]),
    ]
    rules = only(render(pages()), *PAGE_RULES)
    assert "" == run(promtool, tmp_path, rules, [case({**ALL, **series}, *asked)]), why


@pytest.mark.parametrize(
    ("why", "series"),
    [
        ("views that prove nothing", {**views(EACH, "false"), **bad("slow", EACH, joined="false")}),
        ("strangers beside few visitors",
         {**views(f"0+1x{WINDOW}"), **views(EACH, "false"), **bad("error", EACH, joined="false"), **bad("error", "0+0x20")}),
        ("four broken views of four", {**views("0x5 1 2 3 4 4x11"), **bad("error", "0x5 1 2 3 4 4x11")}),
        ("no visitors", {**views("0x20"), **bad("slow", "0x20")}),
        ("one in a hundred", {**views(f"0+100x{WINDOW}"), **bad("slow", f"0+1x{WINDOW}")}),
    ],
)  # fmt: skip
def test_what_is_no_fault_of_ours_pages_nobody(promtool: Path, tmp_path: Path, why: str, series: Series) -> None:
    """Anybody can make up views; and a handful of views says nothing."""
    rules = only(render(pages()), *PAGE_RULES)
    asked = [("sum(slo:paging) or vector(0)", f"{minute}m", [("{}", 0.0)]) for minute in (5, 9, 10, 12, 15, 19)]
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)]), why


def annotations(promtool: Path, folder: Path, series: Series, *records: str) -> str:
    """What `SLOBurn` says in the eighteenth minute: nothing is expected, so that promtool prints what it got."""
    rules = only(
        render(pages()), *PAGE_RULES, "slo:lcp:seconds", "slo:route:bad", "slo:concentration", "SLOBurn", *records
    )
    shown = {**case(series), "alert_rule_test": [{"eval_time": "18m", "alertname": "SLOBurn", "exp_alerts": []}]}
    (found,) = re.findall(r"Annotations:\{(.*)\}", run(promtool, folder, rules, [shown]))
    return str(found)


def paints(region: str, seconds: float) -> Series:
    """Largest paints of a region, all in one bucket."""
    name = f'firstcause_page_lcp_region_seconds_bucket{{service_name="rum",page_route="/",region="{region}",le='
    count = f'firstcause_page_lcp_region_seconds_count{{service_name="rum",page_route="/",region="{region}"}}'
    edges = {f'{name}"{edge:g}"}}': EACH if edge >= seconds else "0x20" for edge in (2.5, 4, 5)}
    return {**edges, f'{name}"+Inf"}}': EACH, count: EACH}


def test_a_page_says_where_which_release_and_how_slow(promtool: Path, tmp_path: Path) -> None:
    """Route, region, release, the largest paint's 75th percentile, and the image, as its endpoint tells it."""
    detail = 'firstcause_cause_detail{service_name="rum",culprit_service="rum",cause="client.slow_page",detail="https://shop/hero.jpg"}'
    series = {
        **ALL, **bad("slow", EACH, "/cart", release="2.4"), **blame("transfer", EACH, "/cart", region="south-america"),
        **paints("south-america", 5), **paints("europe", 5), detail: "1x20",
    }  # fmt: skip
    said = annotations(promtool, tmp_path, series)
    for wanted in (
        "of page views are slow or broken at shop", "shop client.slow_page (100 %): https://shop/hero.jpg",
        "via page.transfer", "/cart (100 % of the bad ones)", "100 % at region south-america", "2.4 (100 % of the bad ones)",
        'lcp=\\"4.75', "runbooks/client.slow_page.md",
    ):  # fmt: skip
        assert wanted.replace("\\", "") in said.replace("\\", ""), (wanted, said)
    assert "p99" not in said


def test_what_strangers_name_enters_no_annotation(promtool: Path, tmp_path: Path) -> None:
    """Route, release and detail come from pages: template syntax, markup and length stay outside."""
    detail = (
        f'firstcause_cause_detail{{service_name="rum",culprit_service="rum",cause="client.errors",detail="{HOSTILE}"}}'
    )
    series = {**ALL, **bad("error", EACH, HOSTILE, release=HOSTILE), detail: "1x20"}
    said = annotations(promtool, tmp_path, series)
    for forbidden in ("{{", "}}", "<", ">", "`", "y" * 200):
        assert forbidden not in said


def test_a_past_of_page_views_has_its_own_pace() -> None:
    """Fewer people open pages than pages make requests."""
    spec = load(slo() + pages() + TARGETS)
    past = openmetrics(spec, until=100, seconds=10, step_s=10, per_second=5, views_per_second=2, labels={})
    grown = {(line.partition("{")[0], line.split()[-2]) for line in past.splitlines() if line.endswith(" 100.000")}
    assert {("http_server_request_duration_seconds_count", "50"), ("firstcause_page_views_total", "20")} == {
        (name, value) for name, value in grown if value != "0"
    }


def test_one_region_of_one_is_no_concentration(promtool: Path, tmp_path: Path) -> None:
    """Nor is one of two when most bad views are broken ones, of which no region is known."""
    alone = {**ALL, **SLOW, **blame("network", EACH, region="europe"), **paints("europe", 5)}
    broken = {
        **ALL,
        **bad("error", EACH),
        **bad("slow", f"0+5x{WINDOW}"),
        **blame("network", EACH),
        **paints("europe", 5),
        **paints("asia", 5),
    }
    for number, series in enumerate((alone, broken)):
        (tmp_path / str(number)).mkdir()
        assert "at region" not in annotations(promtool, tmp_path / str(number), series)


def test_unproven_views_may_not_page() -> None:
    """They are refused for a journey, and write tickets where a journey covers the service."""
    with pytest.raises(SpecError, match="anybody can make up"):
        render(pages(joined="false"))
    with pytest.raises(SpecError, match="anybody can make up"):
        render(pages().replace(',joined="true"', ""))
    covered = pages("false", "owner: us, role: internal") + slo()
    found = yaml.safe_load(render(covered)["rules.yml"])["groups"][0]["rules"]
    assert {"ticket"} == {
        rule["labels"]["severity"] for rule in found if "alert" in rule and rule["labels"]["slo"] == "pages"
    }


def rules_of(text: str) -> list[dict[str, Any]]:
    """All rules of a specification."""
    return [rule for group in yaml.safe_load(rendered(load(text))["rules.yml"])["groups"] for rule in group["rules"]]


def test_objectives_without_pages_compile_as_ever() -> None:
    """With or without page views beside them; and an application without a beacon has no rule about pages at all."""
    documents = SLOS.read_text().split("\n---\n")
    others = "\n---\n".join(one for one in documents if "firstcause_page" not in one)
    with_pages = [
        rule for rule in rules_of(SLOS.read_text())
        if not rule.get("labels", {}).get("slo", "").startswith("pages") and not rule.get("record", "").startswith("page:")
    ]  # fmt: skip
    assert with_pages == rules_of(others)
    second = (ROOT / "tests" / "second_shop" / "slos.yml").read_text()
    assert [] == [rule for rule in rules_of(second) if "page_" in str(rule) or "slo:page" in str(rule)]


def test_percentiles_of_vitals(promtool: Path, tmp_path: Path) -> None:
    """By route, and by device and region beside it."""
    series = {**paints("europe", 2.5), **paints("asia", 4)}
    rules = only(render(pages()), "page:lcp:p75")
    asked = [
        (f'round(page:lcp:p75{{by="region",region="{region}"}}, 0.001)', "20m",
         [(f'{{by="region",page_route="/",region="{region}"}}', value)])
        for region, value in (("europe", 1.875), ("asia", 3.625))
    ]  # fmt: skip
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)])
    assert {"route", "device", "region"} == {
        rule["labels"]["by"] for rule in rules_of(pages() + TARGETS) if "p75" in rule.get("record", "")
    }
