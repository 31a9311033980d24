"""One service of a chain, run as a program of its own: calls NEXT when there is one, else works WORK_S."""

from __future__ import annotations

import os
import time

import httpx
import uvicorn
from fastapi import FastAPI

import firstcause

app = FastAPI()
firstcause.configure(service=os.environ["NAME"], app=app)
client = httpx.AsyncClient(timeout=float(os.environ.get("TIMEOUT", "5")))


@app.get("/work")
async def work(slow: bool = False, fail: bool = False) -> dict[str, str]:
    """The one route; `slow` takes 300 ms in the last service, `fail` raises there."""
    following = os.environ.get("NEXT")
    if following:
        reply = await client.get(f"{following}/work", params={"slow": slow, "fail": fail})
        reply.raise_for_status()
    elif fail:
        raise LookupError("no such thing")
    elif slow:
        with firstcause.spending("lock:ledger"):
            time.sleep(0) if os.environ.get("QUICK") else await nap()
    return {"service": os.environ["NAME"]}


async def nap() -> None:
    """Stands for a wait that a lock's holder causes."""
    import asyncio

    await asyncio.sleep(0.3)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
