"""The shop under load, with visitors whose browsers carry the beacon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from demo_app.__main__ import Run, Screen
from demo_app.judge import Judge
from demo_app.load import Load
from demo_app.sink import Sink
from demo_app.supervisor import Shop
from demo_app.visitors import Visitors, visiting

SEED = 7


@contextmanager
def visited(*, real: bool) -> Iterator[tuple[Run, Visitors]]:
    """A shop of its own, its load and its visitors; gone afterwards."""
    sink, judge = Sink(), Judge()
    with Shop(sink.url) as shop, visiting(shop, SEED, real=real) as visitors:
        load = Load(f"http://127.0.0.1:{shop.ports['gateway']}", SEED)
        load.start()
        while not load.began and load.is_alive():
            load.join(0.05)
        yield Run(shop, load, judge, Screen()), visitors
        load.stop()
    judge.close()
    sink.close()
