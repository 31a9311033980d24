"""Committed dashboards equal what the source renders, and the gate that says so can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.__main__ import HERE, check, differences, main, render, write
from dashboards.board import TITLES, Row, flowed
from dashboards.lint import read
from dashboards.panels import Panel
from dashboards.sketch import svg


def test_committed_files_are_what_the_source_renders() -> None:
    """None is stale, missing or orphaned, and none breaks a rule."""
    assert [] == check()
    assert 0 == main(["--check"])


def test_rendering_is_deterministic() -> None:
    """Two renderings are equal, one per title, each ends in one newline."""
    assert render() == render()
    assert [f"{uid}.json" for uid in TITLES] == list(render())
    assert all(text.endswith("}\n") and "\r" not in text for text in render().values())


def test_stale_missing_and_orphaned_files_fail(tmp_path: Path) -> None:
    """One changed character, one file gone and one that nothing makes are each said, with what mends it."""
    write(tmp_path)
    overview = tmp_path / "overview.json"
    overview.write_text(overview.read_text().replace("Overview", "Overviev", 1))
    (tmp_path / "slo.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    stale, missing, orphan = differences(render(), tmp_path)
    assert stale.startswith("stale: overview.json: run `python -m dashboards`")
    assert "missing: slo.json: run `python -m dashboards`" == missing
    assert "orphan: old.json: nothing renders it, delete it" == orphan
    write(tmp_path)
    assert [] == differences(render(), tmp_path)


def test_panels_flow_from_left_to_right_and_wrap() -> None:
    """What does not fit goes below the tallest of the line."""
    panels = tuple(Panel("stat", "", "", width, height) for width, height in ((12, 4), (12, 8), (6, 2)))
    assert [(0, 3, 7), (12, 3, 11), (0, 11, 13)] == [(x, y, end) for _, x, y, end in flowed(panels, 3)]
    assert () == Row("", ()).panels


@pytest.mark.parametrize("uid", TITLES)
def test_a_sketch_has_a_box_per_panel(uid: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every panel is drawn, with its title."""
    model = read(HERE)[uid]
    assert len(model["panels"]) == svg(model).count("<rect ")
    assert 0 == main(["sketch", uid])
    assert capsys.readouterr().out.startswith("<svg ")
