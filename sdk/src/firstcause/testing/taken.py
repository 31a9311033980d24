"""What was captured, as a test reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """One call of a client library: a statement, a command, a request to a peer, a published message."""

    resource: str
    """`<kind>:<target>`, as in the ledger."""
    text: str
    """What was asked, without values: a normalised statement, a command, `GET /path`."""
    place: str
    """`file:line in function` of the application that asked, empty when there was none on the stack."""
    duration_s: float
    failed: bool


@dataclass(frozen=True)
class Verdict:
    """Why a request was slow or failed."""

    cause: str
    via: str
    service: str
    """Whose resource it was; this service, or one it called."""
    resource: str
    share: float
    """Part of the excess that this cause explains, from 0 to 1."""
    detail: str


@dataclass(frozen=True)
class Request:
    """One request that was served, message that was consumed, or block run by `Capture.unit`."""

    kind: str
    method: str
    route: str
    """The template, such as `/orders/{order_id}`; for messages the topic."""
    path: str
    status: int
    outcome: str
    """`ok`, `slow`, `error`, `degraded` or `cancelled`."""
    duration_s: float
    ledger: Mapping[str, float]
    """Seconds per resource; they sum to `duration_s`."""
    verdict: Verdict | None
    request_id: str
    trace_id: int
    error_type: str = ""
    calls: list[Call] = field(default_factory=list)
    """Every call of a client library that it made, in the order of their ends."""

    @property
    def queries(self) -> list[Call]:
        """The calls that were database statements."""
        return self.calls_to("db")

    def calls_to(self, resource: str) -> list[Call]:
        """The calls to one resource (`db:postgresql/shop`) or to all of a kind (`db`)."""
        return [call for call in self.calls if belongs(call.resource, resource)]

    def spent(self, resource: str) -> float:
        """Seconds on the critical path spent in one resource, or in all of a kind."""
        return sum(seconds for name, seconds in self.ledger.items() if belongs(name, resource))


def belongs(name: str, resource: str) -> bool:
    """Whether the resource `name` is `resource`, or of that kind."""
    return name == resource or name.partition(":")[0] == resource
