"""The verdict on the wire: one standard `Server-Timing` member, under a mark."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from .._guard import count
from .marks import KEY, answer_mark, same

VERSION = "1"
MOST = 700
HEADER_MOST = 8192
FIELD = 64
DETAIL = 120
_MEMBER = re.compile(r'(?:^|,)\s*fc;desc="([A-Za-z0-9_.=-]{1,700})"\s*(?=,|$)')
_SEPARATOR = "\x1f"
_FIELDS = 10


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """What a service says of its own part of a request; `cause` is empty when it has nothing to say.

    `culprit` is the service at fault, itself or one further down whose verdict it adopted.
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


def write(verdict: PeerVerdict, key: bytes, trace_id: int) -> str:
    """The member for `verdict`, at most 700 characters."""
    fields = (
        verdict.service, verdict.version, "1" if verdict.failed else "", verdict.resource, verdict.cause,
        verdict.via, str(min(verdict.excess_ms, 10**9)), verdict.culprit, verdict.culprit_version,
    )  # fmt: skip
    capped = [field.replace(_SEPARATOR, " ")[:FIELD] for field in fields]
    payload = _SEPARATOR.join([*capped, verdict.detail.replace(_SEPARATOR, " ")[:DETAIL]])
    raw = payload.encode("utf-8", "replace")
    while len(raw) > 480:
        raw = raw[:-8].decode("utf-8", "ignore").encode()
    content = VERSION + "." + urlsafe_b64encode(raw).decode().rstrip("=")
    return f'{KEY};desc="{content}.{answer_mark(key, trace_id, content)}"'


def read(header: str, key: bytes, trace_id: int) -> PeerVerdict | None:
    """The verdict in a reply's header; None, counted, when it is not exactly what this trace's peer marked."""
    if KEY + ";" not in header:
        return None
    found = _MEMBER.search(header) if len(header) <= HEADER_MOST else None
    if found is None:
        return _refused("malformed")
    content, _, mark = found.group(1).rpartition(".")
    if not same(mark, answer_mark(key, trace_id, content)):
        return _refused("forged")
    version, _, encoded = content.partition(".")
    if version != VERSION:
        return _refused("version")
    try:
        text = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        fields = text.split(_SEPARATOR)
        service, release, failed, resource, cause, via, excess, culprit, culprit_version, detail = fields
        return PeerVerdict(
            service, release, failed == "1", resource, cause, via, int(excess), culprit, culprit_version, detail
        )
    except ValueError:
        return _refused("malformed")


def _refused(reason: str) -> None:
    count("firstcause.self.rejected_headers", header="server-timing", reason=reason)
