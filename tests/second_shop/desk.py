"""desk: what guests talk to. Rooms are asked of rates, bookings are stored here and confirmed by letter."""

from __future__ import annotations

import os
import threading

import psycopg
import requests
import waitress
from celery import Celery
from flask import Flask

import firstcause

app = Flask("desk")
letters = Celery("desk", broker=os.environ.get("BROKER_URL"))
held = threading.local()


@app.get("/rooms/<int:room>")
def show(room: int) -> dict[str, int]:
    """A room and its price."""
    answer = requests.get(f"{os.environ['RATES_URL']}/rates/{room}", timeout=5)
    answer.raise_for_status()
    return {"room": room, **answer.json()}


@app.post("/rooms/<int:room>/bookings")
def book(room: int) -> dict[str, str]:
    """Book it; the letter follows."""
    if not hasattr(held, "connection"):
        held.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    (name,) = held.connection.execute("SELECT name FROM rooms WHERE id = %s", (room,)).fetchone()
    greeting = name.upper()
    held.connection.execute("INSERT INTO bookings (room) VALUES (%s)", (room,))
    letters.send_task("confirm", (greeting,), queue="letters")
    return {"booked": greeting}


@app.post("/campaigns/<int:guests>")
def write_to(guests: int) -> dict[str, int]:
    """A letter to each of so many guests, all at once."""
    with letters.connection_for_write() as connection:
        for guest in range(guests):
            letters.send_task("confirm", (f"guest {guest}",), queue="letters", connection=connection)
    return {"letters": guests}


if __name__ == "__main__":
    firstcause.configure(service="desk", app=app)
    waitress.serve(app, port=int(os.environ["PORT"]), threads=16, _quiet=True)
