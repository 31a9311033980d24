"""The rules as Prometheus evaluates them, by the real promtool."""

from __future__ import annotations

import math
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from firstcause_alerts.burn_rate import DAY_S, Pair, pairs_for
from firstcause_alerts.simulation import firings, poisson

from .conftest import ROOT
from .specs import BAD_, CAUSES, INDICATORS, OK_, case, only, render, run, slo

GENERATED = ROOT / "alerts" / "generated"
BUDGET = Decimal("0.001")
PAGES = pairs_for(30 * DAY_S)[:2]


def verdict(metric: str, service: str, outcome: str, culprit: str, cause: str) -> str:
    labels = f'service_name="{service}",http_route="/r",outcome="{outcome}",culprit_service="{culprit}",cause="{cause}"'
    return f"firstcause_request_{metric}_total{{{labels}}}"


def test_prometheus_accepts_the_rules(promtool: Path) -> None:
    """`check rules` on the committed file."""
    done = subprocess.run([promtool, "check", "rules", GENERATED / "rules.yml"], capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["tests.yml", "tests-slow.yml"])
def test_every_alert_fires_and_keeps_quiet(promtool: Path, name: str) -> None:
    """The generated tests, on the committed rules."""
    done = subprocess.run([promtool, "test", "rules", name], cwd=GENERATED, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout


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


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAGES, ids=lambda pair: pair.name)
def test_times_to_fire_are_the_workbooks(promtool: Path, tmp_path: Path, pair: Pair) -> None:
    """Seven error levels after a clean long window: fired by the next sample after the formula, and not before."""
    clean, tests = pair.long_s // 60 + 5, []
    for percent in (100, 50, 15, 10, 5, 2, 1.5 if pair.long_s == 3600 else 1):
        detection = pair.detection_s(BUDGET, percent / 100)
        assert detection is not None
        minutes = math.ceil(detection / 60)
        bad = int(10 * percent)
        series = {
            OK_: f"0+1000x{clean} {1000 * clean + 1000 - bad}+{1000 - bad}x{minutes + 2}",
            BAD_: f"0x{clean} {bad}+{bad}x{minutes + 2}",
        }
        asked = f'count(slo:pair{{pair="{pair.name}"}}) or vector(0)'
        early, late = f"{clean + minutes - 1}m", f"{clean + minutes + 1}m"
        tests.append(case(series, (asked, early, [("{}", 0.0)]), (asked, late, [("{}", 1.0)])))
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS), tests)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_simulation_decides_as_promtool_does(promtool: Path, tmp_path: Path) -> None:
    """Twenty random hours of low traffic with a random fault: the same minutes, one sample of difference allowed."""
    tests = []
    for seed in range(20):
        events = poisson(0.5 + seed / 2, 0.0005, 420, seed)
        events = [(count, count if 380 <= minute < 380 + seed else bad) for minute, (count, bad) in enumerate(events)]
        found = firings(events, BUDGET, PAGES)
        firing = {minute for begin, end in found for minute in range(begin, end)}
        near = {edge + step for run_of in found for edge in run_of for step in (-2, -1, 0, 1, 2)}
        # An increase leaves out what came before its first sample, so both agree away from the edges.
        sure = [minute for minute in range(370, 419, 3) if minute not in near]
        good = " ".join(str(sum(c - b for c, b in events[: minute + 1])) for minute in range(len(events)))
        bad = " ".join(str(sum(b for _c, b in events[: minute + 1])) for minute in range(len(events)))
        asked = [
            ('count(slo:pair{tier="page"}) > bool 0 or vector(0)', f"{m}m", [("{}", float(m in firing))]) for m in sure
        ]
        tests.append(case({OK_: good, BAD_: bad}, *asked))
    assert "" == run(promtool, tmp_path, only(render(slo()), *INDICATORS), tests)
