"""What a collector's answer means for a batch: accepted, worth another try, or lost, and how much of it."""

from __future__ import annotations

from typing import NamedTuple

RETRYABLE = frozenset({429, 502, 503, 504})
"""Statuses after which OTLP/HTTP lets a client send the same data again."""
MAX_RETRY_AFTER_S = 30.0


class Reply(NamedTuple):
    """The outcome of one export; true when the batch was accepted."""

    accepted: bool
    retry: bool = False
    """Whether the same batch may be sent again."""
    retry_after_s: float | None = None
    """The wait the collector asked for, at most `MAX_RETRY_AFTER_S`."""
    reason: str = ""
    """Why it was not accepted: `rejected`, `unreachable`, `exception` or `shutdown`."""
    rejected: int = 0
    """Items of an accepted batch that the collector refused (partial success)."""

    def __bool__(self) -> bool:
        return self.accepted


UNREACHABLE = Reply(False, reason="unreachable")
# Without an answer only this may be sent again: here it is certain that nothing has arrived.
CONNECT_FAILED = Reply(False, retry=True, reason="unreachable")
ABORTED = Reply(False, reason="shutdown")
EXCEPTION = Reply(False, reason="exception")


def read_reply(status: int, retry_after: str | None, body: bytes) -> Reply:
    """The reply of an HTTP status, its `Retry-After` header and its (bounded) body."""
    if 200 <= status < 300:
        return Reply(True, rejected=rejected_items(body))
    if status in RETRYABLE:
        return Reply(False, retry=True, retry_after_s=read_retry_after(retry_after), reason="rejected")
    return Reply(False, reason="rejected")


def read_retry_after(header: str | None) -> float | None:
    """Seconds of a `Retry-After` (number or HTTP date), 0 to 30; None when absent or not understood."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        # Nine digits are beyond the cap already; longer ones need no int.
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    return _seconds_until(text)


def _seconds_until(http_date: str) -> float | None:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def rejected_items(body: bytes) -> int:
    """`partial_success.rejected_spans` (or `…log_records`) of an OTLP response; 0 for anything else."""
    partial = _field(body, 1)
    rejected = _field(partial, 1) if isinstance(partial, bytes) else None
    # An int64: what looks larger is a negative number.
    return rejected if isinstance(rejected, int) and rejected < 1 << 63 else 0


def _field(message: bytes, wanted: int) -> int | bytes | None:
    """The last value of one field of a protobuf message, None when absent or the bytes are no message."""
    found: int | bytes | None = None
    at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            value, at = _value(message, at, tag & 7)
            if tag >> 3 == wanted:
                found = value
    except (IndexError, ValueError):
        return None
    return found


def _value(message: bytes, at: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == 0:
        return _varint(message, at)
    if wire_type == 2:
        size, at = _varint(message, at)
    elif wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
    else:
        raise ValueError(wire_type)
    if at + size > len(message):
        raise ValueError(size)
    return message[at : at + size], at + size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    # Ten bytes hold 64 bits: what goes on after them is no number.
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("varint")
