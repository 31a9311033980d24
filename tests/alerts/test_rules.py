"""The rules as Prometheus evaluates them, by the real promtool."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

import pytest

from firstcause_alerts.burn_rate import DAY_S, Pair, pairs_for
from firstcause_alerts.simulation import firings, poisson

from .specs import BAD_, CAUSES, INDICATORS, OK_, at_env, case, only, render, run, slo

BUDGET = Decimal("0.001")
PAGES = pairs_for(30 * DAY_S)[:2]


def verdict(metric: str, service: str, outcome: str, culprit: str, cause: str) -> str:
    labels = f'service_name="{service}",http_route="/r",outcome="{outcome}",culprit_service="{culprit}",cause="{cause}"'
    return f"firstcause_request_{metric}_total{{{labels}}}"


def test_verdicts_resolve_downstream_and_sum_to_one(promtool: Path, tmp_path: Path) -> None:
    """Gateway's `dependency.*` at orders becomes orders' own causes, its dependency payments' own; `unknown` stays.

    Sixty bad requests a minute, forty-eight of them with a verdict: half of those gave up on orders.
    """
    series = {
        OK_: "0+0x20", BAD_: "0+60x20",
        verdict("bad", "shop", "error", "shop", "app.exception"): "0+24x20",
        verdict("bad", "shop", "error", "orders", "dependency.slow"): "0+24x20",
        verdict("excess_seconds", "orders", "degraded", "orders", "db.slow"): "0+30x20",
        verdict("excess_seconds", "orders", "degraded", "payments", "dependency.slow"): "0+30x20",
        verdict("excess_seconds", "payments", "slow", "payments", "app.lock"): "0+90x20",
    }  # fmt: skip
    expected = {
        ("shop", "app.exception"): 0.4, ("orders", "db.slow"): 0.2, ("payments", "app.lock"): 0.2, ("shop", "unknown"): 0.2,
    }  # fmt: skip
    asked = [
        (f'round(cause:score{{culprit_service="{service}",cause="{cause}"}}, 0.001)', "15m",
         [(f'{{slo="shop",culprit_service="{service}",cause="{cause}"}}', share)])
        for (service, cause), share in expected.items()
    ]  # fmt: skip
    total = ("round(sum(cause:score), 0.0001)", "15m", [("{}", 1.0)])
    rules = only(render(slo()), *INDICATORS, *CAUSES)
    assert "" == run(
        promtool, tmp_path, rules, [case(series, *asked, total, ("count(cause:score)", "15m", [("{}", 4.0)]))]
    )


def test_degraded_requests_are_no_evidence_of_failures(promtool: Path, tmp_path: Path) -> None:
    """Only what is said of requests that the objective counts as bad has a share in it."""
    series = {
        OK_: "0+60x20", BAD_: "0+60x20",
        verdict("bad", "shop", "error", "shop", "app.exception"): "0+60x20",
        verdict("bad", "shop", "degraded", "shop", "db.slow"): "0+60x20",
    }  # fmt: skip
    asked = ("round(cause:score, 0.01)", "15m", [('{slo="shop",culprit_service="shop",cause="app.exception"}', 1.0)])
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS, *CAUSES), [case(series, asked)])


def test_a_page_burns_gets_better_and_ends(promtool: Path, tmp_path: Path) -> None:
    """`SLORecovering` joins once the short window is within the budget; no label of theirs is ever empty."""
    series = {OK_: "0x30 0+60x70", BAD_: "0+60x30 1800+0x70"}
    asked = [
        (f'count(ALERTS{{alertname="{name}",environment="none",incident="shop",severity="page"}}) or vector(0)', at, [("{}", value)])
        for at, burning, better in (("20m", 1.0, 0.0), ("37m", 1.0, 1.0), ("65m", 0.0, 0.0))
        for name, value in (("SLOBurn", burning), ("SLORecovering", better))
    ]  # fmt: skip
    rules = only(render(slo()), *INDICATORS, *CAUSES, "SLOBurn", "SLORecovering")
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)])


HOSTILE = '\\"}}{{ .Labels }}<!channel><b>`x`\\n' + "y" * 10_000


def test_hostile_label_values_enter_no_annotation(promtool: Path, tmp_path: Path) -> None:
    """Quotes, template syntax, markup, line breaks and ten thousand characters, in every label that a page shows."""
    detail = f'firstcause_cause_detail{{culprit_service="{HOSTILE}",cause="{HOSTILE}",detail="{HOSTILE}"}}'
    series = {
        OK_: "0+0x20", BAD_: "0+60x20", detail: "1+0x20",
        verdict("bad", "shop", "error", HOSTILE, HOSTILE): "0+60x20",
        BAD_.replace("service_name", f'http_route="{HOSTILE}",deployment_environment_name="{HOSTILE}",service_name'): "0+60x20",
    }  # fmt: skip
    rules = only(
        render(slo()), *INDICATORS, *CAUSES, "slo:p99:seconds", "slo:route:bad", "slo:concentration", "SLOBurn"
    )
    shown = {**case(series), "alert_rule_test": [{"eval_time": "15m", "alertname": "SLOBurn", "exp_alerts": []}]}
    # Nothing is expected, so that promtool prints what it got.
    said = re.findall(r"Annotations:\{(.*)\}", run(promtool, tmp_path, rules, [shown]))
    assert 2 == len(said)
    for shown_text in said:
        assert "cause_runbook" in shown_text
        for forbidden in ("{{", "}}", "<", ">", "`", "y" * 200):
            assert forbidden not in shown_text


def test_an_instance_that_never_answered_well_is_named(promtool: Path, tmp_path: Path) -> None:
    """Where good ones are counted, it has no such counter, and all bad ones come from it."""
    document = slo().replace("bad:", "good:").replace('=~"5.."', '!~"5.."')
    of = {at: OK_.replace("{", f'{{service_instance_id="{at}",') for at in "abc"}
    series = {of["a"]: "0+60x20", of["b"]: "0+60x20", of["c"].replace('"200"', '"500"'): "0+60x20"}
    asked = ('slo:concentration{part="instance"} > bool 0.99', "15m", [('{slo="shop",part="instance",value="c",service_instance_id="c"}', 1.0)])
    rules = only(render(document), *INDICATORS, *CAUSES, "slo:concentration")
    assert "" == run(promtool, tmp_path, rules, [case(series, asked)])


def test_a_stopped_peer_stays_the_cause(promtool: Path, tmp_path: Path) -> None:
    """What it said of itself before weighs little beside the requests that gave up on it."""
    series = {
        OK_: "0+0x20", BAD_: "0+60x20",
        verdict("bad", "shop", "error", "orders", "dependency.errors"): "0+60x20",
        verdict("excess_seconds", "orders", "degraded", "orders", "db.slow"): "0+1x20",
    }  # fmt: skip
    rules = only(render(slo()), *INDICATORS, *CAUSES)
    asked = ('count(cause:score{cause="dependency.errors"} > 0.9)', "15m", [("{}", 1.0)])
    assert "" == run(promtool, tmp_path, rules, [case(series, asked)])


def test_verdict_counters_count_from_their_birth(promtool: Path, tmp_path: Path) -> None:
    """A verdict series born at forty is forty, not nothing; one known before a gap is not counted anew."""
    born = verdict("bad", "shop", "error", "shop", "app.exception")
    known = verdict("bad", "shop", "error", "shop", "db.errors")
    series = {OK_: "0+60x40", BAD_: "0x20 40 40+0x20", born: "_x20 40 40 40", known: "5000x10 _x10 5000x20"}
    rules = only(render(slo()), *INDICATORS, *CAUSES)
    asked = ("round(cause:score, 0.01)", "22m", [('{slo="shop",culprit_service="shop",cause="app.exception"}', 1.0)])
    assert "" == run(promtool, tmp_path, rules, [case(series, asked)])


def test_the_incident_is_kept_while_it_pages(promtool: Path, tmp_path: Path) -> None:
    """The culprit drifts, the page keeps its name; after it, the next one may be named anew."""
    series = {
        OK_: "0+60x400", BAD_: "0+60x30 1800+0x370",
        verdict("bad", "shop", "error", "orders", "db.slow"): "0+60x10 600+0x390",
        verdict("bad", "shop", "error", "payments", "app.lock"): "0x10 0+60x20 1200+0x370",
    }  # fmt: skip
    named = '{__name__="slo:incident",slo="shop",incident="%s"}'
    asked = [("slo:incident", at, [(named % who, 1.0)]) for at, who in (("8m", "orders"), ("28m", "orders"))]
    rules = only(render(slo()), *INDICATORS, *CAUSES)
    assert "" == run(promtool, tmp_path, rules, [case(series, *asked)])


@pytest.mark.parametrize("pair", PAGES, ids=lambda pair: pair.name)
def test_times_to_fire_are_the_workbooks(promtool: Path, tmp_path: Path, pair: Pair) -> None:
    """Seven error levels after a clean long window: fired by the next sample after the formula, and not before."""
    clean, series, asked = pair.long_s // 60 + 5, {}, []
    for percent in (100, 50, 15, 10, 5, 2, 1.5 if pair.long_s == 3600 else 1):
        detection = pair.detection_s(BUDGET, percent / 100)
        assert detection is not None
        minutes = math.ceil(detection / 60)
        bad = int(10 * percent)
        series[at_env(OK_, percent)] = f"0+1000x{clean} {1000 * clean + 1000 - bad}+{1000 - bad}x{minutes + 2}"
        series[at_env(BAD_, percent)] = f"0x{clean} {bad}+{bad}x{minutes + 2}"
        fires = f'count({at_env("slo:pair{}", percent)[:-1]},pair="{pair.name}"}}) or vector(0)'
        asked.append((fires, f"{clean + minutes - 1}m", [("{}", 0.0)]))
        asked.append((fires, f"{clean + minutes + 1}m", [("{}", 1.0)]))
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS), [case(series, *asked)])


@pytest.mark.parametrize("pair", PAGES, ids=lambda pair: pair.name)
def test_times_to_reset_are_the_workbooks(promtool: Path, tmp_path: Path, pair: Pair) -> None:
    """An hour at three error levels, then none: over when the short window is, and not before."""
    series, asked = {}, []
    for percent in (100, 15, 5):
        minutes, bad = (pair.reset_s(BUDGET, percent / 100) or 0) / 60, 10 * percent
        series[at_env(OK_, percent)] = f"0+{1000 - bad}x60 {60 * (1000 - bad) + 1000}+1000x40"
        series[at_env(BAD_, percent)] = f"0+{bad}x60 {60 * bad}+0x40"
        fires = f'count({at_env("slo:pair{}", percent)[:-1]},pair="{pair.name}"}}) or vector(0)'
        asked.append((fires, f"{60 + math.floor(minutes) - 1}m", [("{}", 1.0)]))
        asked.append((fires, f"{60 + math.ceil(minutes) + 1}m", [("{}", 0.0)]))
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS), [case(series, *asked)])


def test_the_simulation_decides_as_promtool_does(promtool: Path, tmp_path: Path) -> None:
    """Twenty random mornings, from 10 to 3,000 requests an hour, each with a fault: the same minutes page."""
    series, asked, paged = {}, [], 0
    for seed in range(20):
        events = poisson(10 / 60 * 1.35**seed, 0.0005, 420, seed)
        events = [(count, count if 365 <= minute < 370 + seed else bad) for minute, (count, bad) in enumerate(events)]
        found = firings(events, BUDGET, PAGES)
        paged += bool(found)
        firing = {minute for begin, end in found for minute in range(begin, end)}
        near = {edge + step for run_of in found for edge in run_of for step in (-2, -1, 0, 1, 2)}
        # An increase leaves out what came before its first sample, so both agree away from the edges.
        sure = [minute for minute in range(362, 419, 3) if minute not in near]
        for name, counts in ((OK_, [count - bad for count, bad in events]), (BAD_, [bad for _count, bad in events])):
            series[at_env(name, seed)] = " ".join(map(str, accumulate(counts)))
        pages = f'count({at_env("slo:pair{}", seed)[:-1]},tier="page"}}) > bool 0 or vector(0)'
        asked += [(pages, f"{minute}m", [("{}", float(minute in firing))]) for minute in sure]
    assert paged >= 15
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS), [case(series, *asked)])
