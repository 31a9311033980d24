"""An objective in words, for whoever has to agree to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstcause_alerts import load
from firstcause_alerts.__main__ import main
from firstcause_alerts.explain import explain

from .specs import TARGETS, slo


def said(per_hour: float, **given: str) -> list[list[str]]:
    """The lines of an explanation as their columns."""
    spec = load(slo(**given) + TARGETS)
    text = explain(spec.slos[0], spec, per_hour)
    return [[part.strip() for part in line.split("  ") if part.strip()] for line in text.splitlines()]


def test_it_says_what_burns_how_fast_and_when_it_pages() -> None:
    """The workbook's figures for 99.9 % in thirty days."""
    lines = said(600)
    assert ["1h/5m", "page", "14.4×", "1.44 %", "2.0%", "52 s", "4 min 56 s"] in lines
    assert ["3d/6h", "ticket", "1×", "0.1 %", "10.0%", "4 min 19 s", "5 h 59 min"] in lines
    assert ["100%", "1000", "43 min 12 s", "52 s"] in lines
    assert ["1%", "10", "3 d", "3 h 36 min"] in lines


def test_at_low_traffic_the_guard_decides() -> None:
    """Ten requests an hour need half an hour for five failures, and one in twenty failing is never five in six hours."""
    lines = said(10)
    assert ["100%", "1000", "43 min 12 s", "30 min"] in lines
    assert ["5%", "50", "14 h 24 min", "never"] in lines
    assert [
        "By chance, at 10 requests per hour with errors at half the budget: 0.0 pages in 30 days (simulated 10 times)."
    ] in lines


def test_samples_come_at_their_own_pace() -> None:
    """A gauge is held against its value twice a minute: five bad ones take two and a half."""
    gauge = """
      thresholdMetric:
        metricSource:
          type: Prometheus
          spec: {query: 'stock{service_name="shop"}'}
"""
    lines = said(10, indicator=gauge, objective="op: gte, value: 5, target: 0.999")
    assert ["100%", "1000", "43 min 12 s", "2 min 30 s"] in lines
    assert any(line[0].startswith("By chance, at 120 samples per hour") for line in lines if line)


def test_an_unknown_objective_is_named_with_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2."""
    (tmp_path / "slos.yml").write_text(slo() + TARGETS)
    assert 2 == main(["explain", str(tmp_path / "slos.yml"), "--slo", "shp"])
    assert "there is no SLO shp; there are shop" in capsys.readouterr().err
