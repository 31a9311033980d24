"""A span takes whatever a host gives it, keeps to its limits, and never raises."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from firstcause.logs.setup import describe
from firstcause.trace import span as module
from firstcause.trace.provider import TracerProvider
from firstcause.trace.span import Common, Span
from firstcause.trace.values import Limits


class Raising:
    """Raises from every conversion."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __iter__ = __len__ = __str__


class UnprintableError(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Colour(str, enum.Enum):
    """An enumeration that is a string."""

    RED = "red"


def span(limits: Limits | None = None) -> Span:
    """A fresh root."""
    return TracerProvider({}, lambda _: None, limits=limits).get_tracer("t").start_span("work")


def test_attributes() -> None:
    """Values that OTLP can carry are kept, in plain types."""
    s = span()
    s.set_attributes(
        {"s": "x", "i": 1, "f": 1.5, "b": True, "l": ["a", 1], "y": b"\x00", "e": Colour.RED, "m": {"k": 1}}
    )
    assert {
        "s": "x", "i": 1, "f": 1.5, "b": True, "l": ("a", 1), "y": b"\x00", "e": "red", "m": {"k": 1}
    } == s.attributes  # fmt: skip
    assert str is type(s.attributes["e"])


@pytest.mark.parametrize("value", [None, Raising(), object(), [[[[[[1]]]]]].append, {1, 2}])
def test_invalid_values_are_dropped(value: object) -> None:
    """A value of another type is not taken, and its conversions are not called."""
    s = span()
    s.set_attribute("k", value)
    s.add_event("e", {"k": value})
    assert {} == s.attributes
    assert {} == s.events[0][2]


@given(st.dictionaries(st.one_of(st.text(), st.integers(), st.none()), st.one_of(st.text(), st.integers(), st.none(),
       st.floats(), st.lists(st.one_of(st.text(), st.none())), st.builds(Raising), st.binary())))  # fmt: skip
def test_hostile_attributes_never_raise(attributes: dict[Any, Any]) -> None:
    """Arbitrary keys and values, wherever they are given, leave a span with string keys."""
    s = TracerProvider({}, lambda _: None).get_tracer("t").start_span("x", attributes=attributes)
    s.set_attributes(attributes)
    s.add_event("e", attributes)
    s.record_exception(ValueError("x"), attributes)
    s.set_attributes(5)  # type: ignore[arg-type]
    s.end()
    assert all(isinstance(key, str) and key for key in s.attributes)


def test_limits() -> None:
    """Beyond the limits attributes, events and links are counted, and strings cut."""
    s = span(Limits(attributes=2, events=1, links=1, value_characters=3))
    s.set_attributes({"a": "12345", "b": ["12345"], "c": 1})
    s.set_attribute("a", "67890")
    context = SpanContext(1, 2, True, TraceFlags(1))
    for _ in range(3):
        s.add_event("e")
        s.add_link(context)
    assert {"a": "678", "b": ("123",)} == s.attributes
    assert (1, 2, 2) == (s.dropped_attributes, s.dropped_events, s.dropped_links)
    assert [(1, 2, "", {}, 1)] == s.links


def test_limits_hold_at_the_start() -> None:
    """Attributes given to `start_span` are limited too."""
    provider = TracerProvider({}, lambda _: None, limits=Limits(attributes=2))
    s = provider.get_tracer("t").start_span("x", attributes={"a": 1, "b": 2, "c": 3})
    assert ({"a": 1, "b": 2}, 1) == (s.attributes, s.dropped_attributes)


def test_status() -> None:
    """OK is final, UNSET changes nothing, an error's description goes with it."""
    s = span()
    s.set_status(StatusCode.ERROR, "broken")
    s.set_status(StatusCode.UNSET)
    assert (2, "broken") == (s.status_code, s.status_message)
    s.set_status(Status(StatusCode.OK))
    s.set_status(StatusCode.ERROR, "again")
    assert (1, "") == (s.status_code, s.status_message)
    assert s.status.is_ok


def test_after_the_end_nothing_changes() -> None:
    """An ended span ignores everything, and ends once."""
    ended: list[Span] = []
    s = TracerProvider({}, ended.append).get_tracer("t").start_span("x", start_time=10)
    s.end(20)
    s.end(30)
    s.set_attribute("a", 1)
    s.add_event("e")
    s.update_name("y")
    s.set_status(StatusCode.ERROR)
    s.record_exception(ValueError())
    assert [s] == ended
    assert ("x", {}, 0, 0, 10, 20) == (
        s.name,
        s.attributes,
        len(s.events),
        s.status_code,
        s.start_time,
        s.end_time,
    )
    assert not s.is_recording()


def test_a_deep_stack_says_where_it_was_raised() -> None:
    """Of a stack that is too long the innermost calls are kept, in spans and in log lines."""

    def down(calls: int) -> None:
        if calls == 0:
            raise ValueError("deep")
        down(calls - 1)

    s = span()
    with pytest.raises(ValueError, match="deep") as raised, s:
        down(100)
    for said in (s.events[0][2], describe(raised.value)):
        assert 'raise ValueError("deep")' in said["exception.stacktrace"]


def test_what_requests_share_is_joined_once_and_bounded() -> None:
    """The same two give the same object; strangers' hosts cannot fill the memory."""
    ending = Common({"http.route": "/a"})
    first = Common({"server.address": "shop"})
    joined = first.joined(ending)
    assert joined is first.joined(ending)
    assert {"server.address": "shop", "http.route": "/a"} == joined.attributes
    for number in range(2 * module.JOINED):
        Common({"server.address": str(number)}).joined(ending)
        assert len(module._joined) <= module.JOINED


def test_leaving_by_an_exception() -> None:
    """The `with` block of a span records the exception by the conventions and lets it through."""
    s = span()
    with pytest.raises(ValueError, match="bad"), s:
        raise ValueError("bad")
    name, at, attributes = s.events[0]
    assert ("exception", "ValueError", "bad") == (
        name,
        attributes["exception.type"],
        attributes["exception.message"],
    )
    assert "test_leaving_by_an_exception" in attributes["exception.stacktrace"]
    assert s.start_ns <= at <= s.end_ns
    assert (2, "ValueError: bad") == (s.status_code, s.status_message)


def test_what_is_not_wanted_is_not_recorded() -> None:
    """`record_exception=False` and `set_status_on_exception=False` are obeyed."""
    tracer = TracerProvider({}, lambda _: None).get_tracer("t")
    s = tracer.start_span("x", record_exception=False, set_status_on_exception=False)
    with pytest.raises(ValueError), s:
        raise ValueError
    assert (0, 0) == (len(s.events), s.status_code)


def test_secrets_in_exceptions_are_redacted() -> None:
    """Neither the event nor the status shows a password that an exception's text has."""
    s = span()
    with pytest.raises(RuntimeError), s:
        raise RuntimeError("cannot reach postgresql://shop:hunter2@db/shop")
    assert "hunter2" not in repr((s.events, s.status_message))


def test_an_unprintable_exception() -> None:
    """An exception whose `__str__` raises is recorded by its type."""
    s = span()
    with pytest.raises(UnprintableError), s:
        raise UnprintableError
    assert "<unprintable>" == s.events[0][2]["exception.message"]
    assert s.events[0][2]["exception.type"].endswith("UnprintableError")


def test_context_is_made_once() -> None:
    """`get_span_context` carries ids, flags and tracestate, and is the same object each time."""
    s = TracerProvider({}, lambda _: None).server_span("GET", (5, 6, 1, "a=1"), 1, {})
    context = s.get_span_context()
    assert context is s.get_span_context()
    assert (5, s.span_id, True, "a=1") == (
        context.trace_id, context.span_id, context.trace_flags.sampled, context.trace_state.to_header()
    )  # fmt: skip
    assert s.parent is not None and (6, True) == (s.parent.span_id, s.parent.is_remote)
    assert SpanKind.SERVER is s.kind
