"""A dashboard's layout as a picture: where each panel stands and of which kind it is; no data."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

UNIT_X, UNIT_Y = 40, 15
FILLS = {
    "row": "#e8e8e8", "stat": "#d9f0d3", "timeseries": "#d4e6f7", "table": "#fdf0d5", "bargauge": "#f9dcd0",
    "heatmap": "#e3d9f2", "state-timeline": "#f2d9e6", "logs": "#eeeeee",
}  # fmt: skip


def svg(model: Mapping[str, Any]) -> str:
    """The picture of one dashboard."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in model["panels"])
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * UNIT_X} {height * UNIT_Y}"'
        ' font-family="sans-serif" font-size="11">'
    )
    return "\n".join([head, f"<title>{escape(model['title'])}</title>", *map(_box, model["panels"]), "</svg>"])


def _box(panel: Mapping[str, Any]) -> str:
    at = panel["gridPos"]
    x, y, w, h = at["x"] * UNIT_X, at["y"] * UNIT_Y, at["w"] * UNIT_X, at["h"] * UNIT_Y
    fill = FILLS.get(panel["type"], "#ffffff")
    text = escape(_short(panel["title"], w // 7))
    weight = "bold" if panel["type"] == "row" else "normal"
    return (
        f'<rect x="{x + 1}" y="{y + 1}" width="{w - 2}" height="{h - 2}" rx="3" fill="{fill}"/>'
        f'<text x="{x + 6}" y="{y + 12}" font-weight="{weight}">{text}</text>'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
