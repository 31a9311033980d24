"""Whatever the collector, the names, the clock and the host's own hooks do: the answers are those of the bare host."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.sdk.chaos.hosts import HOSTS, answers, bare, watched
from tests.sdk.export.loopback import refusing_url
from tests.sdk.processes.sink import sink
from tests.sdk.whole.sink import SERVER
from tests.sdk.whole.sink import sink as keeping

SOON_S = 20.0


@contextmanager
def _misbehaving(answer: str) -> Iterator[tuple[str, Callable[[], None]]]:
    with sink(answer) as collector:

        def met() -> None:
            with collector.came:
                assert collector.came.wait_for(lambda: collector.posts >= 2, SOON_S)

        yield collector.url, met


@contextmanager
def _black_hole() -> Iterator[tuple[str, Callable[[], None]]]:
    """A port whose queue is full: the kernel drops whoever knocks, and says nothing."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: None


@contextmanager
def _nobody(url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    yield url, lambda: None


TROUBLES: dict[str, Callable[[], object]] = {
    **{name: (lambda name=name: _misbehaving(name)) for name in ("hang", "slow", "cut", "429", "503", "garbage")},
    "refused": lambda: _nobody(refusing_url().removesuffix("/v1/traces")),
    "black hole": _black_hole,
    "dns": lambda: _nobody("http://collector.test:4318"),
    "slow dns": lambda: _nobody("http://collector.test:4318"),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_collector_in_trouble_costs_the_host_nothing(host: str, trouble: str) -> None:
    """Before and after the exporter has met it the answers are equal, and SIGTERM ends the host as ever."""
    expected, status = bare(host)
    with TROUBLES[trouble]() as (endpoint, met), watched(host, endpoint, CHAOS=trouble) as server:  # type: ignore[attr-defined]
        assert expected == answers(server)
        met()
        assert expected == answers(server)
        server.terminate()
        assert status == server.process.returncode
        assert "telemetry error" not in server.output()


@pytest.mark.parametrize("host", HOSTS)
def test_a_jumping_clock_moves_starts_and_no_durations(host: str) -> None:
    """The wall clock jumps by hours and years every few milliseconds: equal answers, and spans as long as they were."""
    expected, status = bare(host)
    with keeping() as collector, watched(host, collector.url, CHAOS="clock") as server:
        assert [expected] * 3 == [answers(server) for _ in range(3)]
        server.terminate()
        assert status == server.process.returncode
        assert "telemetry error" not in server.output()
        found = [span for span in collector.spans if span.kind == SERVER]
        assert len(found) >= 3 * len(expected)
        took = [span.end_time_unix_nano - span.start_time_unix_nano for span in found]
        assert all(0 <= nanoseconds < SOON_S * 1e9 for nanoseconds in took)


@pytest.mark.parametrize("host", HOSTS)
def test_hooks_that_raise_are_the_hosts_own(host: str) -> None:
    """A processor, a metric callback, attributes, fields and errors that raise when touched: equal answers, all spans."""
    expected, status = bare(host)
    with sink() as collector, watched(host, collector.url, CHAOS="raising") as server:
        assert [expected] * 2 == [answers(server) for _ in range(2)]
        server.terminate()
        assert status == server.process.returncode
        assert len(collector.servers()) >= 2 * len(expected)
        assert {"GET /items/{number}", "GET /items/<int:number>"} & {span.name for span in collector.spans}
