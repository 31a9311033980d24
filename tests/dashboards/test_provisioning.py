"""Provisioning files: only documented keys, references that exist, and every way from one signal to another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import provisioning

SOURCES = yaml.safe_load((provisioning.FOLDER / "datasources/firstcause.yaml").read_text())
Source = dict[str, Any]


def _named(file: Source, uid: str) -> Source:
    return next(source for source in file["datasources"] if source["uid"] == uid)


def _jaeger(file: Source) -> Source:
    return _named(file, "jaeger")["jsonData"]


MUTANTS: dict[str, tuple[Callable[[Source], Any], str]] = {
    "another version": (lambda f: f.update(apiVersion=2), "apiVersion must be 1"),
    "a key at the top": (lambda f: f.update(datasource=[]), "no documented key is called datasource"),
    "no sources": (lambda f: f.update(datasources=[]), "there are none"),
    "a misspelt key": (lambda f: _named(f, "loki").update(uri="x"), "no documented key is called uri"),
    "a missing uid": (lambda f: _named(f, "loki").pop("uid"), "uid is missing"),
    "the same uid": (lambda f: _named(f, "loki").update(uid="jaeger"), "its uid is there twice"),
    "an unknown type": (lambda f: _named(f, "loki").update(type="lokki"), "type must be one of"),
    "access by the browser": (lambda f: _named(f, "loki").update(access="direct"), "access must be one of proxy"),
    "text for a switch": (lambda f: _named(f, "loki").update(editable="no"), "editable must be bool"),
    "a misspelt way": (lambda f: _jaeger(f).update(tracesToLog={"datasourceUid": "loki"}), "tracesToLog.datasourceUid"),
    "a way to nowhere": (lambda f: _jaeger(f)["tracesToLogsV2"].update(datasourceUid="lo"), "no data source 'lo'"),
    "a way of another kind of source": (
        lambda f: _named(f, "prometheus")["jsonData"].update(derivedFields=[{"name": "x"}]), "derivedFields[].name"
    ),
    "a variable that Grafana would fill in": (
        lambda f: _jaeger(f)["tracesToLogsV2"].update(query='{a="b"} | trace_id="${__trace.traceId}"'), "write $$"
    ),
    "an unknown matcher": (
        lambda f: _named(f, "loki")["jsonData"]["derivedFields"][0].update(matcherType="json"), "matcherType must be one of"
    ),
}  # fmt: skip


def _problems(folder: Path, file: Source, provider: Source | None = None) -> list[str]:
    shutil.copytree(provisioning.FOLDER, folder / "p")
    (folder / "p/datasources/firstcause.yaml").write_text(yaml.safe_dump(file))
    if provider is not None:
        (folder / "p/dashboards/firstcause.yaml").write_text(yaml.safe_dump(provider))
    return provisioning.problems(folder / "p")


def test_shipped_files_are_as_documented() -> None:
    """Nothing to say about them."""
    assert [] == provisioning.problems()


@pytest.mark.parametrize("fault", MUTANTS)
def test_a_fault_is_noticed(fault: str, tmp_path: Path) -> None:
    """One fault is said, in words that name it."""
    file = yaml.safe_load(yaml.safe_dump(SOURCES))
    spoil, says = MUTANTS[fault]
    spoil(file)
    found = _problems(tmp_path, file)
    assert any(says in problem for problem in found), found


def test_a_provider_of_undocumented_keys_is_noticed(tmp_path: Path) -> None:
    """A misspelt key and a number for a switch."""
    provider = {"apiVersion": 1, "providers": [{"name": "x", "allowUiUpdate": False, "disableDeletion": 1}]}
    assert [
        "provider x: no documented key is called allowUiUpdate", "provider x: disableDeletion must be bool, not 1",
    ] == _problems(tmp_path, SOURCES, provider)  # fmt: skip


def test_every_signal_leads_to_every_other() -> None:
    """Exemplar to trace, trace to lines and to metrics, line to trace and to its service's metrics."""
    data = {uid: _named(SOURCES, uid)["jsonData"] for uid in ("prometheus", "jaeger", "loki")}
    exemplar, to_trace, _in_text, to_service = (
        *data["prometheus"]["exemplarTraceIdDestinations"], *data["loki"]["derivedFields"],
    )  # fmt: skip
    assert ("trace_id", "jaeger") == (exemplar["name"], exemplar["datasourceUid"])
    assert ("loki", "prometheus") == tuple(data["jaeger"][way]["datasourceUid"] for way in ("tracesToLogsV2", "tracesToMetrics"))
    assert ("trace_id", "jaeger") == (to_trace["matcherRegex"], to_trace["datasourceUid"])
    assert ("service_name", "/d/service?var-service=$${__value.raw}") == (to_service["matcherRegex"], to_service["url"])
