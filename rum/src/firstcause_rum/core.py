"""The endpoint without any server: a request's head is admitted, its body accepted, an answer given."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import Any, NamedTuple

from firstcause import _setup
from firstcause._guard import guard
from firstcause.servers.incoming import LOOPBACK
from firstcause.trace.context import new_span_id

from . import body, wire
from ._config import Config
from .address import Address, Networks, network_of
from .limiter import Limiter
from .origin import Headers, allowed, answer_headers, preflight_headers
from .region import Regions
from .reports import Reports, url
from .routes import Names, clean, derived
from .signals import BEACONS, DROPPED, Signals
from .views import Joined, Labels, View, Views
from .visitors import LONGEST, synthetic
from .wire import Body

ACCEPTED, BUSY, NOT_ALLOWED = 204, 429, 405
MARK_S, MARK_AHEAD_S, BEFORE_S = 300, 30, 10
"""How old a mark may be, how far ahead, and how long before its document began (clocks of two of our machines)."""
RELEASES = 30
TICK_S = 1.0
HEADERS = (
    "content-length", "content-type", "content-encoding", "host", "origin", "sec-fetch-site", "user-agent",
    "x-forwarded-for", "access-control-request-method",
)  # fmt: skip


class Reply(NamedTuple):
    """An answer: no body, and nothing that says why."""

    status: int
    headers: Headers


class Visit(NamedTuple):
    """What the head of an admitted request says; the address lives as long as the request."""

    headers: Mapping[str, str]
    address: Address | None
    from_loopback: bool
    edge: str
    """The country that a trusted proxy says; "" without one."""


class Core:
    """One endpoint. Thread-safe; bounded in everything; never raises into its server."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config = config or Config.from_env(os.environ)
        self._networks = Networks(config.trusted_networks)
        self._regions = Regions(config.mmdb, config.regions)
        self._origins = frozenset(config.origins)
        self.wanted = frozenset((*HEADERS, config.region_header.lower()))
        """Headers to be handed over; several of one name joined by commas."""
        self._renew()
        self._out()
        _cores.add(self)

    def _renew(self) -> None:
        config = self.config
        self._lock = threading.Lock()
        self._limiter = Limiter(
            config.address_rate, config.address_burst, config.total_rate, config.total_burst, config.addresses
        )
        self.views = Views(config.views)
        self._routes, self._releases = Names(config.routes), Names(most=RELEASES, most_unproven=RELEASES // 2)
        self._reports: Reports | None = None
        self._ticking: threading.Thread | None = None

    # -- the head -----------------------------------------------------------------------------

    def admit(self, method: str, headers: Mapping[str, str], peer: str) -> Visit | Reply:
        """Before the body is read. `headers` have lower-case names, and may be those `wanted` only."""
        refused = Reply(body.BAD, answer_headers(headers, self._origins))
        with guard("rum.admit"):
            return self._admit(method, headers, peer)
        return refused

    def _admit(self, method: str, headers: Mapping[str, str], peer: str) -> Visit | Reply:
        if method == "OPTIONS":
            return self._preflight(headers)
        if method != "POST":
            return self._reply(NOT_ALLOWED, headers, "method", ("allow", "POST, OPTIONS"))
        address, trusted = self._networks.client(peer, headers.get("x-forwarded-for", ""))
        with self._lock:
            wait = self._limiter.wait(network_of(address), monotonic())
        if wait:
            return self._reply(BUSY, headers, "rate", ("retry-after", str(wait)))
        if not allowed(headers, self._origins):
            return self._reply(body.BAD, headers, "origin")
        try:
            body.check_head(headers)
        except body.Refused as refused:
            return self._reply(refused.status, headers, refused.reason)
        edge = headers.get(self.config.region_header.lower(), "") if trusted and self.config.region_header else ""
        return Visit(headers, address, peer in LOOPBACK, edge)

    def _preflight(self, headers: Mapping[str, str]) -> Reply:
        if headers.get("origin", "") not in self._origins:
            return self._reply(body.BAD, headers, "origin")
        made = self._reply(ACCEPTED, headers, "preflight")
        return Reply(made.status, (*made.headers, *preflight_headers()))

    def _reply(self, status: int, headers: Mapping[str, str], result: str, *more: tuple[str, str]) -> Reply:
        reports = self._out()
        if reports is not None:
            reports.signals.count(BEACONS, result)
        return Reply(status, (*answer_headers(headers, self._origins), *more))

    # -- the body -----------------------------------------------------------------------------

    def refuse(self, visit: Visit, status: int, result: str) -> Reply:
        """For the server's side: a body that was too long or too slow while it was read."""
        return self._reply(status, visit.headers, result)

    def accept(self, visit: Visit, raw: bytes) -> Reply:
        """A whole body: what it says is counted and told, or refused."""
        result = "error"
        try:
            text = body.unpack(raw, visit.headers.get("content-encoding", ""))
            found = wire.read(body.parse(text))
        except body.Refused as refused:
            return self._reply(refused.status, visit.headers, refused.reason)
        with guard("rum.accept"):
            result = self._take(visit, found)
        return self._reply(ACCEPTED, visit.headers, result)

    def _take(self, visit: Visit, found: Body) -> str:
        reports = self._out()
        if reports is None:
            return "off"
        received_ns, now = time_ns(), monotonic()
        visitor = synthetic(visit.headers.get("user-agent", ""), found.fields.get("wd") == 1)
        with self._lock:
            self._tick()
            if visitor and not (visitor == "test" and self.config.count_tests):
                return self._tell_only(reports, visit, found, received_ns, visitor)
            view = self.views.get(found.view) or self._open(reports, visit, found, (received_ns, now), visitor)
            if found.seq in view.bodies:
                return "repeated"
            view.bodies.add(found.seq)
            for reason, n in found.dropped.items():
                reports.signals.count(DROPPED, reason, n=n)
            for item in found.items:
                reports.take(view, item, _dated(received_ns, found, item), now)
            if 0 < view.due <= now:  # what makes it bad is told at once
                reports.settle(view, now)
        return "accepted"

    @staticmethod
    def _tell_only(reports: Reports, visit: Visit, found: Body, received_ns: int, visitor: str) -> str:
        """Bots repeat ids and set clocks: their reports are told of, never joined or counted."""
        labels = Labels("other", "unknown", "unknown", found.navigation, "other")
        view = View(labels, received_ns, _attributes(visit, found, labels, visitor))
        for item in found.items:
            reports.tell_only(view, item, _dated(received_ns, found, item))
        return visitor

    def _open(self, reports: Reports, visit: Visit, found: Body, at: tuple[int, float], visitor: str) -> View:
        received_ns, now = at
        joined = self._joined(reports, visit, found, received_ns)
        fields = found.fields
        place = self._regions.find(visit.edge, visit.address, fields.get("tz", ""))
        proven = joined is not None
        labels = Labels(
            self._routes.bounded(clean(fields.get("route", "")) or derived(found.url), proven=proven),
            fields.get("dev", "unknown"),
            self._regions.label(place),
            found.navigation,
            self._releases.bounded(clean(fields["rel"]), proven=proven) if fields.get("rel") else "unknown",
        )
        attributes = _attributes(visit, found, labels, visitor)
        attributes["firstcause.geo.source"] = place.source
        if place.country:
            attributes["geo.country.iso_code"] = place.country
        if place.continent:
            attributes["geo.continent.code"] = place.continent
        view = View(
            labels, received_ns - int(found.sent * 1e6), attributes, joined, new_span_id(),
            rtt=float(fields.get("rtt", 0)), hidden=fields.get("hid") == 1,
        )  # fmt: skip
        if proven:
            view.wait(now + self.config.settle_s)  # to tell of its load
        gone = self.views.add(found.view, view)
        if gone is not None:
            reports.settle(gone, float("inf"))
        return view

    def _joined(self, reports: Reports, visit: Visit, found: Body, received_ns: int) -> Joined | None:
        """The backend's span, when the mark proves it and belongs to this very load of the page."""
        parent, mark = found.fields.get("tp", ""), found.fields.get("mark", "")
        if not parent or not mark:
            return None
        now = received_ns / 1e9
        issued = reports.signals.recorder.mesh.page_issued(parent, mark, visit.from_loopback)
        if not issued:
            reason = "unsigned"
        elif not now - MARK_S <= issued <= now + MARK_AHEAD_S or issued < now - found.sent / 1000 - BEFORE_S:
            reason = "stale"  # too old, or older than the document: a cache had it
        elif not self.views.first_use(parent, found.view):
            reason = "reused"
        else:
            _version, trace, span, flags = parent.split("-")
            return Joined(int(trace, 16), int(span, 16), int(flags, 16))
        reports.signals.count(DROPPED, reason)
        return None

    # -- what is due --------------------------------------------------------------------------

    def _out(self) -> Reports | None:
        """The way out, once `firstcause.configure` has been called; None while the SDK is off."""
        recorder, known = _setup.recorder(), self._reports
        if recorder is None:
            return None
        if known is None or known.signals.recorder is not recorder:
            known = self._reports = Reports(self.config, Signals(recorder, self.config.series))
        return known

    def settle(self, *, everything: bool = False) -> None:
        """Count the vitals that are due (`everything`: whatever there is). Called by itself every second."""
        with guard("rum.settle"), self._lock:
            reports = self._out()
            if reports is None:
                return
            now = monotonic()
            for view in self.views.waiting() if everything else self.views.due(now):
                reports.settle(view, float("inf") if everything else now)

    def _tick(self) -> None:
        """With the first beacon a thread begins that settles what is due, whether beacons come or not."""
        if self._ticking is None:
            # Not when it is made: threads stay behind when a server forks after it has loaded the application.
            thread = threading.Thread(target=_settle_on, args=(weakref.ref(self),), name="firstcause-rum", daemon=True)
            thread.start()
            self._ticking = thread


def _settle_on(core: weakref.ref[Core]) -> None:
    wake = threading.Event()
    while not wake.wait(TICK_S):
        found = core()
        if found is None:
            return
        found.settle()
        del found  # else this thread would keep it alive while it sleeps


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _after_fork() -> None:
    for core in list(_cores):
        core._renew()


def _at_exit() -> None:
    for core in list(_cores):
        core.settle(everything=True)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


def _dated(received_ns: int, found: Body, item: wire.Item) -> int:
    """The time of an item by our clock; none lies in the future."""
    return received_ns - max(0, int((found.sent - item["t"]) * 1e6))


def _attributes(visit: Visit, found: Body, labels: Labels, visitor: str) -> dict[str, Any]:
    """What every event of a view says of it."""
    attributes: dict[str, Any] = {
        "session.id": found.session, "firstcause.page_view.id": found.view, "url.full": url(found.url),
        "page.route": labels.route, "device": labels.device, "region": labels.region, "navigation": labels.navigation,
        "release": found.fields.get("rel", ""),
        "user_agent.original": visit.headers.get("user-agent", "")[:LONGEST],
    }  # fmt: skip
    if visitor:
        attributes["user_agent.synthetic.type"] = visitor
    if "app" in found.fields:
        attributes["firstcause.page.app"] = found.fields["app"]
    if "net" in found.fields:
        attributes["firstcause.network.effective_type"] = found.fields["net"]
    return attributes
