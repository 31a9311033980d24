"""Which hosts belong to the deployment."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT = (".svc", ".internal", ".local")
REMEMBERED = 1024


class Realm:
    """The allow-list for marks and baggage: loopback, names without a dot, and suffixes or names given."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._patterns = tuple(pattern.lower().lstrip("*") for pattern in (*DEFAULT, *patterns))
        self._known: dict[str, bool] = {}

    def own(self, host: str) -> bool:
        """Whether `host` (no port) is one of ours."""
        found = self._known.get(host)
        if found is None:
            found = self._decide(host.lower().strip("[]").rstrip("."))
            if len(self._known) < REMEMBERED:
                self._known[host] = found
        return found

    def _decide(self, host: str) -> bool:
        if loopback(host):
            return True
        if not host or ":" in host:
            return host in self._patterns
        if "." not in host:
            return True
        return any(host.endswith(p) if p.startswith(".") else host == p for p in self._patterns)


def loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())
