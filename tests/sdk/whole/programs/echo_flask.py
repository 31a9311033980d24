"""The same service on Flask, under waitress."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

import waitress
from flask import Flask, request

import firstcause

app = Flask("echo")
setup = firstcause.configure(service="echo", app=app, trusted_proxies=("127.0.0.1",))
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)


@app.get("/items/<int:item_id>")
def item(item_id: int) -> dict[str, int]:
    """What everybody serves."""
    return {"id": item_id}


@app.get("/slow")
def slow() -> dict[str, str]:
    """Slow enough for a verdict under an objective of 50 ms."""
    with firstcause.spending("lock:ledger"):
        time.sleep(0.1)
    return {"done": "yes"}


@app.get("/fail")
def fail() -> Any:
    """Fails."""
    raise LookupError("no such thing")


@app.post("/echo")
def echo() -> dict[str, int]:
    """How much came in."""
    return {"size": len(request.get_data())}


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    # So that it is our parser, and not the server's limit, that meets an enormous header.
    waitress.serve(app, sockets=[listener], threads=4, max_request_header_size=1 << 20, _quiet=True)
