"""Beacons per second on one core, beside a plain Flask view that validates the same body (`python -m bench rum`).

Servers are on core 0 and take turns; load and collector are on core 1. Beacons per second are those of one second of
CPU time, which the clock of the server's processes says, exporting included: others may use the core too. `--fuzz N`
sends N mutated payloads instead (see `rum_fuzz`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from demo_app.parts import await_port, dies_with_parent, free_port
from firstcause.mesh.marks import derive, page_mark

from .ratios import estimate, ratio

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
KEY = "a key for the bench only"
OURS, BLUEPRINT, PLAIN = "firstcause-rum, uvicorn", "firstcause-rum in Flask, gunicorn", "Flask + jsonschema, gunicorn"
GUNICORN = "-m gunicorn -k gthread --threads 4 -w 1 --keep-alive 60 --log-level error"
SERVERS = {
    OURS: "-m firstcause_rum --port {port}",
    BLUEPRINT: GUNICORN + " -b 127.0.0.1:{port} bench.rum_apps:blueprint()",
    PLAIN: GUNICORN + " -b 127.0.0.1:{port} bench.rum_apps:plain()",
}
LEAST = 3.0
AIM_PER_S, AIM_P99_MS = 2000, 25
CONNECTIONS = 16
DRAIN_S = 1.2
"""In which exporters catch up: it belongs to the beacons' cost."""
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36"


def items(draw: random.Random) -> list[dict[str, object]]:
    """What a page says first: ten items, about 2 KB."""
    lcp = draw.lognormvariate(7.4, 0.5)
    script = {"src": "https://shop.example/app.js", "own": 1, "ms": 80.5, "n": 2, "fn": "render"}
    api = "https://shop.example/api"
    call = {"k": "req", "t": 900, "how": "fetch", "m": "GET", "url": f"{api}/cart", "st": 200, "ms": 82.1}
    score = {"k": "vital", "t": 1300, "name": "CLS", "id": "v6-4", "val": 0.03, "dlt": 0.03, "at": {"el": "div.banner"}}
    wait = {"dns": 12, "req": 120}
    return [
        {"k": "view", "t": 0.1},
        {"k": "load", "t": 950, "dns": 12, "tcp": 41, "tls": 44, "req": 120.5, "res": 8, "dom": 90, "load": 55},
        {
            "k": "vital", "t": 1200, "name": "LCP", "id": "v6-1", "val": lcp, "dlt": lcp,
            "at": {"ttfb": lcp * 0.3, "delay": lcp * 0.1, "dur": lcp * 0.3, "rend": lcp * 0.3, "own": 40, "el": "img"},
        },
        {"k": "vital", "t": 1200, "name": "FCP", "id": "v6-2", "val": lcp * 0.6, "dlt": lcp, "at": {"ttfb": 200}},
        {"k": "vital", "t": 1200, "name": "TTFB", "id": "v6-3", "val": 225.5, "dlt": 225.5, "at": wait},
        score,
        {"k": "work", "t": 1100, "n": 3, "blk": 120, "max": 95, "scripts": [script, {**script, "own": 0}]},
        call, {**call, "url": f"{api}/user"}, {**call, "url": f"{api}/tips", "ms": 210},
    ]  # fmt: skip


