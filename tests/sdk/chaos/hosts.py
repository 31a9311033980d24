"""The host: one application in FastAPI and in Flask, bare and watched, and what it answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.sdk.processes.served import Served
from tests.sdk.whole.service import exchange, get

APPS = Path(__file__).with_name("apps")
HOSTS = {
    "fastapi": ["uvicorn", "--port", "{port}", "shop:app"],
    "flask": ["gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "4", "store:app"],
}
OURS = (b"x-request-id:", b"server-timing:", b"date:")
REQUESTS = (
    get("/items/7"), get("/items/x"), get("/threads/8"), get("/stream"), get("/boom"), get("/nowhere"),
    get("/echo", method=b"POST", body=b"\x00\xff" * 5000), get("/items/7", method=b"DELETE"),
    get("/items/7", b"traceparent: 00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01", b"tracestate: a=1", b"baggage: k=v"),
)  # fmt: skip


SEED = {"PYTHONHASHSEED": "0"}
"""An `Allow` header is a set."""


def watched(host: str, endpoint: str, **environ: str) -> Served:
    """The host under firstcause, its three signals going to `endpoint` without delay."""
    return Served(
        HOSTS[host], endpoint, APPS, WATCHED="1", OTEL_BSP_SCHEDULE_DELAY="20", OTEL_METRICS_EXPORTER="otlp",
        OTEL_METRIC_EXPORT_INTERVAL="100", **SEED, **environ,
    )  # fmt: skip


def answers(server: Served) -> list[tuple[list[bytes], bytes]]:
    """What comes back for each request, to the byte, without the headers that are ours and the date."""
    return [_theirs(exchange(server.port, request)) for request in REQUESTS]


def _theirs(raw: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return [line for line in head.split(b"\r\n") if not line.lower().startswith(OURS)], body


@cache
def bare(host: str) -> tuple[list[tuple[list[bytes], bytes]], int]:
    """The answers of the host alone, and the status it exits with at SIGTERM."""
    with Served(HOSTS[host], "", APPS, **SEED) as server:
        found = answers(server)
        server.terminate()
        return found, server.process.returncode
