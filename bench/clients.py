"""What one instrumented client call costs over the bare one, in the calling thread; encoding excluded.

Each cycle times both ways in random order with the thread's CPU clock: waiting for a server and other
threads do not count. Other programs do, by the caches they empty: "undisturbed" compares the fastest tenth
of calls, which also leaves out collector pauses and readings that are due once per millisecond. The unit of work
that the calls belong to is renewed with every slice.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from statistics import fmean, quantiles
from time import thread_time_ns
from typing import Any

from .ratios import Estimate, difference, estimate

CALLS, CYCLES = 200, 40
LIMIT_US = 25.0
"""DESIGN's target for one call over the bare one."""
Call = Callable[[], object]


@contextmanager
def httpx_calls() -> Iterator[Call]:
    """A GET through client and transport; below it a connection pool that answers at once."""
    import httpcore
    import httpx

    transport = httpx.HTTPTransport()
    answer = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    pool: Any = _Pool(lambda _request: httpcore.Response(200, headers=answer, content=b"{}"))
    transport._pool = pool
    client = httpx.Client(transport=transport)
    yield lambda: client.get("http://payments:8000/orders/7731/charge?token=hush")


class _Pool:
    """httpcore's pool, as far as a transport uses it."""

    def __init__(self, handle: Callable[[Any], Any]) -> None:
        self.handle_request = handle


@contextmanager
def sqlalchemy_calls() -> Iterator[Call]:
    """A SELECT by key through SQLAlchemy's core on SQLite in memory."""
    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite://")
    statement = text("SELECT name FROM goods WHERE id = :id")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT)"))
        yield lambda: connection.execute(statement, {"id": 7}).all()
    engine.dispose()


@contextmanager
def redis_calls() -> Iterator[Call]:
    """A GET from a real Redis."""
    import redis

    from tests import parts

    with parts.redis() as part, redis.Redis.from_url(part.url) as client:
        yield lambda: client.get("basket:7731")


CLIENTS = {"httpx": httpx_calls, "sqlalchemy": sqlalchemy_calls, "redis": redis_calls}


class Watched:
    """Adapters that watch or look away, and a unit of work around each slice.

    They stay in place: patching between slices would undo what the interpreter has specialised, in both
    ways. Looking away costs about 0.1 µs.
    """

    def __init__(self) -> None:
        from firstcause import clients
        from firstcause._config import Config
        from firstcause._recorder import Recorder
        from firstcause.mesh import Mesh
        from firstcause.metrics import Metrics
        from firstcause.trace.provider import TracerProvider

        provider = TracerProvider({"service.name": "bench"}, _gone)
        self.recorder = Recorder(Config(service="bench"), provider, Mesh("bench"), Metrics({}), _gone)
        clients.instrument_all()

    def slice(self, call: Call, calls: int, *, watched: bool) -> list[float]:
        """CPU microseconds of each call."""
        from firstcause.clients.call import RUNTIME

        RUNTIME.recorder = self.recorder if watched else None
        found: list[float] = []
        with self._unit():
            # Not timed: the first call after a change of sides pays for what is cold by then.
            call()
            for _ in range(calls):
                started = thread_time_ns()
                call()
                found.append((thread_time_ns() - started) / 1000)
        return found

    @contextmanager
    def _unit(self) -> Iterator[None]:
        from opentelemetry import context, trace

        from firstcause.diagnosis.clock import thread_clock
        from firstcause.diagnosis.ledger import FRAME

        unit = self.recorder.begin("server", "GET", "/", thread_clock())
        unit.span = self.recorder.provider.server_span("GET", None, unit.started_ns, {})
        unit.request_id, unit.route = "0123456789abcdef0123456789abcdef", "/"
        frame = FRAME.set(unit.ledger.root)
        span = context.attach(trace.set_span_in_context(unit.span))
        try:
            yield
        finally:
            FRAME.reset(frame)
            context.detach(span)
            self.recorder.finish(unit, 200)


def _gone(_item: Any) -> None:
    """Nothing is exported: what encoding costs is measured by `overhead`."""


def measure(watched: Watched, call: Call, cycles: int, calls: int, seed: int = 1) -> tuple[Estimate, Estimate, float]:
    """Bare microseconds per call, what watching adds, and what it adds to the undisturbed calls."""
    order, slices = random.Random(seed), {False: list[list[float]](), True: list[list[float]]()}
    for _ in range(cycles):
        for way in order.sample((False, True), 2):
            slices[way].append(watched.slice(call, calls, watched=way))
    bare, ours = ([fmean(calls) for calls in slices[way]] for way in (False, True))
    quiet = [quantiles(chain.from_iterable(slices[way]), n=10)[0] for way in (False, True)]
    return estimate(bare), estimate(difference(ours, bare)), quiet[1] - quiet[0]


def main(arguments: list[str]) -> int:
    """Print a line per client; with `--check` 1 when one costs more than its limit."""
    parser = argparse.ArgumentParser(prog="python -m bench clients", description=__doc__)
    parser.add_argument("--only", default=",".join(CLIENTS), help="clients, with commas between")
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--check", action="store_true", help=f"fail when a call costs more than {LIMIT_US:.0f} µs")
    given, _others = parser.parse_known_args(arguments)
    watched, over = Watched(), False
    print(f"{'client':12} {'bare µs':24} {'firstcause adds µs':24} undisturbed µs")
    for name in given.only.split(","):
        with ExitStack() as stack:
            bare, added, quiet = measure(watched, stack.enter_context(CLIENTS[name]()), given.cycles, given.calls)
        # Held to the undisturbed calls: the mean moves with whatever else the machine does.
        over = over or quiet > LIMIT_US
        print(f"{name:12} {bare!s:24} {added!s:24} {quiet:.1f}", flush=True)
    return 1 if given.check and over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
