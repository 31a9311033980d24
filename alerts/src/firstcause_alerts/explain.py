"""An objective in words: what burns how fast, when it pages, and how often by chance."""

from __future__ import annotations

from collections.abc import Sequence

from .burn_rate import MIN_BAD, Pair, exhaustion_s
from .durations import words
from .model import PAGE, Latency, Level, Pattern, Ratio, Slo, Spec
from .selector import Selector
from .simulation import by_chance
from .timing import EVALUATE_S

RATIOS = (1.0, 0.15, 0.05, 0.01)
RUNS, DAYS = 10, 30


def explain(slo: Slo, spec: Spec, per_hour: float) -> str:
    """Sentences, a table of the pairs, and what happens by chance at this traffic; samples have a pace of their own."""
    if slo.sampled:
        per_hour = 3600 / EVALUATE_S
    return "\n".join(
        [*_sentences(slo, spec), "", *_table(slo), "", *_levels(slo, per_hour), "", _chance(slo, per_hour)]
    )


def _sentences(slo: Slo, spec: Spec) -> list[str]:
    tolerated = float(slo.budget) * 100
    woken = "pages" if spec.pages(slo) else "writes tickets to"
    share, counted = f"{float(slo.target) * 100:g} %", "samples" if slo.sampled else "events"
    return [
        f"{slo.title} ({slo.name}, service {slo.service}, {slo.role})",
        f"Good means: {good(slo)}. {share} of it in {words(slo.period_s)}, so {tolerated:.4g} % may be bad.",
        f"It {woken} {slo.owner}, and needs at least {MIN_BAD} bad {counted} in the long window.",
    ]


def good(slo: Slo) -> str:
    """What a good event is."""
    match slo.sli:
        case Latency(_, within_s, native):
            return f"answered within {within_s:g} s ({'native histogram' if native else 'bucket edge'})"
        case Level(query, good_if, value, age):
            return f"{'the age of ' if age else ''}{query} {good_if} {value:g}"
        case Pattern(counter, at_least, window_s):
            return f"{counter} in {words(window_s)} at least {at_least:.0%} of the same time a day and a week ago"
        case Ratio(_, Selector() as bad, _):
            return f"not in {bad}"
        case Ratio(_, _, known):
            return f"in {known}"


def _table(slo: Slo) -> list[str]:
    head = ("windows", "who", "burns over", "bad above", "budget spent", "at 100 % bad", "lasts after the fix")
    return table([head, *(_row(slo, pair) for pair in slo.pairs)])


def _row(slo: Slo, pair: Pair) -> tuple[str, ...]:
    detect, reset = pair.detection_s(slo.budget, 1.0), pair.reset_s(slo.budget, 1.0)
    return (
        pair.name, pair.tier, f"{pair.factor:f}×", f"{float(pair.threshold(slo.budget)) * 100:.4g} %",
        f"{pair.spent(slo.period_s):.1%}", "never" if detect is None else words(detect),
        "-" if reset is None else words(reset),
    )  # fmt: skip


def _levels(slo: Slo, per_hour: float) -> list[str]:
    pages = [pair for pair in slo.pairs if pair.tier == PAGE]
    rows = [("bad events", "burn rate", "budget gone after", "pages after")]
    for ratio in RATIOS:
        found = [at for pair in pages if (at := _paged_s(pair, slo, ratio, per_hour)) is not None]
        burn = ratio / float(slo.budget)
        rows.append(
            (
                f"{ratio:.0%}",
                f"{burn:.4g}",
                words(exhaustion_s(slo.period_s, burn)),
                words(min(found)) if found else "never",
            )
        )
    return table(rows)


def _paged_s(pair: Pair, slo: Slo, ratio: float, per_hour: float) -> float | None:
    """When the formula is met and the guard has its bad events, on average; None when never both."""
    detection = pair.detection_s(slo.budget, ratio)
    guarded = MIN_BAD / max(per_hour * ratio / 3600, 1e-9)
    return None if detection is None or guarded > pair.long_s else max(detection, guarded)


def _chance(slo: Slo, per_hour: float) -> str:
    pages = tuple(pair for pair in slo.pairs if pair.tier == PAGE)
    # At half the budget the objective is met, so every page is a false one.
    bad_ratio = float(slo.budget) / 2
    found = sum(by_chance(per_hour / 60, bad_ratio, DAYS * 1440, slo.budget, pages, seed) for seed in range(RUNS))
    what = "samples" if slo.sampled else "requests"
    return (
        f"By chance, at {per_hour:g} {what} per hour with errors at half the budget: {found / RUNS:.1f} pages "
        f"in {DAYS} days (simulated {RUNS} times)."
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
