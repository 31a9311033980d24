"""A Celery application as a worker runs it: `celery -A tests.sdk.clients.tasks worker`."""

from __future__ import annotations

import os
import time

from celery import Celery

import firstcause

firstcause.configure(service="worker")
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(worker_hijack_root_logger=True, broker_connection_retry_on_startup=True, result_expires=60)
log = firstcause.get_logger()


@app.task(name="pay")  # type: ignore[untyped-decorator]
def pay(order: int) -> int:
    """The ordinary one: a wait, a line, and the process it ran in."""
    with firstcause.spending("lock:inventory"):
        time.sleep(0.02)
    log.info("paid", order=order)
    return os.getpid()


@app.task(name="fail")  # type: ignore[untyped-decorator]
def fail() -> None:
    """Raises."""
    raise LookupError("no such order, password=hunter2")


@app.task(name="again", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def again(self: object) -> int:
    """Fails once, asks for another try, and succeeds."""
    if self.request.retries == 0:  # type: ignore[attr-defined]
        raise self.retry(exc=ConnectionError("later"), countdown=0.2)  # type: ignore[attr-defined]
    return int(self.request.retries)  # type: ignore[attr-defined]


@app.task(name="hang", time_limit=1)  # type: ignore[untyped-decorator]
def hang() -> None:
    """Runs into the hard limit, which ends its process."""
    time.sleep(30)


@app.task(name="die")  # type: ignore[untyped-decorator]
def die() -> None:
    """Takes its process along."""
    os.kill(os.getpid(), 9)
