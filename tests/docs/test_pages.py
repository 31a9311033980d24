"""Every task page does what it says: its snippets run, and print what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from docs.__main__ import MADE
from firstcause._config import Config
from tests.docs.pages import DOCS, Page, Shell, environment, pattern

TASKS = ("business-metric", "fastapi", "flask", "library", "off", "testing", "worker")
NOT_RUN = ("operations",)
"""Needs an engine: tests/e2e/test_compose.py."""
BY_HAND = sorted(p for p in DOCS.glob("*.md") if "<!-- made by" not in p.read_text("utf-8"))


@pytest.mark.parametrize("name", TASKS)
def test_a_page_does_what_it_says(name: str, tmp_path: Path) -> None:
    """Python and shell of the page run in order, and print what the page shows."""
    page = Page(DOCS / f"{name}.md", tmp_path)
    page.run()
    assert {"python", "sh"} <= {block.kind for block in page.blocks()} <= {"python", "sh", "text"}


def test_every_page_is_a_task_or_generated() -> None:
    """A page that nobody runs would rot; each task is found from the folder's own page."""
    assert ["README.md", *sorted(f"{name}.md" for name in (*TASKS, *NOT_RUN))] == [page.name for page in BY_HAND]
    listed = (DOCS / "README.md").read_text("utf-8")
    assert [] == [name for name in (*TASKS, *NOT_RUN) if f"]({name}.md)" not in listed]


@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: page.name)
def test_links_lead_somewhere_and_pages_are_short(page: Path) -> None:
    """Links to pages and files are not broken; a task is read in five minutes."""
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert [] == [target for target in targets if not (page.parent / target).exists()]
    assert 160 >= text.count("\n")


def test_every_setting_is_documented() -> None:
    """The generated page has a row for each field of the configuration, and each row says something."""
    rows = [line.split(" | ") for line in (DOCS / "configuration.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    assert [f"| `{field.name}`" for field in fields(Config)] == [row[0] for row in rows]
    assert [] == [row[0] for row in rows if len(row[-1].strip(" |")) < 10]


def test_every_environment_variable_of_the_pages_is_read() -> None:
    """A variable that a page names is one that the SDK knows."""
    named = {v for page in BY_HAND for v in re.findall(r"\b(?:OTEL|FIRSTCAUSE)_[A-Z_]+[A-Z]\b", page.read_text("utf-8"))}
    known = set(re.findall(r"\b(?:OTEL|FIRSTCAUSE)_[A-Z_]+[A-Z]\b", (DOCS / "configuration.md").read_text("utf-8")))
    assert set() == named - known


def test_switched_off_is_the_bare_application(tmp_path: Path) -> None:
    """Disabled, an answer has no header of ours; an adapter that is switched off is not attached."""
    (tmp_path / "shop.py").write_text(next(b.text for b in Page(DOCS / "off.md", tmp_path).blocks() if b.kind == "python"))
    code = (
        "import redis; from shop import app, report; from starlette.testclient import TestClient;"
        "print(dict(TestClient(app).get('/none').headers).keys(), 'redis' in report.attached)"
    )

    def run(**settings: str) -> str:
        silent = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "FIRSTCAUSE_LOG": "none"}
        command = [sys.executable, "-W", "ignore", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path) | silent | settings, capture_output=True, text=True)
        assert "" == done.stderr
        return done.stdout.splitlines()[-1]

    assert "dict_keys(['content-length', 'content-type', 'x-request-id']) True" == run()
    assert "dict_keys(['content-length', 'content-type']) False" == run(OTEL_SDK_DISABLED="true")
    assert run(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="redis").endswith(" False")


def test_a_page_that_is_wrong_fails(tmp_path: Path) -> None:
    """Python that raises, a command that fails or does not, a text that is not printed, an extra there is not."""
    for wrong in (
        "```python\nassert False\n```\n", "```sh\npython -c 'raise SystemExit(1)'\n```\n",
        "```sh fails\npython -c 1\n```\n", "```sh\npython -c 'print(1)'\n```\n```text\ntwo\n```\n",
        '```sh\npip install "firstcause[nosuch]"\n```\n',
    ):
        (tmp_path / "page.md").write_text(wrong)
        with pytest.raises(AssertionError):
            Page(tmp_path / "page.md", tmp_path).run()


def test_a_printed_line_may_differ_in_numbers_only() -> None:
    """Numbers, ids and runs of spaces may differ, `…` is anything, the rest is exact."""
    assert pattern("3 ×  0.2 ms  SELECT ?").fullmatch("12 × 10.25 ms SELECT ?")
    assert pattern("id: 0af7651916cd43dd8448eb211c80319c…x").fullmatch("id: 00000000000000000000000000000001, and x")
    assert not pattern("3 × SELECT ?").fullmatch("3 × SELECT x")
    assert isinstance(Shell(Path()), Shell)
    assert MADE.startswith("<!-- made by")
