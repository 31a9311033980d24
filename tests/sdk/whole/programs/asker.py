"""A service that asks the peer at PEER with httpx, and says nothing of its own."""

from __future__ import annotations

import json
import os
import socket
import sys

import httpx
import uvicorn
from fastapi import FastAPI

import firstcause

app = FastAPI()
setup = firstcause.configure(service="asker", app=app)
print(json.dumps({"event": "up", "metrics": setup.metrics_address}), flush=True)
client = httpx.AsyncClient(timeout=20)


@app.get("/ask/{case}")
async def ask(case: str) -> dict[str, int]:
    """Pass a case on to the peer."""
    return {"status": (await client.get(f"{os.environ['PEER']}/{case}")).status_code}


if __name__ == "__main__":
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
