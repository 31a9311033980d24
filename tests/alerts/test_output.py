"""Generated files: committed as rendered, deterministic, written whole or not at all; and the gate can fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from firstcause import conventions
from firstcause._config import Config
from firstcause_alerts import load, output, render
from firstcause_alerts.__main__ import main
from firstcause_alerts.tickets import table

from .conftest import ROOT, SLOS
from .specs import LATENCY, TARGETS, slo

GENERATED = ROOT / "alerts" / "generated"
RUNBOOKS = ROOT / "alerts" / "runbooks"


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return render(load(SLOS.read_text()))


def test_committed_files_are_what_the_source_renders(rendered: dict[str, str]) -> None:
    """None is stale, missing or orphaned."""
    assert [] == output.differences(rendered, GENERATED)


def test_rendering_is_deterministic(rendered: dict[str, str]) -> None:
    """Twice the same, with one newline at the end and no carriage return."""
    assert rendered == render(load(SLOS.read_text()))
    assert all(text.endswith("\n") and "\r" not in text for text in rendered.values())


def test_stale_missing_and_orphan_files_each_fail(tmp_path: Path, rendered: dict[str, str]) -> None:
    """One character, one file less, one more: each is named."""
    output.write(rendered, tmp_path / "generated")
    assert [] == output.differences(rendered, tmp_path / "generated")
    rules = tmp_path / "generated" / "rules.yml"
    rules.write_text(rules.read_text().replace("0.0144", "0.0145", 1))
    (tmp_path / "generated" / "alertmanager.yml").unlink()
    (tmp_path / "generated" / "objectives" / "old.env").write_text("")
    found = [problem.split(": ")[:2] for problem in output.differences(rendered, tmp_path / "generated")]
    assert [["orphan", "objectives/old.env"], ["missing", "alertmanager.yml"], ["stale", "rules.yml"]] == found


def test_check_fails_when_generated_files_differ(tmp_path: Path) -> None:
    """Exit 0 after compile, 1 after a change of the source."""
    source = tmp_path / "slos.yml"
    source.write_text(slo() + TARGETS)
    assert 0 == main(["compile", str(source)])
    assert 0 == main(["check", str(source)])
    source.write_text(slo(objective="target: 0.995") + TARGETS)
    assert 1 == main(["check", str(source)])


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, rendered: dict[str, str]) -> None:
    """Compiling replaces a folder only when it holds generated files."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(FileExistsError):
        output.write(rendered, tmp_path / "home")
    assert ["letter"] == [path.name for path in (tmp_path / "home").iterdir()]
    assert ["home"] == [path.name for path in tmp_path.iterdir()]


def test_every_alert_and_every_cause_has_a_runbook(rendered: dict[str, str]) -> None:
    """And there is no runbook for anything else; each says where to look and how to confirm."""
    alerts = {rule["alert"] for rule in all_rules(rendered) if "alert" in rule}
    assert alerts | set(conventions.CAUSES) == {page.stem for page in RUNBOOKS.glob("*.md")}
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        assert text.startswith(f"# {page.stem}\n")
        assert ["Look first", "Stop the bleeding", "Fix it for good", "Confirm"] == re.findall(
            r"^## (.+)$", text, re.MULTILINE
        )


def all_rules(rendered: dict[str, str]) -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(rendered["rules.yml"])["groups"] for rule in group["rules"]]


def test_rules_name_only_series_that_are_declared(rendered: dict[str, str]) -> None:
    """Every series of ours in an expression is in the conventions, and no rule reads ALERTS."""
    known = {conventions.prometheus_name(instrument) for instrument in conventions.INSTRUMENTS}
    known |= {name + suffix for name in known for suffix in ("_count", "_bucket", "_sum")}
    used = {
        name for rule in all_rules(rendered) for name in re.findall(r"\b(?:firstcause|http|db)_\w+", str(rule["expr"]))
    }
    labels = {"http_route", "http_response_status_code"}
    assert set() == used - known - labels
    assert not any("ALERTS" in str(rule["expr"]) for rule in all_rules(rendered))


