"""postman: writes the letters, one after the other: `celery -A tests.second_shop.postman worker`."""

from __future__ import annotations

import os
import time

from celery import Celery

import firstcause

firstcause.configure(service="postman")
app = Celery("postman", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_ignore_result=True, broker_connection_retry_on_startup=True, task_default_queue="letters",
    worker_prefetch_multiplier=1,
)  # fmt: skip
WRITING_S = 0.04


@app.task(name="confirm")  # type: ignore[untyped-decorator]
def confirm(greeting: str) -> None:
    """One letter, for as long as a mail server takes."""
    time.sleep(WRITING_S)
