"""The mesh: how verdicts travel upstream between services that share a key.

In: marks of requests, verdicts of replies. Here: who is believed and who is told. Out: header values.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..trace.context import member
from .hosts import Realm, bare, loopback
from .marks import KEY, derive, page_issued, page_mark, request_mark, verify_request_mark
from .server_timing import PeerVerdict, read, write

__all__ = ["Mesh", "PeerVerdict"]

_LOOPBACK_KEY = "peers on this machine"


class Mesh:
    """The deployment's key and realm.

    Without a key only loopback peers are asked, told and believed, under a key that everybody knows:
    whoever can bind or reach a loopback port is trusted. Behind a proxy on the same machine, which
    makes every caller a loopback peer, set a key.
    """

    def __init__(self, key: str, hosts: Sequence[str] = ()) -> None:
        self.realm = Realm(hosts)
        self._keyed = bool(key)
        self._key = derive(key or _LOOPBACK_KEY)

    def outgoing(self, host: str, trace_id: int) -> str:
        """The value of our `tracestate` member for a request to `host`; "" for outsiders."""
        return request_mark(self._key, trace_id) if self._trusts(host) else ""

    def incoming(self, state: str, trace_id: int, from_loopback: bool) -> bool:
        """Whether a request's `tracestate` proves that the caller may be told our verdict."""
        if KEY + "=" not in state or not (self._keyed or from_loopback):
            return False
        mark = member(state, KEY)
        return mark != "" and verify_request_mark(self._key, trace_id, mark)

    def answer(self, verdict: PeerVerdict, trace_id: int) -> str:
        """The `Server-Timing` member for a verified caller."""
        return write(verdict, self._key, trace_id)

    def believe(self, header: str, trace_id: int, host: str) -> PeerVerdict | None:
        """The verdict of a reply from `host`, None when it proves nothing."""
        return read(header, self._key, trace_id) if self._trusts(host) else None

    def page(self, traceparent: str, now_s: int, from_loopback: bool) -> str:
        """The `Server-Timing` members for a browser that gets a page; "" for one that could not be believed."""
        if not (self._keyed or from_loopback):
            return ""
        mark = page_mark(self._key, traceparent, now_s)
        return f'traceparent;desc="{traceparent}", fcmark;desc="{mark}"'

    def page_issued(self, traceparent: str, mark: str, from_loopback: bool) -> int:
        """When a page's mark was issued, in seconds since the epoch; 0 when it proves nothing."""
        if not (self._keyed or from_loopback):
            return 0
        return page_issued(self._key, traceparent, mark)

    def _trusts(self, host: str) -> bool:
        return self.realm.own(host) if self._keyed else loopback(bare(host))
