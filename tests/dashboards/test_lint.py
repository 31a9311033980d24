"""Our rules for dashboards: the shipped ones keep them, and each rule notices the fault it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dashboards import lint, needs
from dashboards.__main__ import HERE
from dashboards.queries import asked, selected

SHIPPED = lint.read(HERE)
Model = dict[str, Any]


def _panel(model: Model, title: str) -> Model:
    return next(panel for panel in model["panels"] if panel["title"] == title)


def _first(model: Model) -> Model:
    return next(panel for panel in model["panels"] if panel["type"] == "timeseries")


def _ask(model: Model, expr: str) -> None:
    _first(model)["targets"][0]["expr"] = expr


def _column(model: Model, title: str, key: str) -> Model:
    """The first override of a table that has a property `key`."""
    overrides = _panel(model, title)["fieldConfig"]["overrides"]
    return next(one for override in overrides for one in override["properties"] if one["id"] == key)


SELECTOR = 'http_server_request_duration_seconds_count{deployment_environment_name=~"$env"}'
MUTANTS: dict[str, tuple[Callable[[Model], Any], str]] = {
    "a title is missing": (lambda m: _first(m).pop("title"), "cannot be read"),
    "a title is empty": (lambda m: _first(m).update(title=""), "cannot be read"),
    "a title is a whole sentence": (lambda m: _first(m).update(title="W" + "ho" * 40), "at most 60 characters"),
    "a description is missing": (lambda m: _first(m).pop("description"), "'description' is a required property"),
    "a description says nothing": (lambda m: _first(m).update(description="Graph"), "is no sentence"),
    "two panels have one title": (lambda m: _first(m).update(title="Objectives that page"), "2 panels have this title"),
    "a unit is missing": (lambda m: _first(m)["fieldConfig"]["defaults"].pop("unit"), "no unit"),
    "a column has no unit": (lambda m: _column(m, "Services", "unit").update(value=""), "has no unit"),
    "a key is misspelt": (lambda m: _first(m).update(descripton="x"), "Additional properties are not allowed"),
    "a panel is of no known kind": (lambda m: _first(m).update(type="graph"), "'graph' is not one of"),
    "a source does not exist": (lambda m: _first(m).update(datasource={"type": "x", "uid": "y"}), "is not valid under"),
    "it can be edited": (lambda m: m.update(editable=True), "True is not one of"),
    "ids are there twice": (lambda m: _first(m).update(id=2), "id 2 is there 2 times"),
    "panels overlap": (lambda m: _first(m)["gridPos"].update(y=1), "overlap"),
    "a panel sticks out": (lambda m: _first(m)["gridPos"].update(x=20), "sticks out"),
    "a line has a gap": (lambda m: _panel(m, "Failed")["gridPos"].update(w=3), "has a gap"),
    "thresholds fall": (
        lambda m: _panel(m, "Failed")["fieldConfig"]["defaults"]["thresholds"]["steps"].reverse(), "and grow"
    ),
    "a window is fixed": (lambda m: _ask(m, f"sum(rate({SELECTOR}[5m]))"), "[5m]: use [$__rate_interval]"),
    "a counter has no rate": (lambda m: _ask(m, f"sum({SELECTOR})"), "is a counter"),
    "a naked counter": (lambda m: _ask(m, SELECTOR), "is a counter"),
    "a gauge has a rate": (
        lambda m: _ask(m, "sum(rate(http_server_active_requests[$__rate_interval]))"), "is no counter"
    ),
    "a metric is unknown": (lambda m: _ask(m, "sum(http_requests)"), "no known metric is called 'http_requests'"),
    "a query does not parse": (lambda m: _ask(m, "sum(up"), "does not parse"),
    "a variable is undeclared": (lambda m: _ask(m, 'up{job=~"$job"}'), "does not parse"),
    "a variable is not declared": (lambda m: _ask(m, 'up{job=~"$page"}'), "$page is used and not declared"),
    "a variable is not used": (
        lambda m: m["templating"]["list"].append({**m["templating"]["list"][0], "name": "page"}),
        "$page is declared and not used",
    ),
    "a legend names what is summed away": (
        lambda m: _first(m)["targets"][0].update(legendFormat="{{pod}}"), "the legend names pod"
    ),
    "a link leads nowhere": (lambda m: m["links"][0].update(url="/d/gone"), "leads nowhere"),
    "a link leaves Grafana": (lambda m: m["links"][0].update(url="http://example.com"), "leads nowhere"),
    "a link sets no variable of its target": (
        lambda m: m["links"][0].update(url="/d/slo?${__url_time_range}&var-page=x"), "slo has no variable page"
    ),
    "a link loses the time range": (lambda m: m["links"][0].update(url="/d/slo?var-slo=x"), "loses the time range"),
    "the uid is another": (lambda m: m.update(uid="other"), "not its file's name"),
}  # fmt: skip


def test_shipped_dashboards_keep_every_rule() -> None:
    """Ten of them, and nothing to say about any."""
    assert 10 == len(SHIPPED)
    assert [] == lint.problems(SHIPPED)


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_is_noticed(fault: str) -> None:
    """One fault in the overview is said, in words that name it."""
    models = {**SHIPPED, "overview": copy.deepcopy(SHIPPED["overview"])}
    spoil, says = MUTANTS[fault]
    spoil(models["overview"])
    found = lint.problems(models)
    assert any(says in problem for problem in found), found


def test_every_query_parses_and_reads_something() -> None:
    """PromQL of panels, marks and variables, with every variable filled in."""
    queries = [query for model in SHIPPED.values() for query in asked(model) if query.source == "prometheus"]
    assert 200 < len(queries)
    assert [] == [query.place for query in queries if not selected(query.expr)]


def test_the_list_of_needs_names_queries_there_are() -> None:
    """Each entry of the visible list is a query of a shipped dashboard, and is there once."""
    there = {(query.board, query.panel, query.ref) for model in SHIPPED.values() for query in asked(model)}
    assert set() == needs.places() - there
    assert len(needs.places()) == sum(len(need.refs) for need in needs.NEEDS)


def test_what_is_no_metric_of_prometheus_is_on_the_list() -> None:
    """Queries for traces and lines can only be answered by their stores."""
    elsewhere = {
        (query.board, query.panel, query.ref)
        for model in SHIPPED.values() for query in asked(model) if query.source != "prometheus"
    }  # fmt: skip
    assert elsewhere == {place for need in needs.NEEDS if need.what in (needs.LOKI, needs.JAEGER) for place in need.places()}
