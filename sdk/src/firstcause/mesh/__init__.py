"""The mesh: how verdicts travel upstream between services that share a key.

In: marks of requests, verdicts of replies. Here: who is believed and who is told. Out: header values.
"""

from __future__ import annotations

from collections.abc import Sequence

from .hosts import Realm, loopback
from .marks import KEY, derive, request_mark, same
from .server_timing import PeerVerdict, read, write

__all__ = ["Mesh", "PeerVerdict"]

_LOOPBACK_KEY = "peers on this machine"


class Mesh:
    """The deployment's key and realm.

    Without a key only loopback peers are asked, told and believed: whoever can bind a loopback port
    is trusted with as much already.
    """

    def __init__(self, key: str, hosts: Sequence[str] = ()) -> None:
        self.realm = Realm(hosts)
        self._keyed = bool(key)
        self._key = derive(key or _LOOPBACK_KEY)

    def outgoing(self, host: str, trace_id: int) -> str:
        """The value of our `tracestate` member for a request to `host`; "" for outsiders."""
        allowed = self.realm.own(host) if self._keyed else loopback(host)
        return request_mark(self._key, trace_id) if allowed else ""

    def incoming(self, state: str, trace_id: int, from_loopback: bool) -> bool:
        """Whether a request's `tracestate` proves that the caller may be told our verdict."""
        at = state.find(KEY + "=")
        if at < 0 or (not self._keyed and not from_loopback) or (at and state[at - 1] not in ", "):
            return False
        mark = state[at + len(KEY) + 1 :].partition(",")[0].rstrip()
        return same(mark, request_mark(self._key, trace_id))

    def answer(self, verdict: PeerVerdict, trace_id: int) -> str:
        """The `Server-Timing` member for a verified caller."""
        return write(verdict, self._key, trace_id)

    def believe(self, header: str, trace_id: int, host: str) -> PeerVerdict | None:
        """The verdict of a reply from `host`, None when it proves nothing."""
        if not (self.realm.own(host) if self._keyed else loopback(host)):
            return None
        return read(header, self._key, trace_id)
