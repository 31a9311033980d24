"""worker: sends the mails that orders queued."""

from __future__ import annotations

from sqlalchemy import create_engine

import firstcause

from . import tasks
from .settings import required


def main() -> None:
    """Run the consumer."""
    firstcause.configure(service="worker")
    tasks.engine = create_engine(required("DATABASE_URL"), pool_size=4, max_overflow=0)
    queue, _mail = tasks.make_queue(required("QUEUE_URL"))
    queue.create_consumer(workers=2, periodic=False, check_worker_health=False).run()


if __name__ == "__main__":
    main()
