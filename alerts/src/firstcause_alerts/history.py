"""A healthy past for a Prometheus that has none: with a short history the long windows page too early.

For demos and benches: `promtool tsdb create-blocks-from openmetrics` turns the text into blocks of an empty store.
"""

from __future__ import annotations

from collections.abc import Mapping

from .cases import healthy
from .model import Spec
from .selector import Selector, parse


def openmetrics(
    spec: Spec,
    *,
    until: float,
    seconds: float,
    step_s: float,
    per_second: float,
    labels: Mapping[str, str],
    views_per_second: float | None = None,
) -> str:
    """Counters of every objective that grew by `per_second`, all good, for `seconds` before `until` (since the epoch).

    Page views grow by `views_per_second` (None: the same); a past with more of them than come now pages late.
    `labels` are added to each series: the environment, and an instance of its own, since real ones count on from zero.
    """
    steps = int(seconds / step_s)
    named = [(_labelled(parse(one), labels), pace > 0) for one, pace in sorted(healthy(spec).items())]
    # Objectives of the same requests name them by more or fewer labels; counted twice they would weigh twice.
    growing = [set(series.matchers) | {series.name} for series, grows in named if grows]
    named = [one for one in named if not any({*one[0].matchers, one[0].name} < other for other in growing)]
    lines = []
    for metric in sorted({series.name for series, _grows in named}):
        lines.append(f"# TYPE {metric} unknown")  # `counter` would ask for another name
        views = views_per_second if metric.startswith("firstcause_page_") else None
        pace = per_second if views is None else views
        for series, grows in named:
            if series.name == metric:
                lines += [
                    f"{series} {pace * step * step_s * grows:g} {until - (steps - step) * step_s:.3f}"
                    for step in range(steps + 1)
                ]
    # OpenMetrics ends so; promtool refuses a text without it.
    return "\n".join([*lines, "# EOF", ""])


def _labelled(series: Selector, labels: Mapping[str, str]) -> Selector:
    for label, value in labels.items():
        series = series.without(label).where(label, "=", value)
    return series
