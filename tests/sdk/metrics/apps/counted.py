"""Applications that count: one ASGI, one WSGI; each answers with the id of the process that served it."""

from __future__ import annotations

import os

from fastapi import FastAPI
from flask import Flask
from opentelemetry import metrics

import firstcause

asgi = FastAPI()
wsgi = Flask(__name__)
firstcause.configure("counted", log_stream="none", traces=False, logs=False)
orders = metrics.get_meter("counted").create_counter("orders.paid")


@asgi.get("/hello")
async def hello() -> int:
    orders.add(1, {"plan": "free"})
    return os.getpid()


@wsgi.get("/hello")
def hello_wsgi() -> str:
    orders.add(1, {"plan": "free"})
    return str(os.getpid())


firstcause.configure(app=asgi)
firstcause.configure(app=wsgi)
