"""The alerts of a run: the chain over its shop, what the on-call person got in a round, and whether that was right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .chain import Chain
from .judge import Judge
from .receiver import PAGE, Notice, Receiver, pages, unresolved
from .supervisor import Shop

LASTING = 'slo:pair{tier="page",pair="6h/30m"}'
"""A fault that was shorter than this pair needs is over before there is anything to recover from."""
# About twice what bench/results/alerts.md has: a page ends when its 30-minute window, here 30 s, has forgotten.
PAGE_S, RESOLVE_S = 90.0, 60.0
"""How long a page, and its end after the repair, are waited for."""
REST_S = 8.0
"""What breaks within five minutes of the last page belongs to its incident; here they last five seconds."""
_POLL_S = 0.1


class OnCall:
    """What arrived since `begin`, and what it was worth."""

    def __init__(self, chain: Chain, receiver: Receiver, judge: Judge) -> None:
        self.chain, self._receiver, self._judge = chain, receiver, judge
        self.begin()

    def begin(self) -> None:
        """A new round."""
        self.began, self._failed = time.monotonic(), self.chain.failures()

    @property
    def notices(self) -> list[Notice]:
        """Everything of this round."""
        return self._receiver.since(self.began)

    @property
    def pages(self) -> list[Notice]:
        """What began a page, or began it again."""
        return pages(self.notices)

    @property
    def groups(self) -> int:
        """How many pages there were, by the groups that Alertmanager told: one is right."""
        return len({page.group for page in self.pages})

    def lasting(self) -> bool:
        """Whether somebody was paged, and the long windows burn too."""
        return bool(self.pages and self.chain.query(LASTING))

    def resolved(self) -> bool:
        """Whether every page has ended."""
        return not unresolved(self.notices)

    def failures(self) -> int:
        """Rule evaluations of this round that failed."""
        return self.chain.failures() - self._failed

    def decide(self, fault: str) -> tuple[bool, str]:
        """Whether the round had the pages it should have had, and in words; the judge knows about causes."""
        got, groups, failed = self.pages, self.groups, self.failures()
        named = got[0].causes if got else []
        wanted, place = self._judge.place(fault, named)
        first = f"{' '.join(named[0])} first" if named else "no cause"
        again = f" (begun again {len(got) - groups} times)" if len(got) > groups else ""
        said = f"{groups} page{'s' if groups > 1 else ''}{again}, naming {first}" if got else "no page"
        # A rule that fails to evaluate pages nobody and says nothing, so that silence would prove nothing either.
        if failed:
            return False, f"{said}; {failed} rule evaluations failed"
        if not wanted:
            return not got, f"{said}, and nobody was hurt"
        if not self.resolved():
            return False, f"{said}, not resolved"
        return groups == 1 and place == 1, said + (", resolved" if got else ", though users were hurt")


def wait(until: Callable[[], object], seconds: float) -> bool:
    """Wait for something, but not for ever; whether it came."""
    limit = time.monotonic() + seconds
    while not until():
        if time.monotonic() > limit:
            return False
        time.sleep(_POLL_S)
    return True


@contextmanager
def on_call(
    shop: Shop, judge: Judge, found: Mapping[str, Path], keep: Path | None, tell: Callable[[Notice], None]
) -> Iterator[OnCall]:
    """Prometheus and Alertmanager over a running shop, until the block ends."""
    receiver = Receiver(keep, tell)
    try:
        # In the shop's folder: it is removed with it, however we end.
        with Chain(shop.directory / "alerting", found, receiver.url) as chain:
            chain.scrape(shop.metrics)
            yield OnCall(chain, receiver, judge)
    finally:
        receiver.close()


class Reader:
    """Turns notices into lines: a page in full when it begins, briefly when its state changes, else its title."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell, self._states = tell, dict[str, str]()

    def __call__(self, notice: Notice) -> None:
        """Tell one."""
        known = self._states.get(notice.group)
        self._states[notice.group] = notice.state
        title, _, rest = notice.text.partition("\n\n")
        # Alertmanager tells again whenever another alert joins the group; the page is the same.
        if notice.kind != PAGE or known == notice.state:
            self._tell(f"  | {title} ({len(notice.payload['alerts'])} alerts)", "dim")
            return
        begins = known in (None, "Resolved")
        brief = dict.fromkeys(alert.partition("\n")[0] for alert in rest.split("\n\n"))
        lines = rest.splitlines() if begins else [*brief]
        self._tell(f"  | {title}", {"Page": "red", "Resolved": "green"}.get(notice.state, "bold"))
        for line in lines:
            self._tell(f"  |   {line}", "")
