"""Open-loop, seeded load: requests leave when they are due, and are timed from when they were due."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIX = (
    ("GET /catalogue", 8.0),
    ("GET /products/{sku}", 8.0),
    ("POST /login", 2.0),
    ("POST /cart", 4.0),
    ("POST /checkout", 5.0),
    ("GET /report", 2.0),
)
"""Route and requests per second."""
PRODUCTS = 60
OK, LOGGED_OUT = 200, 401


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was due (seconds since the load began), its route, status (0: none) and duration."""

    due: float
    route: str
    status: int
    seconds: float


def schedule(seed: int) -> Iterator[tuple[float, str, int]]:
    """Due time, route and product of each request: Poisson arrivals, the same for the same seed."""
    choose = random.Random(seed)
    total = sum(rate for _route, rate in MIX)
    due = 0.0
    while True:
        due += choose.expovariate(total)
        route = choose.choices([r for r, _ in MIX], [rate for _, rate in MIX])[0]
        yield due, route, choose.randint(1, PRODUCTS)


def percentile(values: Sequence[float], share: float) -> float:
    """The exact percentile by nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


class Load(threading.Thread):
    """The load on the gateway, in a thread of the runner; `samples` grows as answers arrive."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self._url, self._schedule = url, schedule(seed)
        self.samples: list[Sample] = []
        self.began = 0.0
        self._session = ""
        self._waiting: dict[int, float] = {}
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Send until `stop`."""
        asyncio.run(self._send_all())

    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.began

    def waiting(self, before: float) -> int:
        """How many requests that were due before then (seconds since `began`) have no answer yet."""
        # A copy, made in one step: iterating over a dict that the load's thread changes raises.
        return sum(due < before for due in list(self._waiting.values()))

    def stop(self) -> None:
        """Stop sending; requests on their way are abandoned."""
        self._stop_now.set()
        self.join(10)

    async def _send_all(self) -> None:
        import httpx

        # httpx allows 100 connections: beyond them requests would queue here, in front of the shop, and not in it.
        # 20 s are longer than every time-out of the shop's, so that users see its answers and not ours.
        limits = httpx.Limits(max_connections=2000, max_keepalive_connections=200)
        async with httpx.AsyncClient(base_url=self._url, timeout=20, limits=limits) as client:
            await self._log_in(client)
            self.began = time.monotonic()
            tasks: set[asyncio.Task[None]] = set()
            for due, route, sku in self._schedule:
                if self._stop_now.is_set():
                    break
                await asyncio.sleep(max(0.0, self.began + due - time.monotonic()))
                task = asyncio.create_task(self._send(client, due, route, sku))
                tasks.add(task)  # the loop itself keeps only weak references
                self._waiting[id(task)] = due
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda done: self._waiting.pop(id(done), None))
            for task in tasks:
                task.cancel()

    async def _log_in(self, client: Any) -> None:
        reply = await client.post("/login", params={"user": "ada"})
        if reply.status_code == OK:
            self._session = reply.json()["session"]

    async def _send(self, client: Any, due: float, route: str, sku: int) -> None:
        import httpx

        method, _, path = route.partition(" ")
        params = {"user": f"user{sku}"} if path == "/login" else {"sku": sku} if path == "/cart" else {}
        headers = {"X-Session": self._session} if path in ("/cart", "/checkout") else {}
        try:
            reply = await client.request(method, path.format(sku=sku), params=params, headers=headers)
            status = reply.status_code
        except httpx.HTTPError:
            status = 0
        # Not from when it left: a load that is held up would hide the delay ("coordinated omission").
        self.samples.append(Sample(due, route, status, time.monotonic() - self.began - due))
        if status == LOGGED_OUT:
            with contextlib.suppress(httpx.HTTPError):
                await self._log_in(client)  # the cache forgot the session, as after its restart


def main() -> None:
    """Load a gateway for ever; a line every ten seconds."""
    parser = argparse.ArgumentParser(prog="python -m demo_app.load", description=main.__doc__)
    parser.add_argument("url", help="the gateway's address")
    parser.add_argument("--seed", type=int, default=7, help="order and times of the requests")
    parser.add_argument("--alive", type=Path, help="a file to touch whenever there were answers, for a health check")
    given = parser.parse_args()
    load = Load(given.url, given.seed)
    load.start()
    while load.is_alive():
        load.join(10)
        done, load.samples = load.samples, []  # kept, they would grow for as long as it runs
        seconds = [sample.seconds for sample in done]
        errors = sum(sample.status == 0 or sample.status >= 500 for sample in done)
        print(f"{len(done) / 10:.0f} req/s  p99 {percentile(seconds, 0.99) * 1e3:.0f} ms  errors {errors}", flush=True)
        if given.alive and len(done) > errors:
            given.alive.touch()


if __name__ == "__main__":
    main()
