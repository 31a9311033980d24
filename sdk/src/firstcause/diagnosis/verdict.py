"""From shares, baselines and errors to one cause.

A slow unit's excess per resource is what it spent beyond the route's baseline, scaled to the
wall-time excess; the resource with at least half of it is the cause, else `unknown`. A failed
unit's cause is the frame that failed. Waits name what their holders are doing, calls to
instrumented peers adopt the peer's own verdict. Resources are always said; the cause is the
plain id of the resource's kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..conventions import BACKLOG, UNKNOWN, plain_cause
from .baseline import Baseline
from .clock import NAMES
from .holders import ITSELF, Hold
from .ledger import Account, Frame, Ledger, stamped

HALF = 0.5
SAY_MS = 20
"""A service answers its caller with a verdict when its excess is beyond max(20 ms, 20 % of its baseline)."""
SAY_SHARE = 0.2
DETAIL = 120
CHAIN = 20


@dataclass(slots=True)
class Booking:
    """Part of a unit's excess under one cause: who did it, through what, and how much."""

    culprit: str
    version: str
    cause: str
    via: str
    resource: str
    excess_ns: int = 0
    share: float = 0.0
    detail: str = ""
    hops: int = 0
    """Calls between the service that says this and the culprit."""


@dataclass(slots=True)
class Evidence:
    """What a verdict is made from; times in nanoseconds."""

    service: str
    version: str
    ledger: Ledger
    shares: Mapping[str, int]
    wall: int
    baseline: Baseline