def test_no_burn_alert_waits_and_every_alert_has_all_labels(rendered: dict[str, str]) -> None:
    """`for` stands on tickets about causes and absence only; labels of grouping and inhibition are never missing."""
    for rule in all_rules(rendered):
        if "alert" in rule:
            assert ("for" in rule) == (not str(rule["alert"]).startswith(("SLO", "Watchdog"))), rule["alert"]
            assert {"severity", "slo", "service", "owner", "role", "environment"} <= set(rule["labels"])  # type: ignore[call-overload]
            assert {"title", "summary", "runbook"} <= set(rule["annotations"])  # type: ignore[call-overload]


def test_causes_are_recorded_before_the_alerts_that_read_them(rendered: dict[str, str]) -> None:
    """One group for all that pages, alerts last."""
    rules = yaml.safe_load(rendered["rules.yml"])["groups"][0]["rules"]
    kinds = ["alert" if "alert" in rule else "record" for rule in rules]
    assert sorted(kinds, reverse=True) == kinds
    assert 38 == kinds.count("alert")


def test_a_new_row_of_the_table_needs_no_change_of_the_compiler(tmp_path: Path) -> None:
    """It becomes an alert with scaled durations."""
    from firstcause_alerts.rules import groups
    from firstcause_alerts.timing import Timing

    (row,) = table("[{alert: New, expr: 'rate(x[<10m>]) > <1h s>', lasting: 5m, summary: Something.}]")
    made = groups(load(slo() + TARGETS), Timing.of(60), (row,))["groups"][1]["rules"][-1]
    assert ("New", "rate(x[10s]) > 60", "5s") == (made["alert"], made["expr"], made["for"])
    with pytest.raises(ValueError, match="New"):
        table("[{alert: New}]")


def test_the_sdk_accepts_the_objectives(rendered: dict[str, str]) -> None:
    """What is written for a service is what its settings then say."""
    lines = [line for line in rendered["objectives/gateway.env"].splitlines() if not line.startswith("#")]
    environ = dict(line.split("=", 1) for line in lines) | {"OTEL_SERVICE_NAME": "gateway"}
    config = Config.from_env(environ)
    assert 500_000_000 == config.objective_ns("GET /products/{sku}", "/products/{sku}")
    assert 2_500_000_000 == config.objective_ns("GET /report", "/report")


def test_statuses_that_an_objective_calls_bad_are_told_to_the_sdk() -> None:
    """429 beside 5xx, for the route and method that the selector names."""
    text = (
        slo()
        .replace('=~"5.."', '=~"5..|429"')
        .replace('service_name="shop"', 'service_name="shop",http_route="/login",http_request_method="POST"')
    )
    found = render(load(text + slo("slow", LATENCY, "op: lte, value: 0.3, target: 0.99") + TARGETS))
    assert "FIRSTCAUSE_BAD_STATUSES=POST /login=429\n" in found["objectives/shop.env"]
    assert "FIRSTCAUSE_OBJECTIVES=default=0.3s\n" in found["objectives/shop.env"]


def test_the_scale_shrinks_everything_and_the_labels_stay(tmp_path: Path) -> None:
    """A minute lasts a second; windows keep their names, so that dashboards work on both."""
    source = tmp_path / "slos.yml"
    source.write_text(slo() + TARGETS)
    made = output.compile(source, tmp_path / "out", time_scale=60, receiver="http://127.0.0.1:9000/")
    assert "[5s]" in made["rules.yml"] and "[5m]" not in made["rules.yml"]
    assert "window: 5m" in made["rules.yml"]
    assert "http://127.0.0.1:9000/page" in made["alertmanager.yml"]
    with pytest.raises(ValueError, match="time_scale"):
        output.compile(source, tmp_path / "out", time_scale=0)
