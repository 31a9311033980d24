"""Workers of a real server count together: every answered request, whoever answers the scrape."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo_app.parts import free_port
from tests.sdk.processes.served import Served

HERE = Path(__file__).parent / "apps"
UVICORN = ("gunicorn", "counted:asgi", "-w", "4", "-k", "uvicorn.workers.UvicornWorker", "-b", "127.0.0.1:{port}")
SYNC = ("gunicorn", "counted:wsgi", "-w", "4", "-b", "127.0.0.1:{port}")
THREADS = ("gunicorn", "counted:wsgi", "-w", "4", "--threads", "4", "-b", "127.0.0.1:{port}")
UVICORN_ALONE = ("uvicorn", "counted:asgi", "--workers", "2", "--host", "127.0.0.1", "--port", "{port}")
SOON_S = 30.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Shop:
    """The server, and how often it answered."""

    def __init__(self, served: Served, metrics: int, folder: Path) -> None:
        self.served, self.metrics, self.folder = served, metrics, folder
        self.answered = 0
        self.pids: set[int] = set()

    def ask(self, times: int) -> None:
        """Requests one after another, each on its own connection; those refused are asked again elsewhere."""
        for _ in range(times):
            try:
                status, body = self.served.get("/hello", keep=False)
            except (OSError, http.client.HTTPException):
                continue  # its worker was killed
            assert 200 == status
            self.answered += 1
            self.pids.add(int(body))

    def scrape(self, accept: str = "text/plain") -> str:
        """A scrape; the port may be on its way from one worker to the next."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.metrics}/metrics", headers={"Accept": accept})
        deadline = time.monotonic() + SOON_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    return str(reply.read().decode())
            except (OSError, http.client.HTTPException):  # cut short where the worker ended meanwhile
                assert time.monotonic() < deadline, self.served.output()
                time.sleep(0.05)

    def total(self) -> int:
        """Answers with 200 on `/hello`, as a scrape says."""
        return _sum(self.scrape(), r'http_server_request_duration_seconds_count\{.*code="200",http_route="/hello".*')

    def agrees(self) -> None:
        """The scrape shows every answer; the last may be counted just after the client has it."""
        until(lambda: self.answered <= self.total(), f"{self.answered} answers are counted")
        assert self.answered == self.total()

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait until its lock is gone."""
        os.kill(pid, signal.SIGKILL)
        self.pids.discard(pid)
        until(lambda: not Path(f"/proc/{pid}/fd").exists() or _zombie(pid), "the worker ends")


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _sum(text: str, pattern: str) -> int:
    return round(sum(float(line.rpartition(" ")[2]) for line in re.findall(rf"^{pattern}$", text, re.MULTILINE)))


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that happens elsewhere."""
    deadline = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def shop(command: tuple[str, ...], folder: Path, **environ: str) -> Iterator[Shop]:
    """The server with a folder of its own for the metrics, so that the test sees what is stored."""
    port = free_port()
    given = {"FIRSTCAUSE_METRICS_PORT": str(port), "OTEL_METRICS_EXPORTER": "prometheus", **environ}
    with Served(command, "http://127.0.0.1:9", HERE, **given) as served:
        yield Shop(served, port, folder)


@pytest.mark.e2e
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["plain", "preload"])
@pytest.mark.parametrize("command", [UVICORN, SYNC, THREADS], ids=["uvicorn", "sync", "gthread"])
def test_every_answer_is_counted_whoever_dies(
    command: tuple[str, ...], preload: tuple[str, ...], tmp_path: Path
) -> None:
    """Four workers, recycled every 40 requests, two killed: each scrape shows all answers, and exemplars stay."""
    given = (*command, *preload, "--max-requests", "40", "--graceful-timeout", "5")
    with shop(given, tmp_path, FIRSTCAUSE_METRICS_DIR=str(tmp_path)) as served:
        served.ask(100)
        served.agrees()
        for pid in sorted(served.pids)[:2]:
            if Path(f"/proc/{pid}").exists():
                served.kill(pid)
        served.ask(60)
        served.agrees()
        # Whoever holds the port goes too; another takes it over and says the same.
        for pid in sorted(served.pids):
            if Path(f"/proc/{pid}").exists() and not _zombie(pid):
                served.kill(pid)
        served.ask(30)
        served.agrees()
        assert " # {trace_id=" in served.scrape(OPENMETRICS)
        until(lambda: served.answered == _sum(served.scrape(), "orders_paid_total.*") + lost(served), "custom metrics")


def lost(served: Shop) -> int:
    """Custom metrics of a killed worker are those of its last second's state: what is missing is what died with it."""
    missing = served.answered - _sum(served.scrape(), "orders_paid_total.*")
    return missing if 0 <= missing <= 200 else -1


@pytest.mark.e2e
def test_killed_under_load_loses_at_most_what_was_in_flight(tmp_path: Path) -> None:
    """Eight clients at once while workers are killed: no answer is missing beyond one per client and kill."""
    with shop(SYNC, tmp_path, FIRSTCAUSE_METRICS_DIR=str(tmp_path)) as served:
        served.ask(20)
        stop = threading.Event()
        clients = [threading.Thread(target=_keep_asking, args=(served, stop)) for _ in range(4)]
        for client in clients:
            client.start()
        for pid in sorted(served.pids)[:2]:
            time.sleep(0.3)
            served.kill(pid)
        stop.set()
        for client in clients:
            client.join()
        assert abs(served.answered - served.total()) <= 2 * len(clients)


_counting = threading.Lock()


def _keep_asking(served: Shop, stop: threading.Event) -> None:
    one = Shop(served.served, served.metrics, served.folder)
    while not stop.is_set():
        one.ask(1)
    with _counting:
        served.answered += one.answered


@pytest.mark.e2e
def test_storage_is_that_of_the_living(tmp_path: Path) -> None:
    """After 200 recycled workers there are as many files as after the first: one per worker, and the folded."""
    command = ("gunicorn", "counted:wsgi", "-w", "2", "-b", "127.0.0.1:{port}", "--max-requests", "1", "--preload")
    with shop(command, tmp_path, FIRSTCAUSE_METRICS_DIR=str(tmp_path)) as served:
        while len(served.pids) < 200:
            served.ask(10)
        served.agrees()
        (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        arenas = list(folder.glob("*.arena"))
        assert len(arenas) <= 1 + 2 * 3
        assert sum(path.stat().st_blocks * 512 for path in folder.iterdir()) < 4 << 20


@pytest.mark.e2e
def test_uvicorn_workers_count_together_without_being_told(tmp_path: Path) -> None:
    """`uvicorn --workers` spawns: its workers find each other by their parent."""
    with shop(UVICORN_ALONE, tmp_path) as served:
        while len(served.pids) < 2:  # the second is up a little later
            served.ask(10)
        served.agrees()