def excesses(shares: Mapping[str, int], baseline: Baseline) -> dict[str, int]:
    """Per resource, time beyond the baseline, scaled down to the wall-time excess.

    A cold baseline counts as nothing, so the raw shares stand.
    """
    usual: Mapping[str, int] = {} if baseline.cold else baseline.shares
    over = {r: ns - usual.get(r, 0) for r, ns in shares.items() if ns > usual.get(r, 0)}
    total = sum(over.values())
    wall = sum(shares.values()) - sum(usual.values())
    if wall <= 0 or total <= 0:
        return {}
    # Other resources took less than usual, which made up for part of it.
    if total > wall:
        over = {r: ns * wall // total for r, ns in over.items()}
    return over


def worth_saying(excess: int, baseline: Baseline) -> bool:
    """Whether a caller is told of `excess` (ns): beyond 20 ms and 20 % of the usual wall time."""
    usual = 0 if baseline.cold else baseline.wall
    return excess > max(SAY_MS * 1_000_000, SAY_SHARE * usual)


def slow(evidence: Evidence) -> tuple[list[Booking], Booking]:
    """All bookings of a slow unit, largest first, and the one it counts under."""
    over = excesses(evidence.shares, evidence.baseline)
    total = sum(over.values())
    merged: dict[tuple[str, str], Booking] = {}
    for resource, ns in sorted(over.items(), key=lambda item: -item[1]):
        booking = _of_resource(evidence, resource, ns)
        booking.excess_ns, booking.share = ns, ns / total
        # A pool and its database may lead to the same culprit: only together they show its share.
        key = (booking.culprit, booking.cause)
        if key in merged:
            merged[key].excess_ns += ns
            merged[key].share += ns / total
        else:
            merged[key] = booking
    ranked = sorted(merged.values(), key=lambda b: -b.excess_ns)
    if ranked and ranked[0].share >= HALF:
        return ranked, ranked[0]
    return ranked, _unknown(evidence, total)


def error(evidence: Evidence, failure: BaseException | None, where: str, status: int) -> Booking:
    """The cause of a failed unit; `where` is the place in own code that raised, `status` what was answered."""
    frame, raised = failing_frame(failure, evidence.ledger)
    # Only without an exception: one that came out of no frame is own code's, whatever failed before.
    if frame is None and failure is None:
        frame = evidence.ledger.last_failed
    if frame is not None and frame.failed:
        booking = _of_frame(evidence, frame, raised)
    else:
        what = type(failure).__name__ if failure is not None else f"status {status}"
        detail = f"{what} at {where}" if where else what
        booking = _plain(evidence, "app", failed=True, detail=detail)
    booking.share = 1.0
    return booking


def failing_frame(
    failure: BaseException | None, ledger: Ledger
) -> tuple[Frame | None, BaseException | None]:
    """The frame an exception came out of, along `__cause__` and unsuppressed `__context__`."""
    for _ in range(CHAIN):
        if failure is None:
            break
        frame = stamped(failure)
        # An exception may be raised again in another unit (a shared future), where its frame says nothing.
        if frame is not None and frame.ledger is ledger:
            return frame, failure
        failure = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
    return None, None


def _of_frame(evidence: Evidence, frame: Frame, raised: BaseException | None) -> Booking:
    kind, _, target = frame.resource.partition(":")
    withheld = {name: evidence.shares.get(name, 0) for name in NAMES}
    timed_out = frame.timed_out or _is_timeout(raised)
    # The answer may have been there, unread: for most of the wait we did not get to run.
    if timed_out and sum(withheld.values()) > HALF * (frame.end - frame.start):
        ours = max(withheld, key=lambda name: withheld[name])
        return _plain(evidence, ours, failed=True, detail=_describe(evidence, ours, None))
    if frame.holders is not None and frame.adopted:
        return _of_wait(evidence, frame.resource, frame)
    if kind in ("http", "rpc"):
        peer = frame.peer
        if peer is not None and peer.cause:
            return _of_peer(peer, frame.resource)
        detail = frame.detail or (type(raised).__name__ if raised is not None else "")
        return Booking(
            target, "", plain_cause(frame.resource, not timed_out), "", frame.resource, detail=detail[:DETAIL], hops=1
        )
    detail = frame.detail if raised is None else f"{type(raised).__name__} {frame.detail}"
    return _plain(evidence, frame.resource, failed=kind != "db_pool", detail=detail)


def _is_timeout(raised: BaseException | None) -> bool:
    return isinstance(raised, TimeoutError) or (raised is not None and "Timeout" in type(raised).__name__)


def _of_resource(evidence: Evidence, resource: str, excess: int) -> Booking:
    account = evidence.ledger.accounts.get(resource)
    kind, _, target = resource.partition(":")
    if kind in ("http", "rpc"):
        return _of_call(target, resource, account, excess)
    frame = account.longest if account is not None else None
    if frame is not None and frame.adopted:
        return _of_wait(evidence, resource, frame)
    return _plain(evidence, resource, failed=False, detail=_describe(evidence, resource, account))


def _of_call(target: str, resource: str, account: Account | None, excess: int) -> Booking:
    peer = account.peer.peer if account is not None and account.peer is not None else None
    # What the peer does not own up to was lost on the way, which its verdict cannot explain.
    if peer is not None and peer.cause and peer.excess_ms * 1_000_000 >= HALF * excess:
        return _of_peer(peer, resource)
    detail = account.longest.detail if account is not None and account.longest is not None else ""
    return Booking(target, "", plain_cause(resource, False), "", resource, detail=detail[:DETAIL], hops=1)


def _of_peer(peer: Any, resource: str) -> Booking:
    """Adopt what the peer measured of itself, or passed on from further down."""
    return Booking(
        peer.culprit, peer.culprit_version, peer.cause, peer.via, resource, detail=peer.detail[:DETAIL],
        hops=peer.hops + 1,
    )  # fmt: skip


def _of_wait(evidence: Evidence, resource: str, frame: Frame) -> Booking:
    """What the holders of the thing waited for were doing; the wait itself when they explain nothing."""
    held, (_ns, quote) = max((frame.adopted or {}).items(), key=lambda item: item[1][0])
    if held == ITSELF:
        return _plain(evidence, resource, failed=False, detail=_leak(quote) or frame.detail)
    booking = _of_held(evidence, held, quote)
    return replace(booking, via=resource.partition(":")[0], resource=resource)


def _of_held(evidence: Evidence, held: str, quote: Any) -> Booking:
    kind, _, target = held.partition(":")
    if kind in ("http", "rpc"):
        peer = quote.peer or (evidence.ledger.unit.known_verdict(held) if evidence.ledger.unit else None)
        if peer is not None and peer.cause:
            return _of_peer(peer, held)
        return Booking(target, "", plain_cause(held, False), "", held, detail=quote.detail[:DETAIL], hops=1)
    return _plain(evidence, held, failed=False, detail=getattr(quote, "detail", ""))


def _leak(quote: Any) -> str:
    if not isinstance(quote, Hold):
        return ""
    route = "" if quote.ledger is None or quote.ledger.unit is None else quote.ledger.unit.route
    ended = quote.ledger is not None and quote.ledger.ended
    return f"{'never given back' if ended else 'held'} by {route or 'a unit that ended'} at {quote.where or '?'}"


def _describe(evidence: Evidence, resource: str, account: Account | None) -> str:
    if resource.startswith("runtime:"):
        return evidence.ledger.clock.place() if resource == "runtime:loop" else ""
    if account is None or account.longest is None:
        return ""
    detail = account.longest.detail
    return f"{detail} (longest of {account.count})" if account.count > 1 and detail else detail


def _plain(evidence: Evidence, resource: str, *, failed: bool, detail: str) -> Booking:
    cause = plain_cause(resource, failed)
    account = evidence.ledger.accounts.get(resource)
    if account is not None and account.count == 0 and resource.startswith("queue:"):
        cause = BACKLOG  # credited before the unit began: the message waited, nobody published
    return Booking(evidence.service, evidence.version, cause, "", resource, detail=detail[:DETAIL])


def _unknown(evidence: Evidence, total: int) -> Booking:
    return Booking(evidence.service, evidence.version, UNKNOWN, "", "", total, 1.0, "no dominant cause")
