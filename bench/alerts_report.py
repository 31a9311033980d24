"""What the runs of `bench.alerts` say together: a row per kind, the bounds, and two simpler ways beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

Outcome = dict[str, Any]
BETTER_S, RESOLVED_S = 10.0, 40.0
"""Ten and forty minutes, sixty times as fast."""
HEAD = (
    "run", "runs", "one page", "begun again", "page after s", "formula s", "first", "top 3", "better after s",
    "resolved after s",
)  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """The page to read, and whether every bound holds."""
    hurt = [one for one in outcomes if one["wanted"]]
    bounds = _bounds(hurt, [one for one in outcomes if not one["wanted"]])
    lines = ["# Pages over the demo shop", "", "Sixty times as fast: a second stands for a minute. Medians.", ""]
    lines += [_row(HEAD), _row("---" for _ in HEAD)]
    lines += [_row(_kind(kind, outcomes)) for kind in dict.fromkeys(one["kind"] for one in outcomes)]
    lines += ["", _row(("over all runs", "measured", "bound", "")), _row(["---"] * 4)]
    lines += [_row((what, shown, bound, "held" if held else "**missed**")) for what, shown, bound, held in bounds]
    if hurt:
        chance = sum(one["by_chance"] for one in hurt) / len(hurt)
        lines += ["", "| who names the cause first | right |", "|---|---|"]
        loudest = _share(hurt, lambda one: one["most_alerts"])
        lines += [
            _row(("firstcause", _share(hurt, lambda one: one["place"] == 1))),
            _row(("a random verdict among those that requests had", f"{chance:.0%}")),
            _row(("the service with most firing alerts, its cause unsaid", loudest)),
        ]
    return "\n".join([*lines, ""]), all(held for *_words, held in bounds)


def _row(cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _kind(kind: str, outcomes: Sequence[Outcome]) -> list[str]:
    mine = [one for one in outcomes if one["kind"] == kind]
    if not mine[0]["wanted"]:
        none = sum(one["pages"] == 0 for one in mine)
        return [kind, str(len(mine)), f"none in {none}", *["-"] * (len(HEAD) - 3)]
    counts = [_count(mine, _one_page)]
    counts.append(str(sum(one["again"] for one in mine)))
    counts += [_middle(mine, "paged_s"), _middle(mine, "bound_s")]
    counts += [_count(mine, lambda one: one["place"] == 1), _count(mine, lambda one: one["place"] > 0)]
    return [kind, str(len(mine)), *counts, _middle(mine, "better_s"), _middle(mine, "resolved_s")]


def _count(mine: Sequence[Outcome], right: Callable[[Outcome], bool]) -> str:
    return f"{sum(map(right, mine))} of {len(mine)}"


def _share(mine: Sequence[Outcome], right: Callable[[Outcome], bool]) -> str:
    return f"{sum(map(right, mine)) / max(1, len(mine)):.0%}"


def _middle(mine: Sequence[Outcome], what: str) -> str:
    known = [one[what] for one in mine if one[what] is not None]
    return f"{median(known):.1f}" if known else "-"


def _one_page(one: Outcome) -> bool:
    return 1 <= int(one["pages"]) <= int(one["incidents"])


def _bounds(hurt: Sequence[Outcome], silent: Sequence[Outcome]) -> list[tuple[str, str, str, bool]]:
    def share(what: str, least: float, right: Callable[[Outcome], bool]) -> tuple[str, str, str, bool]:
        return what, _count(hurt, right), f"{least:.0%}", sum(map(right, hurt)) >= least * len(hurt)

    def within(what: str, key: str, most: float) -> tuple[str, str, str, bool]:
        worst = max((one[key] for one in hurt if one[key] is not None), default=0.0)
        # What never came has no seconds, and would not show in the worst.
        missing = sum(one[key] is None for one in hurt)
        return what, f"{worst:.1f} s, {missing} never", f"{most:.0f} s", worst <= most and not missing

    woken, failed = sum(one["pages"] for one in silent), sum(one["failed"] for one in [*hurt, *silent])
    return [
        share("impacting faults that paged", 1.0, lambda one: one["pages"] > 0),
        share("one page per incident", 0.95, _one_page),
        ("pages on quiet and silent runs", str(woken), "0", woken == 0),
        share("the cause named first", 0.8, lambda one: one["place"] == 1),
        share("the cause among the first three", 0.95, lambda one: one["place"] > 0),
        within("told that it is better (or over), slowest", "better_s", BETTER_S),
        within("resolved, slowest", "resolved_s", RESOLVED_S),
        ("rule evaluations that failed", str(failed), "0", failed == 0),
    ]