def request(draw: random.Random) -> bytes:
    """A beacon of a new, joined page view."""
    parent = f"00-{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-01"
    body = orjson.dumps({
        "v": 1, "app": "shop", "rel": "2.3.1", "ses": f"{draw.getrandbits(128):032x}",
        "id": f"{draw.getrandbits(128):032x}", "seq": 0, "sent": 5000.5, "nav": "navigate",
        "url": f"https://shop.example/order/{draw.randrange(10**6)}",
        "dev": draw.choice(["mobile", "desktop"]), "net": "4g", "rtt": 50,
        "tz": draw.choice(["Europe/Paris", "America/Lima"]), "tp": parent,
        "mark": page_mark(derive(KEY), parent, int(time.time())), "items": items(draw),
    })  # fmt: skip
    head = (
        f"POST /_fc HTTP/1.1\r\nhost: shop.example\r\norigin: https://shop.example\r\nsec-fetch-site: same-origin\r\n"
        f"user-agent: {AGENT}\r\ncontent-type: text/plain;charset=UTF-8\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Slice:
    """What a slice of load did."""

    until: float
    bodies: Iterator[bytes]
    taken: int = 0
    refused: int = 0
    waited: list[float] = field(default_factory=list)


class _Page(asyncio.Protocol):
    """One kept connection, one beacon under way."""

    def __init__(self, running: Slice, done: asyncio.Future[None]) -> None:
        self._slice, self._done = running, done
        self._begun = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._begun = time.perf_counter()
        self._transport.write(next(self._slice.bodies))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._slice.waited.append(now - self._begun)
        good = data.startswith(b"HTTP/1.1 204")
        self._slice.taken += good
        self._slice.refused += not good
        if now < self._slice.until:
            self._send()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(port: int, seconds: float, bodies: Iterator[bytes], connections: int = CONNECTIONS) -> Slice:
    """Load a server; every answer is 204, without a body, so that it arrives as one piece."""
    loop = asyncio.get_running_loop()
    running = Slice(time.perf_counter() + seconds, bodies)
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(lambda end=done: _Page(running, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.wait_for(asyncio.gather(*ends), seconds + 60)
    return running


def bodies() -> Iterator[bytes]:
    """Ever new page views."""
    draw = random.Random(7)
    while True:
        yield request(draw)


@dataclass(frozen=True, slots=True)
class Server:
    """One endpoint, and its process."""

    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """CPU time of the process and its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # The clock id of another process is (~pid << 3) | 2, as clock_getcpuclockid(3) makes it.
        return sum(time.clock_gettime((~one << 3) | 2) for one in (pid, *map(int, children)))


@contextmanager
def serving(stack: ExitStack) -> Iterator[dict[str, Server]]:
    """All servers on core 0 and a collector on core 1."""
    sink, silent = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    command = [sys.executable, "-m", "bench.sink", str(sink.fileno()), str(silent.fileno())]
    fds = (sink.fileno(), silent.fileno())
    _start(stack, command, 1, fds=fds)
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.getsockname()[1]}", "FIRSTCAUSE_MESH_KEY": KEY,
        "OTEL_METRICS_EXPORTER": "none", "FIRSTCAUSE_LOG": "none",
        **{f"FIRSTCAUSE_RUM_{who}_{what}": "1000000" for who in ("ADDRESS", "TOTAL") for what in ("RATE", "BURST")},
    }  # fmt: skip
    servers = {}
    for name, arguments in SERVERS.items():
        port = free_port()
        process = _start(stack, [sys.executable, *arguments.format(port=port).split()], 0, environ=environ)
        await_port(port, process, Path(os.devnull))
        servers[name] = Server(port, process)
    yield servers


def _start(
    stack: ExitStack, command: list[str], core: int, environ: dict[str, str] | None = None, fds: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    dies = dies_with_parent(9)

    def prepare() -> None:
        dies()
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})

    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, preexec_fn=prepare, pass_fds=fds,  # noqa: PLW1509
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    return process


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


def main(arguments: list[str]) -> int:
    """Print and keep the table; 0 when the ratio holds, or the fuzz found nothing."""
    parser = argparse.ArgumentParser(prog="bench rum")
    parser.add_argument("--fuzz", type=int, default=0, help="send so many mutated payloads instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one slice")
    options, _others = parser.parse_known_args(arguments)
    if options.fuzz:
        from . import rum_fuzz

        return rum_fuzz.run(options.fuzz, options.seed)
    return _throughput(options.cycles, options.seconds)


def _throughput(cycles: int, seconds: float) -> int:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    rates: dict[str, list[float]] = {name: [] for name in SERVERS}
    waited: dict[str, list[float]] = {name: [] for name in SERVERS}
    refused, source, draw = 0, bodies(), random.Random(1)
    with ExitStack() as stack, serving(stack) as servers:
        for server in servers.values():
            asyncio.run(load(server.port, 1.0, source))  # warm up
        for _ in range(cycles):
            for name in draw.sample(list(servers), len(servers)):
                before = servers[name].cpu_s()
                done = asyncio.run(load(servers[name].port, seconds, source))
                time.sleep(DRAIN_S)
                rates[name].append(done.taken / (servers[name].cpu_s() - before))
                waited[name] += done.waited
                refused += done.refused
    return _report(rates, waited, refused)


def _report(rates: dict[str, list[float]], waited: dict[str, list[float]], refused: int) -> int:
    lines = ["# Beacons", "", "Ten items and 2 KB each, new and joined page views; everything exported.", ""]
    lines += ["| endpoint | beacons per CPU second | p50 ms | p99 ms |", "|---|---|---|---|"]
    for name, found in rates.items():
        half, most = (percentile(waited[name], share) for share in (0.5, 0.99))
        lines.append(f"| {name} | {estimate(found).middle:.0f} | {half:.1f} | {most:.1f} |")
    ratios = {name: estimate(ratio(rates[name], rates[PLAIN])) for name in (OURS, BLUEPRINT)}
    lines += ["", f"{OURS}, over {PLAIN}: {ratios[OURS]} (at least {LEAST:.0f});"]
    lines += [f"{BLUEPRINT}, over the same: {ratios[BLUEPRINT]}.", ""]
    lines += [f"Closed loop of {CONNECTIONS} connections; aim {AIM_PER_S}/s, {AIM_P99_MS} ms. Refused: {refused}.", ""]
    text = "\n".join(lines)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rum.md").write_text(text)
    return 0 if ratios[OURS].middle >= LEAST and not refused else 1
