"""What the public API looks like to a type checker: read by mypy --strict and pyright, never run.

`assert_type` says what a call gives; a comment that ignores an error says that there has to be one.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_type

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import firstcause
from firstcause.testing import Call, Capture, Clock, Request, Verdict


def configuring() -> None:
    """The report says what was attached; settings are free-form here, and checked when they are read."""
    report = firstcause.configure(service="orders", objectives={"default": 0.5}, metrics_port=0)
    assert_type(report.attached, list[str])
    assert_type(report.warnings, list[str])
    assert_type(report.metrics_address, str)
    firstcause.configure("orders")
    firstcause.configure("orders", object())  # type: ignore[call-arg]


def failing() -> tuple[str, ...]:
    """All problems at once."""
    try:
        firstcause.configure()
    except firstcause.ConfigError as error:
        assert_type(error.problems, tuple[str, ...])
        return error.problems
    return ()


def ending() -> bool:
    """Both say whether everything went out."""
    assert_type(firstcause.flush(), bool)
    assert_type(firstcause.flush(timeout_s=0.5), bool)
    return firstcause.shutdown(None)


def saying() -> None:
    """A logger of structlog's, and whose request it is."""
    log = firstcause.get_logger("shop")
    log.info("order paid", order_id=7)
    log.bind(order_id=7).warning("late")
    firstcause.identify(user="ada", session="s-81")
    firstcause.identify("ada")  # type: ignore[call-arg]


def spending() -> None:
    """A context manager that gives nothing and swallows nothing: what follows a `raise` in it is known not to run."""
    with firstcause.spending("lock:stock", detail="reserve") as nothing:
        assert_type(nothing, None)
    firstcause.spending(7)  # type: ignore[arg-type]


def never_swallowed() -> int:
    """A checker that believed exceptions could be swallowed would miss a `return` here."""
    with firstcause.spending("lock:stock"):
        return 1


def capturing() -> None:
    """Everything a test reads."""
    with Capture(objectives={"default": 0.05}) as capture:
        assert_type(capture, Capture)
        with capture.unit("load"):
            pass
        assert_type(capture.freeze(), Clock)
        capture.freeze(1_767_225_600.0).tick("50ms")
        capture.wait(1, timeout_s=0.5)
    assert_type(capture.requests, list[Request])
    assert_type(capture.spans, list[ReadableSpan])
    assert_type(capture.metric("orders.paid", plan="yearly"), float)
    capture.assert_queries("<=3", route="GET /orders", resource="cache")
    capture.assert_queries(3)  # type: ignore[arg-type]
    capture.assert_spends("db", "<50ms")
    capture.assert_cause("db.slow", via="db_pool", service="orders")
    capture.assert_no_errors()
    assert_type(capture.assert_logged("paid", order_id=7).trace_id, int)


def reading(request: Request) -> Verdict | None:
    """One request of a capture."""
    assert_type(request.ledger, Mapping[str, float])
    assert_type(request.queries, list[Call])
    assert_type([call.place for call in request.calls_to("db")], list[str])
    assert_type(request.spent("db"), float)
    request.status = 500  # type: ignore[misc]
    return request.verdict


@pytest.fixture
def quiet(capcause: Capture) -> Iterator[Capture]:
    """The fixture's type is the class's."""
    yield capcause
    capcause.assert_no_errors()
