"""Instructions per request, counted by valgrind (`python -m bench instructions`).

The same within half a per cent on any machine, whoever else is busy there: it says whether a change made the path
shorter, where timings need hours to. It is no time: what the kernel, caches and the HTTP server cost is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import get_logger_provider

from . import apps
from .overhead import ITEMS, PEERS, ROOT, Peer, child, environment, listening, stop, url

FEW, MANY = 1000, 4000
"""Requests of two runs: what is counted of the second and not of the first is the requests' own."""
ROWS = ("bare", "firstcause, no exporter", "firstcause", "stock OpenTelemetry")
SCOPE = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
    "method": "GET", "root_path": "", "path": ITEMS, "raw_path": ITEMS.encode(), "query_string": b"",
    "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 5555), "state": {},
}  # fmt: skip
FLUSH_MS = 60_000


async def receive() -> dict[str, Any]:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    """To nobody."""


async def serve(app: Any, requests: int) -> None:
    """One request after another, without a server around the application."""
    for number in range(requests):
        headers = [(b"host", b"127.0.0.1:8000"), (b"accept", b"*/*")]
        await app({**SCOPE, "headers": headers}, receive, send)
        if number % 16 == 0:
            await asyncio.sleep(0)


def watched() -> None:
    """What valgrind looks at: the peer's application, until all of its telemetry has left."""
    app = apps.application()
    apps.PEERS[os.environ["BENCH_PEER"]](app)
    asyncio.run(serve(app, int(sys.argv[1])))
    for provider in (trace.get_tracer_provider(), get_logger_provider()):
        flush = getattr(provider, "force_flush", None)
        if flush is not None and flush(FLUSH_MS) is False:
            sys.exit("not everything was exported")
    # The end of an interpreter is nobody's request.
    os._exit(0)


def counted(peer: Peer, endpoint: str, requests: int) -> subprocess.Popen[str]:
    """Valgrind at work on one process; `found` has its count."""
    # Hashes of the same seed: collisions in dictionaries would differ from run to run.
    env = environment(peer, {"sink": endpoint}) | {"PYTHONHASHSEED": "1"}
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command = [*tool, sys.executable, "-m", "bench.instructions", str(requests)]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def found(process: subprocess.Popen[str]) -> int:
    """How many instructions it was in all."""
    _out, said = process.communicate()
    total = re.search(r"I\s+refs:\s+([\d,]+)", said)
    if process.returncode or total is None:
        raise RuntimeError(said[-2000:])
    return int(total[1].replace(",", ""))


def per_request(peer: Peer, endpoint: str) -> int:
    """Instructions of one request; both runs at the same time."""
    few, many = (counted(peer, endpoint, requests) for requests in (FEW, MANY))
    less = found(few)
    return (found(many) - less) // (MANY - FEW)


def main(arguments: list[str]) -> int:
    """Print a line per peer."""
    argparse.ArgumentParser("bench instructions", description=__doc__).parse_args(arguments)
    if shutil.which("valgrind") is None:
        print("bench instructions: valgrind is missing: apt-get install valgrind", file=sys.stderr)
        return 2
    bare = 0
    with contextlib.ExitStack() as stack:
        answering, silent = (stack.enter_context(listening()) for _ in range(2))
        stack.callback(stop, child("bench.sink", [answering, silent], 1, dict(os.environ)))
        for name in ROWS:
            (peer,) = (one for one in PEERS if one.name == name)
            count = per_request(peer, url(answering))
            bare = bare or count
            print(f"{name:26} {count:9,} instructions per request, {count - bare:+9,} over bare", flush=True)
    return 0


if __name__ == "__main__":
    watched()
