"""What browsers saw, read from the RUM endpoint's `/metrics` before and after a round, and whom it blames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from firstcause.conventions import PAGE_CAUSES

from . import verdicts
from .verdicts import Reading, Row

VIEWS, BAD, ERRORS = "firstcause_page_views_total", "firstcause_page_bad_total", "firstcause_page_errors_total"
BLAME, LCP = "firstcause_page_blame_seconds_total", "firstcause_page_lcp_region_seconds_bucket"
EDGE = "gateway"
ROUTES = ("/shop", "/shop/products/{sku}", "/shop/checkout")
P75 = 0.75
Labels = tuple[str, ...]


class Figures:
    """Samples of one reading, or what came between two."""

    def __init__(self, samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]) -> None:
        self._samples = samples

    def since(self, before: Figures) -> Figures:
        """What was counted since `before`."""
        return Figures({key: value - before._samples.get(key, 0.0) for key, value in self._samples.items()})

    def by(self, name: str, *labels: str, **where: str) -> dict[Labels, float]:
        """Sums by the values of `labels`, of the samples that fit; what did not grow is left out."""
        return {key: value for key, value in self._sums(name, labels, where).items() if value > 0}

    def _sums(self, name: str, labels: Labels, where: Mapping[str, str]) -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for (named, having), value in self._samples.items():
            has = dict(having)
            if named == name and where.items() <= has.items():
                key = tuple(has.get(label, "") for label in labels)
                found[key] = found.get(key, 0.0) + value
        return found

    def total(self, name: str, **where: str) -> float:
        """The sum of those that fit."""
        return sum(self.by(name, **where).values())

    def lcp(self, **where: str) -> float:
        """The largest contentful paint of three views in four, in seconds, by the buckets; NaN without views."""
        buckets = self._sums(LCP, ("le",), where)
        return quantile(P75, [(float(edge), count) for (edge,), count in buckets.items()])


def quantile(share: float, buckets: Iterable[tuple[float, float]]) -> float:
    """By cumulative buckets, straight within one; the last edge when it is beyond."""
    # As histogram_quantile of Prometheus does it, so that both say the same of the same buckets.
    ranked = sorted(buckets)
    if not ranked or not ranked[-1][1]:
        return float("nan")
    wanted, low, below = share * ranked[-1][1], 0.0, 0.0
    for edge, count in ranked:
        if count >= wanted:
            return low if edge == float("inf") else low + (edge - low) * (wanted - below) / (count - below)
        low, below = edge, count
    return low


@dataclass(frozen=True, slots=True)
class Moment:
    """What browsers had seen by then, and what requests had said: all of the services, and the edge's by page."""

    browsers: Figures
    services: Reading
    pages: dict[str, Reading]


def read(ports: Mapping[str, int]) -> Moment:
    """How it is now; `ports` are those of `/metrics`, by service."""
    browsers, edge = (verdicts.text_of(f"http://127.0.0.1:{ports[name]}/metrics") for name in ("rum", EDGE))
    pages = {route: {EDGE: verdicts.parse(edge, route)} for route in ROUTES}
    return Moment(parse(browsers), verdicts.read_all(ports), pages)


def between(before: Moment, after: Moment) -> tuple[Figures, list[Row]]:
    """What browsers saw from then to then, and whom that blames."""
    said = {
        route: verdicts.between(
            # Of the edge only requests of that page: those of the load say nothing of what browsers waited for.
            {**before.services, **before.pages[route]}, {**after.services, **after.pages[route]}, EDGE
        )
        for route in ROUTES
    }
    seen = after.browsers.since(before.browsers)
    return seen, blamed(seen, said)


def parse(text: str) -> Figures:
    """Figures from the text of the endpoint's `/metrics`."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = {VIEWS, BAD, ERRORS, BLAME, LCP}
    return Figures({
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in wanted
    })  # fmt: skip


def blamed(seen: Figures, backend: Mapping[str, list[Row]]) -> list[Row]:
    """Who made pages slow or fail, as rows for the judge: bad views (those slow shared out by seconds) and seconds.

    Views that prove their trace, as for the alert rules. `backend` has by route what the edge's requests say: it
    stands for the server's part of the route.
    """
    rows = [
        {**row, "via": f"page.{part}"}
        # Anybody may make up a view; only a signed mark shows that it came from a page of ours.
        for (route, part), seconds in seen.by(BLAME, "page_route", "part", joined="true").items()
        for row in _behind(part, seconds, backend.get(route, []))
    ]
    whole = sum(row["excess"] for row in rows) or 1.0
    bad = {outcome: seen.total(BAD, outcome=outcome, joined="true") for outcome in ("slow", "error", "request")}
    merged: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        kept = merged.setdefault((row["service"], row["cause"], row["via"]), {**row, "count": 0.0, "excess": 0.0})
        kept["count"] += bad["slow"] * row["excess"] / whole
        kept["excess"] += row["excess"]
    failed = [
        _row(cause, count=bad[outcome], via=f"page.{outcome}")
        for outcome, cause in (("error", "client.errors"), ("request", "unknown"))
        if bad[outcome]
    ]
    return sorted([*merged.values(), *failed], key=lambda row: (-row["count"], -row["excess"]))


def _behind(part: str, seconds: float, said: list[Row]) -> list[Row]:
    """Whom the seconds of a part belong to: the server's to those whom its requests blame, by their own seconds."""
    total = sum(row["excess"] for row in said)
    if part != "server" or not total:
        return [_row(PAGE_CAUSES.get(part, "unknown"), seconds)]
    return [{**row, "excess": seconds * row["excess"] / total} for row in said]


def _row(cause: str, excess: float = 0.0, count: float = 0.0, via: str = "") -> Row:
    return {"service": EDGE, "cause": cause, "via": via, "count": count, "excess": excess, "detail": ""}
