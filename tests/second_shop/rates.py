"""rates: what a room costs tonight. The price is a function of the database, which somebody else owns."""

from __future__ import annotations

import os
import threading

import psycopg
import waitress
from flask import Flask

import firstcause

app = Flask("rates")
held = threading.local()


@app.get("/rates/<int:room>")
def rate(room: int) -> dict[str, int]:
    """One room."""
    if not hasattr(held, "connection"):
        held.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    (cents,) = held.connection.execute("SELECT rate(%s)", (room,)).fetchone()
    return {"rate": cents}


if __name__ == "__main__":
    firstcause.configure(service="rates", app=app)
    waitress.serve(app, port=int(os.environ["PORT"]), threads=12, _quiet=True)
