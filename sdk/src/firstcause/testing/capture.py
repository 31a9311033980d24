"""The capture: what a block of a test made the service do, and what can be asserted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

from .clock import Clock
from .clock import freeze as frozen
from .limits import Limit
from .taken import Request

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.sdk.trace import ReadableSpan

    from ..logs.records import LogRecord

_ERROR = 17
"""OpenTelemetry's severity number of errors."""


class Capture:
    """Everything the SDK would have sent during a `with` block, kept for assertions.

    It works whether the application called `firstcause.configure` before, calls it inside the
    block, or never does; nothing leaves the process meanwhile, and afterwards everything is as it
    was. `settings` are those of `configure`, such as `objectives={"default": 0.05}`. Inside the
    block ids count up from 1, and errors of the SDK itself are raised instead of swallowed.

    Assertions hold for *every* captured request (`route=` picks some), and fail when there is none.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._taking: Any = None
        self._joined: Any = None

    def __enter__(self) -> Self:
        from .joining import Joined
        from .taking import Taking

        self._taking = Taking()
        try:
            self._joined = Joined(self._stack, self._taking, self._settings)
        except BaseException:
            # What was taken hold of until here would stay so for every test that follows.
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- what was captured --------------------------------------------------------------------

    @property
    def requests(self) -> list[Request]:
        """Every request served, message consumed and `unit` run, in the order of their ends."""
        return self._taking.requests  # type: ignore[no-any-return]

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every span, in the order of their ends, as `opentelemetry.sdk` has them."""
        return self._taking.spans  # type: ignore[no-any-return]

    @property
    def logs(self) -> list[LogRecord]:
        """Every log record: `body`, `severity_text`, `attributes`; the canonical lines of requests among them."""
        return self._taking.logs  # type: ignore[no-any-return]

    @property
    def self_counts(self) -> Mapping[str, int]:
        """What the SDK counted of itself (`firstcause.self.*`): drops, rejected headers, errors."""
        from .. import _guard

        return {name: count for (name, _), count in _guard.self_counts().items()}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels; of a histogram, how many values it took.

        `name` is the instrument's, such as `http.server.request.duration` or one of your own. Dots in
        the names of labels are underscores here: `http_route="/orders"`. 0 when there is no series.
        """
        from .readings import total

        return total(self._joined.metrics, self._joined.reader, name, labels)

    # -- control ------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget what was captured so far, such as a login that is not the test's subject."""
        self._taking.clear()

    def wait(self, requests: int = 1, timeout_s: float = 5.0) -> None:
        """Wait until so many requests have ended: for servers in threads. Raises TimeoutError."""
        if not self._taking.wait(requests, timeout_s):
            raise TimeoutError(f"{len(self.requests)} of {requests} requests ended within {timeout_s} s")

    def freeze(self, at_s: float | None = None) -> Clock:
        """Let time stand still inside the SDK, from `at_s` (seconds since the epoch) on, until the capture ends.

        Call it before the requests whose time is to be moved by `tick`. Your own code sees the real time.
        """
        clock = Clock() if at_s is None else Clock(at_s)
        frozen(self._stack, clock)
        return clock

    @contextmanager
    def unit(self, name: str) -> Iterator[None]:
        """Run a block as one unit of work, with a ledger and calls, when there is no request to serve."""
        from .running import unit

        with unit(self._joined.recorder, name):
            yield

    # -- assertions ---------------------------------------------------------------------------

    def assert_queries(self, limit: str, *, route: str | None = None, resource: str = "db") -> None:
        """Each request made this many database statements: `"<=3"`, `"==1"`.

        `resource` may be another kind (`cache`, `http`, `queue`) or one resource (`db:postgresql/shop`).
        """
        __tracebackhide__ = True
        wanted = Limit.parse(limit, ("",))
        over = [r for r in self._picked(route) if not wanted.holds(len(r.calls_to(resource)))]
        if over:
            count = len(over[0].calls_to(resource))
            what = "queries" if resource == "db" else f"calls to {resource}"
            _fail(f"{count} {what}, expected {limit}", over, resource)

    def assert_spends(self, resource: str, limit: str, *, route: str | None = None) -> None:
        """Each request spent this much in a resource or a kind: `"<50ms"`, `"<=0.5s"`, `"<20%"` of its duration."""
        __tracebackhide__ = True
        wanted = Limit.parse(limit, ("us", "ms", "s", "%"))
        over = [r for r in self._picked(route) if not wanted.holds(wanted.of(r.spent(resource), r.duration_s))]
        if over:
            spent = wanted.of(over[0].spent(resource), over[0].duration_s)
            _fail(f"{spent:.3g}{wanted.unit} spent in {resource}, expected {limit}", over, resource)

    def assert_cause(
        self, cause: str, *, via: str | None = None, service: str | None = None, route: str | None = None
    ) -> None:
        """There were slow or failed requests, and each has this cause (`via` and `service`, when given)."""
        __tracebackhide__ = True
        picked = self._picked(route)
        bad = [r for r in picked if r.outcome in ("slow", "error")]
        expected = " ".join(filter(None, [cause, via and f"via {via}", service and f"in {service}"]))
        if not bad:
            _fail(f"no request was slow or failed, expected {expected}", picked)
        wrong = [r for r in bad if not _is_caused(r, cause, via, service)]
        if wrong:
            _fail(f"another cause, expected {expected}", wrong)

    def assert_no_errors(self, *, route: str | None = None) -> None:
        """No request failed, nothing was logged as an error, and the SDK had no error of its own."""
        __tracebackhide__ = True
        from . import words

        failed = [r for r in self._picked(route) if r.outcome == "error"]
        if failed:
            _fail("requests failed", failed)
        logged = [log for log in self.logs if log.severity_number >= _ERROR and not log.event_name]
        if logged:
            lines = [words.record(log.body, log.severity_text, log.attributes) for log in logged]
            raise AssertionError("\n  ".join(["errors were logged:", *lines]))
        if self.self_counts.get("firstcause.self.errors"):
            raise AssertionError(f"the SDK itself had errors: {self.self_counts}")

    def assert_logged(self, event: str, **fields: Any) -> LogRecord:
        """A record with this event and these fields was logged; returns the first. Dots are underscores in `fields`."""
        __tracebackhide__ = True
        from . import words

        found = next((log for log in self.logs if log.body == event and _has(log.attributes, fields)), None)
        if found is None:
            near = [log for log in self.logs if log.body == event] or self.logs
            lines = [words.record(log.body, log.severity_text, log.attributes) for log in near[:10]] or ["(no records)"]
            wanted = words.record(event, "any", fields)
            raise AssertionError("\n  ".join([f"nothing logged like {wanted}; there were:", *lines]))
        return found

    def _picked(self, route: str | None) -> list[Request]:
        __tracebackhide__ = True
        picked = [r for r in self.requests if route is None or route in (r.route, f"{r.method} {r.route}")]
        if picked:
            return picked
        there = sorted({f"{r.method} {r.route}".strip() for r in self.requests})
        if there:
            raise AssertionError(f"no request of route {route!r} was captured; there were: {', '.join(there)}")
        raise AssertionError(
            "no request was captured: is the application attached (firstcause.configure(app=app)), "
            "and has its server answered (capture.wait())?"
        )


def _fail(problem: str, requests: Sequence[Request], resource: str = "") -> NoReturn:
    __tracebackhide__ = True
    from . import words

    raise AssertionError(f"{problem}\n\n{words.described(requests, resource)}")


def _is_caused(request: Request, cause: str, via: str | None, service: str | None) -> bool:
    found = request.verdict
    return found is not None and found.cause == cause and via in (None, found.via) and service in (None, found.service)


def _has(attributes: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    plain = {name.replace(".", "_"): value for name, value in attributes.items()}
    return all(name in plain and plain[name] == value for name, value in fields.items())
