"""The queue and its one task, shared by orders (which enqueues) and worker (which executes)."""

from __future__ import annotations

from typing import Any

import huey
from sqlalchemy import Engine, text

engine: Engine | None = None  # set by the worker; who only enqueues needs none


def make_queue(url: str) -> tuple[Any, Any]:
    """The queue at `url`, and the task `mail(order)`."""
    # Nobody reads results, and Huey keeps them in Redis until somebody does.
    queue = huey.RedisHuey("mail", url=url, results=False)

    @queue.task(retries=2, retry_delay=1)  # type: ignore[untyped-decorator]
    def mail(order: int) -> None:
        """Send the confirmation: here, put it into the outbox."""
        assert engine is not None
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO outbox (order_id) VALUES (:o)"), {"o": order})

    return queue, mail
