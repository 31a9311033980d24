"""Visitors of the pages: real browsers where Chromium is installed, else synthetic ones; one process per region."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from .chromium import Browser, chromium
from .load import PRODUCTS
from .relay import Relay
from .supervisor import Shop
from .synthetic import Synthetic

HOME, AWAY = "Europe/Berlin", "America/Sao_Paulo"
"""Time zones of the two regions; visitors from the second come over the relay's line."""
PAGES = (("/shop", 0.3), ("/shop/products/{sku}", 0.5), ("/shop/checkout", 0.2))
"""Route and share of the views."""
VIEWS_PER_S = 0.4
TABS = 4
"""Views per second of a region, and how many it has open at most; who finds none free does not come."""
DWELL_S, LINGER_S = 1.5, 0.5
"""How long a page is looked at, at least so long that its first beacon leaves, and how long its last may take."""
# Children inherit the runner's one core; the kernel ignores those of a list that the machine does not have.
EVERYWHERE = range(64)
"""Cores that browsers may have: all there are."""
BUTTON = "(({ x, y }) => [x + 5, y + 5])(document.querySelector('button').getBoundingClientRect())"


class Visitor(Protocol):
    """Somebody who looks at pages."""

    def visit(self, url: str, path: str) -> None:
        """Look at one page as somebody who was never there before; orders when it is the checkout."""

    def close(self) -> None:
        """Go."""


class Real:
    """A headless Chromium in a region."""

    def __init__(self, folder: Path, zone: str, relay: Relay | None = None) -> None:
        self._relay = relay
        # By default Chromium goes round the proxy to loopback; `<-loopback>` takes that back.
        flags = [f"--proxy-server=socks5://127.0.0.1:{relay.port}", "--proxy-bypass-list=<-loopback>"] if relay else []
        self._browser = Browser(zone=zone, flags=flags, folder=folder, cores=EVERYWHERE)

    def visit(self, url: str, path: str) -> None:
        """A page in a profile of its own, closed in the way users do: by going elsewhere."""
        with self._browser.tab() as tab:
            tab.go(url + path)
            if path == "/shop/checkout":
                tab.click(*tab.run(BUTTON))
                tab.run("window.ordered")
            time.sleep(DWELL_S)
            tab.go("about:blank")
            # The last beacon connects and posts: two round trips of the line.
            time.sleep(LINGER_S + (2 * self._relay.delay_s if self._relay else 0))

    def close(self) -> None:
        """End the browser."""
        self._browser.close()


class Region(threading.Thread):
    """The visitors of one region, from `start` until `stop`; the same pages in the same order for the same seed."""

    def __init__(self, url: str, visitor: Visitor, seed: int) -> None:
        super().__init__(name="visitors", daemon=True)
        self._url, self._visitor, self._choose = url, visitor, random.Random(seed)
        self._free, self._stop_now = threading.Semaphore(TABS), threading.Event()
        self.views = self.failed = 0
        self._open: dict[int, float] = {}

    def waiting(self, before: float) -> bool:
        """Whether somebody still looks at a page who came before then (`time.monotonic`)."""
        return any(came < before for came in list(self._open.values()))

    def run(self) -> None:
        """Send visitors when they are due."""
        with ThreadPoolExecutor(TABS) as tabs:
            while not self._stop_now.wait(self._choose.uniform(0.7, 1.3) / VIEWS_PER_S):
                path = self._choose.choices([route for route, _ in PAGES], [share for _, share in PAGES])[0]
                path = path.format(sku=self._choose.randint(1, PRODUCTS))
                if self._free.acquire(blocking=False):
                    tabs.submit(self._visit, path)

    def _visit(self, path: str) -> None:
        self._open[threading.get_ident()] = time.monotonic()
        try:
            self._visitor.visit(self._url, path)
            self.views += 1
        except (OSError, AssertionError, RuntimeError, ValueError):  # it did not load in time, or the browser is gone
            self.failed += 1
        finally:
            self._open.pop(threading.get_ident())
            self._free.release()

    def stop(self) -> None:
        """No more visitors; those who are there finish."""
        self._stop_now.set()
        self.join(30)
        self._visitor.close()


class Visitors:
    """Both regions. `kind` says what they are."""

    def __init__(self, regions: Sequence[Region], kind: str) -> None:
        self._regions, self.kind = regions, kind

    @property
    def views(self) -> int:
        """Pages that were looked at to the end."""
        return sum(region.views for region in self._regions)

    def waiting(self, before: float) -> bool:
        """Whether somebody still looks at a page who came before then (`time.monotonic`)."""
        return any(region.waiting(before) for region in self._regions)

    @property
    def failed(self) -> int:
        """Pages that could not be looked at."""
        return sum(region.failed for region in self._regions)


@contextmanager
def visiting(shop: Shop, seed: int, *, real: bool | None = None) -> Iterator[Visitors]:
    """Visitors come until the block ends; `real` by default when Chromium is installed."""
    real = chromium() is not None if real is None else real
    kind = "Chromium" if real else "synthetic browsers, since no Chromium is installed (apt-get install chromium)"
    url = f"http://127.0.0.1:{shop.ports['gateway']}"
    with ExitStack() as stack:
        regions = []
        for number, zone in enumerate((HOME, AWAY)):
            relay = shop.relay if zone == AWAY else None
            visitor = Real(shop.directory, zone, relay) if real else Synthetic(zone, relay)
            region = Region(url, visitor, seed + number)
            stack.callback(region.stop)
            regions.append(region)
        for region in regions:
            region.start()
        yield Visitors(regions, kind)
