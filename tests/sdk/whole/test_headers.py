"""Hostile headers over raw sockets: served normally, defaults used, and counted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.sdk.whole.service import Service, exchange, get, parsed, service

MARKS = {"asgi": ("echo", "auto"), "asgi-h11": ("echo", "h11"), "wsgi": ("echo_flask", "")}
TRACE, SPAN = "ab" * 16, "cd" * 8
PARENT = f"traceparent: 00-{TRACE}-{SPAN}-01".encode()


@pytest.fixture(name="echo", scope="module", params=MARKS)
def _echo(request: pytest.FixtureRequest) -> Iterator[Service]:
    program, http = MARKS[request.param]
    with service(program, HTTP=http) as made:
        yield made


def ask(echo: Service, *headers: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """One request: status, response headers, canonical line."""
    status, answered, _body = parsed(exchange(echo.port, get("/items/7", *headers)))
    return status, answered, echo.request_line(answered["x-request-id"])


def rejected(echo: Service, header: str) -> float:
    """How many headers of that name were ignored so far, as `/metrics` says."""
    return echo.counted("firstcause_self_rejected_headers_total", header=header)


PARENTS = {
    "empty": b"",
    "words": b"hello",
    "version-ff": b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    "version-00-with-more": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-more",
    "zero-trace": b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01",
    "zero-span": b"00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01",
    "capitals": b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
    "not-ascii": "00-äöü".encode("latin-1") + b"\xff\xfe",
    "enormous": b"00-" + b"a" * 60_000,
    "dashes": b"-" * 500,
}


@pytest.mark.parametrize("value", PARENTS.values(), ids=PARENTS.keys())
def test_a_broken_traceparent_starts_a_trace_of_its_own(echo: Service, value: bytes) -> None:
    """The answer is the usual one, the ids are new, and the header is counted."""
    before = rejected(echo, "traceparent")
    status, _answered, line = ask(echo, b"traceparent: " + value, b"tracestate: a=1")
    assert 200 == status
    assert re.fullmatch("[0-9a-f]{32}", str(line["trace_id"]))
    assert line["trace_id"] not in ("a" * 32, "A" * 32, "0" * 32)
    assert before + 1 == rejected(echo, "traceparent")


STATES = {
    "513 members": b",".join(b"k%d=v" % n for n in range(513)),
    "33 members": b",".join(b"k%d=v" % n for n in range(33)),
    "9 KB": b"vendor=" + b"x" * 9000,
    "not-ascii": b"vendor=\xff\xfe\xe4",
    "commas": b"," * 600,
}


@pytest.mark.parametrize("value", STATES.values(), ids=STATES.keys())
def test_a_broken_tracestate_is_left_out(echo: Service, value: bytes) -> None:
    """The caller's trace goes on without it."""
    before = rejected(echo, "tracestate")
    status, _answered, line = ask(echo, PARENT, b"tracestate: " + value)
    assert (200, TRACE) == (status, line["trace_id"])
    assert before + 1 == rejected(echo, "tracestate")


BAGS = {
    "64 KB": b"k=" + b"v" * 65_536,
    "200 members": b",".join(b"k%d=v" % n for n in range(200)),
    "percent bomb": b"k=" + b"%25" * 20_000,
    "no equals": b"novalue",
    "separators": b"a b=c,(d)=e",
}


@pytest.mark.parametrize("value", BAGS.values(), ids=BAGS.keys())
def test_broken_baggage_is_left_out(echo: Service, value: bytes) -> None:
    """Over a limit nothing of it is taken, of malformed members only the others."""
    before = rejected(echo, "baggage")
    status, _answered, _line = ask(echo, b"baggage: " + value)
    assert 200 == status
    assert before < rejected(echo, "baggage")


IDS = {
    "empty": b"",
    "129 characters": b"x" * 129,
    "newline": b"one%0d%0aset-cookie:x=y",
    "separators": b"one two;three",
    "unicode": "größe".encode(),
    "not utf-8": b"\xff\xfe\x80",
    "enormous": b"x" * 60_000,
}


