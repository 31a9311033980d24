"""A plain FastAPI service for hostile requests: what was sent back is all there is to see."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import uvicorn
from fastapi import FastAPI, Request

import firstcause

app = FastAPI()
setup = firstcause.configure(service="echo", app=app, trusted_proxies=("127.0.0.1",))
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    """What everybody serves."""
    return {"id": item_id}


@app.get("/slow")
async def slow() -> dict[str, str]:
    """Slow enough for a verdict under an objective of 50 ms."""
    with firstcause.spending("lock:ledger"):
        await asyncio.sleep(0.1)
    return {"done": "yes"}


@app.get("/fail")
async def fail() -> None:
    """Fails."""
    raise LookupError("no such thing")


@app.post("/echo")
async def echo(request: Request) -> dict[str, int]:
    """How much came in."""
    return {"size": len(await request.body())}


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(app, log_level="warning", access_log=False, http=os.environ.get("HTTP", "auto"))
    config.h11_max_incomplete_event_size = 1 << 20
    uvicorn.Server(config).run(sockets=[listener])
