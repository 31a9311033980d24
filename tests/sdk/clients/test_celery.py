"""Celery on a real Redis, with a real worker in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, signature

from firstcause.diagnosis.unit import current_unit
from tests.sdk.clients.workbench import Workbench
from tests.sdk.whole.sink import Sink, attributes, sink

ROOT = Path(__file__).resolve().parents[3]
CONSUMER = 5
WAIT_S = 30


class Worker:
    """A running worker, the lines it printed, and the collector it reports to."""

    def __init__(self, broker: str, collector: Sink, pool: str, options: tuple[str, ...]) -> None:
        self.collector = collector
        self.app = Celery("caller", broker=broker, backend=broker)
        environ = {
            **os.environ, "BROKER": broker, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50",
            "PYTHONPATH": f"{ROOT / 'sdk/src'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}", "FIRSTCAUSE_USER_KEY": "a key for users only",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.sdk.clients.tasks", "worker", "--pool", pool, "-l", "INFO",
             "--without-gossip", "--without-mingle", "--without-heartbeat", *options],
            env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._lines: list[dict[str, Any]] = []
        self.until("ready.")

    def until(self, words: str) -> None:
        """Read what the worker prints until `words` are in it."""
        while words not in (line := self._read()):
            assert line, "".join(self.said[-30:])

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.said.append(line)
        if line.startswith("{"):
            self._lines.append(json.loads(line))
        return line

    def message(self, route: str, number: int = 1) -> dict[str, Any]:
        """The canonical line of the `number`th message of that route."""
        while True:
            found = [line for line in self._lines if line["event"] == "message" and line["route"] == route]
            if len(found) >= number:
                return found[number - 1]
            assert self._read(), "".join(self.said[-30:])

    def line(self, event: str) -> dict[str, Any]:
        """A line of the application's own."""
        while not (found := [line for line in self._lines if line["event"] == event]):
            assert self._read(), "".join(self.said[-30:])
        return found[0]

    def consumed(self, number: int) -> list[Any]:
        """The CONSUMER spans at the collector, once there are so many."""

        def enough() -> list[Any]:
            found = [span for span in self.collector.spans if span.kind == CONSUMER]
            return found if len(found) >= number else []

        found: list[Any] = self.collector.wait_for(enough)
        return found

    def stop(self) -> None:
        """A warm shutdown, as an orchestrator asks for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=20)
        finally:
            self.process.kill()


@contextmanager
def working(redis_url: str, pool: str = "prefork", *options: str) -> Iterator[Worker]:
    """A worker on a database of its own of the one Redis."""
    global _database
    _database += 1
    with sink() as collector:
        worker = Worker(f"{redis_url.rsplit('/', 1)[0]}/{_database}", collector, pool, options or ("-c", "1"))
        try:
            yield worker
        finally:
            worker.stop()
            worker.app.close()


_database = 0


@pytest.fixture(name="worker", scope="module")
def _worker(redis_url: str) -> Iterator[Worker]:
    with working(redis_url) as worker:
        yield worker


@pytest.mark.parts
def test_a_message_carries_everything_that_correlates(bench: Workbench, worker: Worker) -> None:
    """Trace, request id, session and user hash arrive; the wait, the lock and own code sum to the wall."""
    with bench.unit() as unit:
        unit.session_id, unit.user_hash = "5e551011", "0badcafe"
        assert worker.app.send_task("pay", [7]).get(timeout=WAIT_S)
    line = worker.message("celery pay")
    (producer,) = bench.named("send celery")
    assert f"{unit.span.trace_id:032x}" == line["trace_id"]
    assert ("request-1", "5e551011", "0badcafe") == (line["request_id"], line["session_id"], line["user_hash"])
    assert {"app", "queue:celery", "lock:inventory"} <= set(line["ledger"])
    assert abs(sum(line["ledger"].values()) - line["duration_ms"]) < 0.01
    assert 1 == bench.calls["queue:celery"]
    span = next(span for span in worker.consumed(1) if span.parent_span_id.hex() == f"{producer.span_id:016x}")
    assert ("celery pay", "process") == (span.name, attributes(span.attributes)["messaging.operation.name"])
    paid = worker.line("paid")
    assert (line["trace_id"], line["span_id"], "request-1", 7) == (
        paid["trace_id"], paid["span_id"], paid["request_id"], paid["order"]
    )  # fmt: skip


@pytest.mark.parts
def test_a_failure_names_where_and_keeps_secrets(bench: Workbench, worker: Worker) -> None:
    """A task that raises is an error of own code at its place; its message's secret is in no line of ours."""
    with bench.unit(), pytest.raises(LookupError):
        worker.app.send_task("fail").get(timeout=WAIT_S)
    line = worker.message("celery fail")
    assert ("error", "LookupError", "app.exception") == (line["outcome"], line["error_type"], line["verdict"]["cause"])
    assert "fail (clients/tasks.py:" in line["verdict"]["detail"]
    assert [] == [said for said in worker.said if said.startswith("{") and "hunter2" in said]
    worker.collector.wait_for(lambda: b"LookupError" in b"".join(worker.collector.bodies.get("/v1/logs", [])))
    assert b"hunter2" not in worker.collector.everything("/v1/logs") + worker.collector.everything("/v1/traces")


