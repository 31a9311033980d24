"""Lines reach the stream, and a broken or blocked one never reaches the host."""

from __future__ import annotations

import io
import os

import orjson
import pytest

from firstcause import _guard
from firstcause.diagnosis.unit import UnitReport
from firstcause.logs import Canonical, Lines, get_logger, install, uninstall
from firstcause.logs.canonical import Told


def test_lines_are_written_in_order() -> None:
    """What was put comes out, once, in order."""
    stream = io.BytesIO()
    lines = Lines(stream)
    for n in range(100):
        lines.put(b"%d\n" % n)
    assert lines.flush(5)
    assert b"".join(b"%d\n" % n for n in range(100)) == stream.getvalue()


def test_the_end_may_come_while_lines_are_gathered() -> None:
    """What has left the queue is written all the same; what has not is counted."""
    _guard.reset_self_counts()
    lines = Lines(io.BytesIO())
    lines._piece = 1
    lines._queue.extend([b"a", b"b", b"c"])
    pieces = lines._pieces()
    assert (b"a", 1) == next(pieces)
    lines.abandon()
    assert [(b"b", 1)] == list(pieces)
    assert [n for (name, _), n in _guard.self_counts().items() if name == "firstcause.self.dropped"]


def test_a_blocked_pipe_drops_and_counts() -> None:
    """A pipe that nobody reads fills the queue; more is dropped, counted, and never waited for."""
    _guard.reset_self_counts()
    reading, writing = os.pipe()
    lines = Lines(os.fdopen(writing, "wb", buffering=0), most=5)
    try:
        for _ in range(50):
            lines.put(b"x" * 200_000)
        assert not lines.flush(0.2)
    finally:
        os.close(reading)
    counts = _guard.self_counts()
    assert 0 < sum(n for (name, _), n in counts.items() if name == "firstcause.self.dropped")


def test_the_canonical_line_has_ledger_and_ids() -> None:
    """One unit is one line, and one record for the sink."""
    stream, records = io.BytesIO(), list[Told]()
    lines = Lines(stream)
    report = UnitReport(
        method="GET", route="/a", status=200, wall_ns=2_000_000, shares={"app": 2_000_000}, trace_id=1, request_id="r"
    )
    Canonical("shop", lines, records.append)(report)
    assert lines.flush(5)
    line = orjson.loads(stream.getvalue())
    assert ("request", "shop", 2.0, {"app": 2.0}, "r") == (
        line["event"], line["service"], line["duration_ms"], line["ledger"], line["request_id"]
    )  # fmt: skip
    assert [1] == [record.trace_id for record in records]


class Odd:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("args", "fields"),
    [(("x %d", "a"), {}), ((Odd(),), {}), (("x",), {"event_": Odd()}), (("x",), {"n": 10**40}),
     (("\ud800",), {}), (("x", 1, 2), {}), (("x",), {"exc_info": 1})],
)  # fmt: skip
def test_no_log_call_raises(args: tuple[object, ...], fields: dict[str, object]) -> None:
    """Bad arguments never raise into the host."""
    install("shop", Lines(io.BytesIO()), None, stdlib=False)
    try:
        assert get_logger().info(*args, **fields) is None  # type: ignore[arg-type]
    finally:
        uninstall()


@pytest.mark.parametrize("fields", [{"n": 10**40}, {"s": "\ud800"}])
def test_values_json_cannot_hold_still_leave_a_line(fields: dict[str, object]) -> None:
    """An integer beyond 64 bits or a lone surrogate does not lose the line."""
    stream = io.BytesIO()
    lines = Lines(stream)
    install("shop", lines, None, stdlib=False)
    try:
        get_logger().info("kept", **fields)
        assert lines.flush(5)
    finally:
        uninstall()
    assert b"kept" in stream.getvalue()
