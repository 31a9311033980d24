"""What a specification says, as frozen objects; nothing here can be half valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from .burn_rate import Pair
from .selector import Selector

PAGE, TICKET, HEARTBEAT = "page", "ticket", "heartbeat"
ENV = "deployment_environment_name"
"""The label that tells environments apart; every rule keeps it."""
PAGE_BAD = "firstcause_page_bad_total"
"""The counter of bad page views: an indicator that has it is about pages, and has causes of its own."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Good or bad events over all of them, both counters."""

    total: Selector
    bad: Selector | None = None
    good: Selector | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests within a time, from a histogram: at one of its bucket edges, or from native buckets."""

    histogram: Selector
    """Without `_bucket` or `_count`."""
    within_s: float
    native: bool


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge held against a value once per evaluation: bad samples over all samples."""

    query: Selector
    good_if: str
    """PromQL's comparison that a good sample passes."""
    value: float
    age: bool = False
    """The gauge is a time stamp, and its age in seconds is meant."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Events per window held against the same hour a day and a week ago."""

    counter: Selector
    at_least: float
    """The part of the usual that is still good."""
    window_s: int


Sli = Ratio | Latency | Level | Pattern


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective."""

    name: str
    title: str
    service: str
    owner: str
    role: str
    """`journey` or `internal`."""
    target: Decimal
    period_s: int
    sli: Sli
    pairs: tuple[Pair, ...]
    covers: tuple[str, ...] = ()
    """Services whose failures this journey shows, so that their own objectives need not page."""
    maintenance: tuple[str, ...] = ()
    line: int = 0
    targets: tuple[str, ...] = ()

    @property
    def budget(self) -> Decimal:
        """The part of events that may be bad."""
        # In floats 1 - 0.999 is 0.0010000000000000009, which rules would show.
        return 1 - self.target

    @property
    def sampled(self) -> bool:
        """Whether samples are counted instead of events."""
        return isinstance(self.sli, Level | Pattern)

    @property
    def of_pages(self) -> bool:
        """Whether page views are counted, not requests."""
        return isinstance(self.sli, Ratio) and self.sli.bad is not None and self.sli.bad.name == PAGE_BAD

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """The series it lives from; without any one of them nothing is known."""
        match self.sli:
            case Ratio(total, _, good):
                # Not the bad ones: their counter is born with the first failure, so its absence says nothing.
                return (total, good) if good else (total,)
            case Latency(histogram, _, True):
                return (histogram,)
            case Latency(histogram):
                return (histogram.named(histogram.name + "_count"), bucket(self.sli))
            case Level(query):
                return (query,)
            case Pattern(counter):
                return (counter,)

    @property
    def events(self) -> Selector:
        """The series whose labels say which service and routes it is about."""
        return self.selectors[0]


def bucket(sli: Latency) -> Selector:
    """The cumulative bucket at the objective; Prometheus 3 says `1.0` where an older one says `1`."""
    edge = f"{sli.within_s:g}"
    found = sli.histogram.named(sli.histogram.name + "_bucket")
    return found.where("le", "=~", f"{edge}|{edge}\\.0") if edge.isdigit() else found.where("le", "=", edge)


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and where people look at it."""

    name: str
    title: str
    links: Mapping[str, str] = field(default_factory=dict)
    """`runbooks`, `traces`, `dashboard`: addresses a notification begins its links with."""


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to notify. Its labels choose which alerts: severity, and optionally owner and environment."""

    name: str
    kind: str
    """`webhook`, `slack`, `pagerduty` or `email`."""
    labels: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file."""

    slos: tuple[Slo, ...]
    services: Mapping[str, Service]
    targets: tuple[Target, ...]
    file: str = "slos.yml"

    def pages(self, slo: Slo) -> bool:
        """Journeys page; an internal objective does only where no journey would show its failure."""
        return slo.role == "journey" or not self.covered(slo.service)

    def covered(self, service: str) -> bool:
        """Whether some journey shows when this service fails."""
        return any(service in (other.service, *other.covers) for other in self.slos if other.role == "journey")

    def link(self, service: str, name: str) -> str:
        """A service's address, else that of any service that has one."""
        own = self.services.get(service)
        found = [own] if own else []
        return next((s.links[name] for s in [*found, *self.services.values()] if s.links.get(name)), "")
