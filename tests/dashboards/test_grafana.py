"""`push`, `diff` and `mark-deploy` through grafana-client, against a recorded server: no Grafana can be started here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.__main__ import main
from dashboards.board import TITLES

from . import recorded


@pytest.fixture(name="grafana")
def _grafana(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    server = recorded.RecordedGrafana()
    monkeypatch.setenv("GRAFANA_URL", server.url)
    monkeypatch.setenv("GRAFANA_TOKEN", recorded.TOKEN)
    yield server
    server.close()


def test_push_makes_the_folder_and_puts_all_there(grafana, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten dashboards, as committed; pushed again they have a second version and the folder is not made again."""
    assert 0 == main(["push"])
    assert {"firstcause": "firstcause"} == grafana.folders
    assert set(TITLES) == set(grafana.dashboards)
    assert 0 == main(["push", "slo"])
    assert "slo: version 2" in capsys.readouterr().out
    assert 1 == grafana.asked.count("POST /api/folders")


def test_what_was_pushed_is_the_same(grafana, capsys: pytest.CaptureFixture[str]) -> None:
    """Id and version, which Grafana adds, are no difference."""
    main(["push"])
    capsys.readouterr()
    assert 0 == main(["diff"])
    assert len(TITLES) == capsys.readouterr().out.count("the same")


def test_diff_says_what_somebody_changed_by_hand(grafana, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed title and a missing dashboard; exit 1."""
    main(["push", "slo"])
    grafana.dashboards["slo"]["title"] = "Ours"
    capsys.readouterr()
    assert 1 == main(["diff", "slo", "service"])
    said = capsys.readouterr().out
    assert '- "title": "Ours",' in said and '+ "title": "SLO",' in said
    assert "service: \n  is not there" in said


def test_a_deploy_is_marked_where_the_dashboards_look(grafana) -> None:
    """At its time in milliseconds, under the tag that the dashboards' marks have."""
    assert 0 == main(["mark-deploy", "orders", "1.4.2", "--at", "1795633200"])
    (mark,) = grafana.marks
    assert (1795633200000, ["deploy", "orders", "1.4.2"], "Deployed orders 1.4.2") == (mark["time"], mark["tags"], mark["text"])


def test_the_token_comes_from_a_file(grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file wins over the environment; its line end does not matter."""
    (tmp_path / "token").write_text(f"{recorded.TOKEN}\n")
    monkeypatch.setenv("GRAFANA_TOKEN", "old")
    assert 0 == main(["mark-deploy", "orders", "2", "--token-file", str(tmp_path / "token")])


@pytest.mark.parametrize(
    ("environment", "arguments", "says"),
    [
        ({"GRAFANA_TOKEN": ""}, ["push"], "no token: give --token-file"),
        ({"GRAFANA_TOKEN": "wrong"}, ["push"], "refuses this token: it needs the role Editor"),
        ({"GRAFANA_URL": "http://127.0.0.1:9"}, ["push"], "no Grafana at http://127.0.0.1:9"),
        ({"GRAFANA_URL": "nonsense://x"}, ["push"], "no Grafana at nonsense://x"),
        ({}, ["push", "gone"], "no dashboard gone; there are browser"),
        ({}, ["push", "--token-file", "/nowhere/token"], "cannot read the token"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    grafana, environment: dict[str, str], arguments: list[str], says: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Exit 2, and a line that says what to do; nothing was stored."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert 2 == main(arguments)
    assert says in capsys.readouterr().err
    assert {} == grafana.dashboards


def test_a_provisioned_dashboard_is_not_overwritten(grafana, capsys: pytest.CaptureFixture[str]) -> None:
    """What Grafana says is repeated."""
    grafana.provisioned.add("slo")
    assert 2 == main(["push", "slo"])
    assert "Cannot save provisioned dashboard" in capsys.readouterr().err
