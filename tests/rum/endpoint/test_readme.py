"""What the README says is done as it says it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import firstcause
from firstcause.testing import Capture

from .pages import beacon
from .servers import answer, asgi, request, wsgi

TEXT = (Path(__file__).parents[3] / "rum" / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("snippet", "serve"), [(SNIPPETS[0], wsgi), (SNIPPETS[1], asgi)], ids=["flask", "fastapi"])
def test_five_lines_to_the_first_page_view(seen: Capture, snippet: str, serve: Any) -> None:
    """The page has the script, the script is there, and its beacon counts a view that is joined."""
    lines = snippet.strip().splitlines()
    assert 5 == len([line for line in lines if not line.startswith("import ")]) + 1
    space: dict[str, Any] = {}
    exec(compile(snippet.replace(", metrics_port=9464", ""), "README.md", "exec"), space)
    with serve(space["app"]) as port:
        _, headers, page = answer(port, request(None, path="/", method="GET"))
        address = re.findall(rb'src="([^"]+)"', page)[0].decode()
        assert 200 == answer(port, request(None, path=address, method="GET"))[0]
        parent, mark = (part.partition('desc="')[2].rstrip('"') for part in headers["server-timing"].split(", "))
        body = beacon(tp=parent, mark=mark, url="http://shop.example/")
        assert 204 == answer(port, request(json.dumps(body).encode()))[0]
    assert 1 == seen.metric("firstcause.page.views", page_route="/", joined="true")


def test_the_page_names_only_what_there_is() -> None:
    """Every setting, instrument and answer that is said exists."""
    from firstcause.conventions import BY_NAME

    groups = re.findall(r"`firstcause\.(page|rum)\.\{([a-z,]+)\}(\.<dimension>)?`", TEXT)
    said = {
        f"firstcause.{area}.{name}{'.device' if dimension else ''}" for area, names, dimension in groups for name in names.split(",")
    }  # fmt: skip
    assert set() == said - set(BY_NAME)
    assert {n for n in BY_NAME if n.startswith(("firstcause.page.", "firstcause.rum.")) and not n.endswith((".region", ".navigation"))} == said
    assert firstcause.ConfigError.__name__ in TEXT
