"""Which hosts belong to the deployment."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT = (".svc", ".internal", ".local")
REMEMBERED = 1024
LONGEST = 255


class Realm:
    """The allow-list for marks and baggage: loopback, names without a dot, and suffixes or names given.

    A pattern is a host name (`api.example.com`) or a suffix (`.example.com`, `*.example.com`).
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(pattern.strip().lower().removeprefix("*") for pattern in (*DEFAULT, *patterns))
        self._known: dict[str, bool] = {}

    def own(self, host: str) -> bool:
        """Whether `host` (a port is ignored) is one of ours."""
        found = self._known.get(host)
        if found is None:
            found = self._decide(bare(host))
            if len(self._known) < REMEMBERED and len(host) <= LONGEST:
                self._known[host] = found
        return found

    def _decide(self, host: str) -> bool:
        if not host or len(host) > LONGEST or not host.isascii():
            return False
        if loopback(host):
            return True
        if "." not in host and ":" not in host:
            # An address may also be written as one number: that is no name.
            return not host.isdigit() and not host.startswith("0x")
        return any(host.endswith(p) if p.startswith(".") else host == p for p in self._patterns)


def bare(host: str) -> str:
    """`host` in lower case, without brackets, port and the root's dot."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")


def loopback(host: str) -> bool:
    """Whether `host`, as `bare` gives it, is this machine."""
    if host in ("localhost", "::1"):
        return True
    # IPv4, as a socket of both families shows it.
    host = host.removeprefix("::ffff:")
    return host.startswith("127.") and host.isascii() and host.replace(".", "").isdigit()
