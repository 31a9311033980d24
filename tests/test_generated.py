"""Generated pages equal what the source renders, and the gate that says so can fail."""

from __future__ import annotations

from pathlib import Path

from docs.__main__ import HERE, differences, main, render


def _written(folder: Path) -> Path:
    for name, text in render().items():
        (folder / name).write_text(text, "utf-8")
    return folder


def test_committed_pages_are_what_the_source_renders() -> None:
    """No committed page is stale, missing or orphaned."""
    assert [] == differences(render(), HERE)
    assert 0 == main(["--check"])


def test_rendering_is_deterministic() -> None:
    """Two renderings are equal, end in one newline and have no carriage return."""
    assert render() == render()
    for text in render().values():
        assert text.endswith("\n") and not text.endswith("\n\n") and "\r" not in text


def test_one_changed_character_is_stale(tmp_path: Path) -> None:
    """A page that differs in a single character fails the gate, with the command that mends it."""
    page = _written(tmp_path) / "telemetry.md"
    page.write_text(page.read_text("utf-8").replace("Telemetry", "Telemetri", 1), "utf-8")
    (problem,) = differences(render(), tmp_path)
    assert problem.startswith("stale: telemetry.md: run `python -m docs`")


def test_a_missing_page_fails(tmp_path: Path) -> None:
    """A page that was never written fails the gate."""
    assert [f"missing: {name}: run `python -m docs`" for name in sorted(render())] == differences(render(), tmp_path)


def test_an_orphan_page_fails(tmp_path: Path) -> None:
    """A generated page that nothing renders any more fails the gate; a hand-written one does not."""
    (_written(tmp_path) / "old.md").write_text(render()["telemetry.md"], "utf-8")
    (tmp_path / "operations.md").write_text("# By hand\n", "utf-8")
    (problem,) = differences(render(), tmp_path)
    assert problem.startswith("orphan: old.md")