@pytest.mark.parts
def test_a_retry_is_an_error_and_stays_in_the_trace(bench: Workbench, worker: Worker) -> None:
    """The first try is an error, the second is fine, and the delay that was asked for is no wait."""
    with bench.unit() as unit:
        assert 1 == worker.app.send_task("again").get(timeout=WAIT_S)
    first, second = worker.message("celery again", 1), worker.message("celery again", 2)
    assert [("error", "ConnectionError"), ("ok", None)] == [
        (line["outcome"], line.get("error_type")) for line in (first, second)
    ]
    assert [f"{unit.span.trace_id:032x}"] * 2 == [first["trace_id"], second["trace_id"]]
    assert ["request-1"] * 2 == [first["request_id"], second["request_id"]]
    assert second["ledger"].get("queue:celery", 0.0) < 200


@pytest.mark.parts
def test_a_message_waits_from_its_eta(bench: Workbench, worker: Worker) -> None:
    """A countdown is no wait in the queue."""
    with bench.unit():
        sent = time.monotonic()
        result = worker.app.send_task("pay", [8], countdown=1.5)
        result.get(timeout=WAIT_S)
        assert time.monotonic() - sent >= 1.4
    worker.message("celery pay", 2)
    late = [line for line in worker._lines if line.get("route") == "celery pay" and line["event"] == "message"][-1]
    assert late["duration_ms"] < 1400


@pytest.mark.parts
def test_a_chain_is_one_trace(bench: Workbench, worker: Worker) -> None:
    """The second task of a chain is published by the first one's unit."""
    before = len([line for line in worker._lines if line.get("route") == "celery again"])
    with bench.unit() as unit:
        chain(
            signature("pay", [9], app=worker.app), signature("again", app=worker.app, immutable=True)
        ).apply_async().get(timeout=WAIT_S)
    assert f"{unit.span.trace_id:032x}" == worker.message("celery again", before + 2)["trace_id"]


@pytest.mark.parts
def test_a_hard_time_limit_is_reported_by_the_parent(bench: Workbench, worker: Worker) -> None:
    """The process that ran the task is gone; the message is an error all the same, and most of it is own code."""
    with bench.unit() as unit, pytest.raises(Exception, match="TimeLimitExceeded"):
        worker.app.send_task("hang").get(timeout=WAIT_S)
    line = worker.message("celery hang")
    assert ("error", "TimeLimitExceeded") == (line["outcome"], line["error_type"])
    assert f"{unit.span.trace_id:032x}" == line["trace_id"]
    assert line["ledger"]["app"] > 500


@pytest.mark.parts
def test_a_killed_child_is_reported_by_the_parent(bench: Workbench, worker: Worker) -> None:
    """SIGKILL leaves the child nothing to say; the parent says it."""
    with bench.unit(), pytest.raises(Exception, match="Worker"):
        worker.app.send_task("die").get(timeout=WAIT_S)
    line = worker.message("celery die")
    assert ("error", "WorkerLostError") == (line["outcome"], line["error_type"])


@pytest.mark.parts
def test_a_recycled_child_loses_nothing(bench: Workbench, redis_url: str) -> None:
    """With one task per child every span arrives, though Celery ends its children without `atexit`."""
    with working(redis_url, "prefork", "-c", "1", "--max-tasks-per-child", "1") as worker:
        pids = {worker.app.send_task("pay", [n]).get(timeout=WAIT_S) for n in range(3)}
        spans = worker.consumed(3)
    assert (3, 3) == (len(pids), len(spans))


@pytest.mark.parts
@pytest.mark.parametrize("pool", ["solo", "threads", "gevent"])
def test_every_kind_of_pool_keeps_units_apart(bench: Workbench, redis_url: str, pool: str) -> None:
    """Tasks that run side by side have a unit each, with the request they came from."""
    with working(redis_url, pool, "-c", "4") as worker:
        results = []
        for n in range(4):
            with bench.unit() as unit:
                unit.request_id = f"request-{n}"
                results.append(worker.app.send_task("pay", [n]))
        [result.get(timeout=WAIT_S) for result in results]
        lines = [worker.message("celery pay", n + 1) for n in range(4)]
        assert {f"request-{n}" for n in range(4)} == {line["request_id"] for line in lines}
        assert 4 == len({line["span_id"] for line in lines})
        assert all("lock:inventory" in line["ledger"] for line in lines)


def test_an_eager_task_is_a_plain_call(bench: Workbench) -> None:
    """Called in place it belongs to the unit that called it."""
    app = Celery("eager", broker="memory://")
    seen: list[object] = []

    @app.task(name="look")  # type: ignore[untyped-decorator]
    def look() -> None:
        seen.append(current_unit())

    with bench.unit() as unit:
        look.apply()
    assert [unit] == seen
    assert ["server"] == [report.kind for report in bench.reports]


def test_a_broker_that_is_gone_fails_the_publish(bench: Workbench) -> None:
    """The error is the host's, stamped with the queue's frame."""
    app = Celery("caller", broker="redis://127.0.0.1:1/0")
    app.conf.broker_transport_options = {"socket_connect_timeout": 0.2, "max_retries": 0, "retry_on_timeout": False}
    with bench.unit() as unit:
        with pytest.raises(Exception) as raised:
            app.send_task("pay", retry=False, ignore_result=True)
        unit.failure = raised.value
        assert unit.ledger.last_failed is not None
        assert "queue:celery" == unit.ledger.last_failed.resource
    assert ["send celery"] == [span.name for span in bench.spans if span.status_code == 2]
