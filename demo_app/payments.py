"""payments: takes the money. An ordinary synchronous Flask service with a ledger of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

import waitress
from flask import Flask, request
from sqlalchemy import Engine, create_engine, text

import firstcause

from .settings import listening, required
from .switches import SWITCHES

log = firstcause.get_logger()
app = Flask("payments")
books = threading.Lock()
engine: Engine

STORE = text("INSERT INTO payments (order_id, amount) VALUES (:o, :a)")
# `pg_sleep` is volatile: the planner keeps a column of it that nobody reads.
SLOW_STORE = text("INSERT INTO payments (order_id, amount) SELECT :o, :a FROM (SELECT 1, pg_sleep(0.7)) AS one")


@app.get("/health")
def health() -> dict[str, str]:
    """For the supervisor."""
    return {"status": "ok"}


@app.post("/pay")
def pay() -> Any:
    """Charge one order."""
    given = request.get_json()
    if SWITCHES.on("payments_slow_self"):
        time.sleep(0.5)
    if SWITCHES.on("overlap"):
        time.sleep(given.get("delay_s", 0))
    if SWITCHES.on("retry") and not given.get("again"):
        raise RuntimeError("try again")
    if SWITCHES.on("payments_lock"):
        # Only the wait: what is done under the lock is work of ours.
        with firstcause.spending("lock:books"):
            books.acquire()
        try:
            time.sleep(0.25)  # the fault: everybody waits for one lock
        finally:
            books.release()
    store(given["order"], given["amount"])
    log.info("paid", order_id=given["order"])
    return {"paid": given["amount"]}


def store(order: int, amount: int) -> None:
    """Write the payment down."""
    with engine.begin() as connection:
        connection.execute(SLOW_STORE if SWITCHES.on("payments_db") else STORE, {"o": order, "a": amount})


def main() -> None:
    """Run the service."""
    global engine
    firstcause.configure(service="payments", app=app)
    # As many as the server has threads: nobody here waits for a connection.
    engine = create_engine(required("DATABASE_URL"), pool_size=16, max_overflow=0)
    waitress.serve(app, host=listening(), port=int(required("PORT")), threads=16, _quiet=True)


if __name__ == "__main__":
    main()
