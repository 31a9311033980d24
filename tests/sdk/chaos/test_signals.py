"""Signals at any moment, under load: what was answered has arrived, and what is killed leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.metrics.test_prefork import until
from tests.sdk.processes.served import Served
from tests.sdk.processes.sink import sink
from tests.sdk.processes.test_servers import APPS as SERVED
from tests.sdk.processes.test_servers import QUICK, ROWS

SEED = os.environ.get("CHAOS_SEED", "1")
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
CLIENTS, MOST = 3, 60
SERVERS = {**QUICK, **{name: ROWS[name] for name in (
    "uvicorn", "gunicorn sync", "gunicorn gthread", "gunicorn uvicorn", "gunicorn gevent", "hypercorn workers", "waitress",
)}}  # fmt: skip


@contextlib.contextmanager
def _clients(server: Served) -> Iterator[threading.Semaphore]:
    """Callers that ask until nobody answers; the semaphore has one permit per whole answer."""
    answered, over = threading.Semaphore(0), threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                server.get("/items/1")
            except (OSError, http.client.HTTPException):
                if server.process.poll() is not None:
                    return
            else:
                answered.release()

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for caller in callers:
        caller.start()
    try:
        yield answered
    finally:
        over.set()
        for caller in callers:
            caller.join(30)


@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_at_any_point_loses_nothing(name: str) -> None:
    """After a seeded number of answers, with requests under way: each answered one has its span."""
    draw = random.Random(f"{SEED} {name}")
    for _ in range(ROUNDS):
        with sink() as collector, Served(SERVERS[name], collector.url, SERVED) as server:
            with _clients(server) as answered:
                for _ in range(draw.randrange(1, MOST)):
                    assert answered.acquire(timeout=30), server.output()
                server.terminate()
            arrived = {span.trace for span in collector.servers()}
            assert [] == [trace for trace, (status, _) in server.asked.items() if status == 200 and trace not in arrived]


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_killed_worker_costs_the_others_nothing() -> None:
    """SIGKILL to one of three under load: the server answers on, and at the end the survivors hand over all of theirs."""
    command = ["gunicorn", "-b", "127.0.0.1:{port}", "-w", "3", "own_store:app"]
    with sink() as collector, Served(command, collector.url, SERVED, OTEL_BSP_SCHEDULE_DELAY="20") as server:
        with _clients(server) as answered:
            for _ in range(20):
                assert answered.acquire(timeout=30)
            before = _children(server.process.pid)
            os.kill(min(before), signal.SIGKILL)
            until(lambda: len(_children(server.process.pid) - before) == 1, "a new worker comes")
            for _ in range(20):  # whoever had an answer of the killed one has noted it by now
                assert answered.acquire(timeout=30)
            server.asked.clear()
            for _ in range(30):
                assert answered.acquire(timeout=30)
            server.terminate()
        arrived = {span.trace for span in collector.servers()}
        assert [] == [trace for trace, (status, _) in server.asked.items() if status == 200 and trace not in arrived]


def test_the_folder_of_the_killed_is_removed_by_the_next() -> None:
    """SIGKILL to master and workers at once: their shared counts are gone as soon as another server starts."""
    command = ["gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "own_store:app"]
    with Served(command, "http://127.0.0.1:9", SERVED) as server:
        (left,) = _folders(server.process.pid)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(30)
        until(lambda: not server._reader.is_alive(), "all of them end")
        assert left.exists()
    with Served(command, "http://127.0.0.1:9", SERVED) as server:
        server.get("/items/1")
        assert not left.exists()
        assert 1 == len(_folders(server.process.pid))


def _folders(master: int) -> list[Path]:
    from firstcause.metrics.group import _base

    return list(Path(_base(), f"firstcause-{os.getuid()}").glob(f"{master}-*"))
