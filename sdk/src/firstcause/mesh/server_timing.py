"""The verdict on the wire: one standard `Server-Timing` member, under a mark."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass

from .._guard import count
from .marks import KEY, answer_mark, same

VERSION = "1"
MOST = 700
"""Characters of our member."""
HEADER_MOST = 8192
FIELD = 64
DETAIL = 120
EXCESS_MS = 10**9
HOPS = 16
_RAW = 480
"""Bytes of the payload: 640 in base64, which leaves room for the mark and the quotes."""
_CANDIDATES = 8
_FIELDS = 11
_SEPARATOR = "\x1f"
# One member with its comma, quoted strings whole. Possessive: a hostile header costs one pass.
_MEMBER = re.compile(r'((?:[^",]++|"(?:[^"\\]++|\\.)*+")*+)(?:,|\Z)', re.DOTALL)
_OURS = re.compile(r'fc\s*;\s*desc\s*=\s*"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([0-9a-f]{16})"')


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """What a service says of its own part of a request; `cause` is empty when it has nothing to say.

    `culprit` is the service at fault, itself or one further down whose verdict it adopted, `hops`
    calls away from it.
    """

    service: str
    version: str
    failed: bool
    resource: str
    cause: str
    via: str
    excess_ms: int
    culprit: str
    culprit_version: str
    detail: str
    hops: int = 0


def write(verdict: PeerVerdict, key: bytes, trace_id: int) -> str:
    """The member for `verdict`, at most 700 characters."""
    fields = (
        verdict.service, verdict.version, "1" if verdict.failed else "", verdict.resource, verdict.cause,
        verdict.via, str(_within(verdict.excess_ms, EXCESS_MS)), verdict.culprit, verdict.culprit_version,
        str(_within(verdict.hops, HOPS)),
    )  # fmt: skip
    head = _SEPARATOR.join([_plain(field, FIELD) for field in fields])
    raw = f"{head}{_SEPARATOR}{_plain(verdict.detail, DETAIL)}".encode("utf-8", "replace")
    if len(raw) > _RAW:
        raw = _shortened(fields, verdict.detail)
    content = VERSION + "." + urlsafe_b64encode(raw).decode().rstrip("=")
    return f'{KEY};desc="{content}.{answer_mark(key, trace_id, content)}"'


def _shortened(fields: tuple[str, ...], detail: str) -> bytes:
    """All fields kept, each short: ten of 32 bytes and a detail of 120 stay below the limit."""
    cut = [_cut_bytes(_plain(field, FIELD), 32) for field in fields]
    return b"\x1f".join([*cut, _cut_bytes(_plain(detail, DETAIL), DETAIL)])


def _cut_bytes(text: str, most: int) -> bytes:
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode()


def _plain(text: str, most: int) -> str:
    """`text` cut, with nothing in it that could be taken for a separator or break a line."""
    text = text[:most]
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _within(number: int, most: int) -> int:
    return min(max(number, 0), most)


def read(header: str, key: bytes, trace_id: int) -> PeerVerdict | None:
    """The verdict in a reply's header; None, counted, when it is not exactly what this trace's peer marked.

    `header` may be several headers joined by commas. A peer appends its own member behind what it
    passes on from further down, so the last one that verifies is the nearest peer's.
    """
    if KEY not in header:
        return None
    if len(header) > HEADER_MOST:
        _refused("oversized")
        return None
    candidates = list(_candidates(header))
    for payload in reversed(candidates):
        found = _verified(payload, key, trace_id)
        if found is not None:
            return found
    if candidates:
        _refused("forged")
    return None


def _candidates(header: str) -> Iterator[tuple[str, str, str]]:
    """Members of ours: version, payload, mark. Those that only look like ours are counted and skipped."""
    at = seen = 0
    while at < len(header) and seen < _CANDIDATES:
        part = _MEMBER.match(header, at)
        if part is None:  # a quoted string without end
            _refused("malformed")
            break
        at = part.end()
        text = part[1].strip()
        if not text.startswith(KEY) or text[len(KEY) :].lstrip()[:1] not in (";", ""):
            continue
        seen += 1
        ours = _OURS.fullmatch(text) if len(text) <= MOST else None
        if ours is None:
            _refused("malformed")
        else:
            yield ours[1], ours[2], ours[3]


def _verified(payload: tuple[str, str, str], key: bytes, trace_id: int) -> PeerVerdict | None:
    version, encoded, mark = payload
    # The mark first: nothing of a forged payload is decoded.
    if version != VERSION or not same(mark, answer_mark(key, trace_id, f"{version}.{encoded}")):
        return None
    try:
        raw = b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        text = raw.decode()
        fields = text.split(_SEPARATOR)
        if len(fields) != _FIELDS:
            return None
        if not text.replace(_SEPARATOR, "").isprintable():
            fields = [_plain(field, DETAIL) for field in fields]
        service, release, failed, resource, cause, via, excess, culprit, culprit_version, hops, detail = fields
        return PeerVerdict(
            service, release, failed == "1", resource, cause, via, _within(int(excess), EXCESS_MS), culprit,
            culprit_version, detail, _within(int(hops), HOPS),
        )  # fmt: skip
    except ValueError:
        return None


def _refused(reason: str) -> None:
    count("firstcause.self.rejected_headers", header="server-timing", reason=reason)
