"""Token buckets: one per network in a bounded memory of the latest, and one for all. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil


class Limiter:
    """Says how long a beacon would have to wait; not thread-safe, the caller holds a lock."""

    def __init__(self, rate: float, burst: int, total_rate: float, total_burst: int, most: int) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._total_rate, self._total_burst = total_rate, total_burst
        self._total: tuple[float, float] = (total_burst, 0.0)
        self._known: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, network: bytes, now: float) -> int:
        """Seconds to wait, 0 when the beacon may come; only then is it counted."""
        own = _level(self._known.get(network), self._rate, self._burst, now)
        total = _level(self._total, self._total_rate, self._total_burst, now)
        # A refused one takes no token: who keeps asking gets in as soon as there is one.
        if own < 1 or total < 1:
            return max(1, ceil(max((1 - own) / self._rate, (1 - total) / self._total_rate)))
        self._total = (total - 1, now)
        self._known[network] = (own - 1, now)
        self._known.move_to_end(network)
        if len(self._known) > self._most:
            # Who is forgotten begins with a full bucket again: against very many networks there is the total.
            self._known.popitem(last=False)
        return 0


def _level(state: tuple[float, float] | None, rate: float, burst: int, now: float) -> float:
    """Tokens there are now."""
    if state is None:
        return burst
    level, since = state
    return min(burst, level + max(0.0, now - since) * rate)