@pytest.mark.parametrize("value", IDS.values(), ids=IDS.keys())
def test_a_request_id_that_does_not_fit_is_replaced(echo: Service, value: bytes) -> None:
    """The caller gets one of ours, nothing of what was sent, and no further header."""
    before = rejected(echo, "x-request-id")
    status, answered, _line = ask(echo, b"x-request-id: " + value)
    assert 200 == status
    assert re.fullmatch("[0-9a-f]{32}", answered["x-request-id"])
    assert "set-cookie" not in answered
    assert before + 1 == rejected(echo, "x-request-id")


def test_a_request_id_that_fits_is_taken(echo: Service) -> None:
    """The longest one allowed comes back as it is."""
    given = "Az09._-" + "x" * 121
    status, answered, line = ask(echo, b"X-Request-ID: " + given.encode())
    assert (200, given, given) == (status, answered["x-request-id"], line["request_id"])


STARTS = {
    "nan": b"t=nan",
    "infinite": b"t=inf",
    "minus infinite": b"-inf",
    "beyond floats": b"t=1e400",
    "negative": b"t=-1700000000",
    "words": b"now",
    "empty": b"",
    "underscores": b"1_700_000_000",
    "year 9999": b"t=253402300799",
    "enormous": b"9" * 60_000,
    "not ascii": b"\xb2\xff",
}


@pytest.mark.parametrize("value", STARTS.values(), ids=STARTS.keys())
def test_a_broken_request_start_credits_nothing(echo: Service, value: bytes) -> None:
    """Even from a trusted proxy: no time before the request is invented, and the loop is not held up."""
    before = rejected(echo, "x-request-start")
    status, _answered, line = ask(echo, b"x-request-start: " + value)
    assert 200 == status
    assert "ingress" not in line["ledger"]  # type: ignore[operator]
    assert before + 1 == rejected(echo, "x-request-start")


def test_two_traceparents_are_as_good_as_none(echo: Service) -> None:
    """Whose trace it is cannot be told: it becomes a new one."""
    other = f"traceparent: 00-{'ef' * 16}-{SPAN}-01".encode()
    before = rejected(echo, "traceparent")
    status, _answered, line = ask(echo, PARENT, other)
    assert 200 == status
    assert line["trace_id"] not in (TRACE, "ef" * 16)
    assert before + 1 == rejected(echo, "traceparent")


def test_two_request_ids_are_replaced_by_ours(echo: Service) -> None:
    """The same goes for the request id."""
    status, answered, _line = ask(echo, b"x-request-id: one", b"x-request-id: two")
    assert 200 == status
    assert re.fullmatch("[0-9a-f]{32}", answered["x-request-id"])


def test_hundreds_of_unknown_headers_do_no_harm(echo: Service) -> None:
    """They are not even looked at."""
    many = [b"x-junk-%d: %s" % (n, b"\xff" * 50) for n in range(90)]
    status, _answered, line = ask(echo, PARENT, *many)
    assert (200, TRACE) == (status, line["trace_id"])


def test_an_enormous_body_is_served_with_broken_headers(echo: Service) -> None:
    """A body is not ours to look at."""
    raw = get("/echo", b"traceparent: x", b"baggage: " + b"," * 300, method=b"POST", body=b"\0" * 300_000)
    status, _answered, body = parsed(exchange(echo.port, raw))
    assert (200, b"300000") == (status, re.sub(rb"[^0-9]", b"", body))


def test_all_of_them_at_once_leave_no_error_of_ours(echo: Service) -> None:
    """Hostile input is expected input: nothing ends in the guard."""
    status, _answered, _line = ask(
        echo, b"traceparent: " + PARENTS["enormous"], b"tracestate: " + STATES["513 members"],
        b"baggage: " + BAGS["percent bomb"], b"x-request-id: " + IDS["not utf-8"], b"x-request-start: t=nan",
    )  # fmt: skip
    assert 200 == status
    assert 0 == echo.counted("firstcause_self_errors_total")
