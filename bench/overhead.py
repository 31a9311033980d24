"""CPU time per request over the bare application, beside its peers (`python -m bench overhead`).

Every peer is a real uvicorn process on core 0; this process, which makes the load, and the sink are on
core 1. All are up at the same time, and are started anew a few times: where a process happens to have its
memory makes two of the same application differ by a few per cent. In each cycle every case gets one short
slice, in random order, so that a burst of stolen CPU hits all alike; figures are compared within a cycle
only. CPU comes from the process clock (all threads), and includes a short drain in which exporters catch up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import load, report

ROOT = Path(__file__).parent.parent
SLICE_S = 0.6
DRAIN_S = 0.3
ITEMS, FAN = "/items/7", "/fan"
CONTEXT = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "fc=1,other=00f067aa0ba902b7",
    "x-request-id": "bench-0123456789abcdef",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """One server process: which application, its environment, the load's headers, and its routes."""

    name: str
    app: str
    exporter: str = "sink"
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    routes: tuple[str, ...] = (ITEMS,)


PEERS = (
    Peer("bare", "bare", routes=(ITEMS, FAN)),
    Peer("bare again", "bare", routes=(ITEMS, FAN)),
    Peer("firstcause", "firstcause", routes=(ITEMS, FAN)),
    Peer("firstcause, incoming context", "firstcause", headers=CONTEXT),
    Peer("firstcause, unsampled", "firstcause", environment={"OTEL_TRACES_SAMPLER": "always_off"}),
    Peer("firstcause, no exporter", "firstcause", exporter="none"),
    Peer("firstcause, collector refuses", "firstcause", exporter="refused", routes=(ITEMS, FAN)),
    Peer("firstcause, collector hangs", "firstcause", exporter="silent"),
    Peer("stock OpenTelemetry", "stock", routes=(ITEMS, FAN)),
    Peer("prometheus + structlog", "prometheus"),
)


@dataclass(slots=True)
class Server:
    """A running peer."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far, at nanosecond resolution."""
        # The clock id of another process is (~pid << 3) | 2, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory_mb(self) -> float:
        """Resident set, in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def listening() -> socket.socket:
    """A listening socket on a free port of loopback, to be inherited by a child."""
    made = socket.create_server(("127.0.0.1", 0), backlog=256)
    made.set_inheritable(True)
    return made


def environment(peer: Peer, endpoints: dict[str, str]) -> dict[str, str]:
    """What the child sees: no exporter settings but those of the case."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FIRSTCAUSE_"))}
    export = (
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
        if peer.exporter == "none"
        else {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoints[peer.exporter]}
    )
    path = f"{ROOT / 'sdk' / 'src'}:{ROOT}"
    own = {"BENCH_PEER": peer.app, "OTEL_SERVICE_NAME": "bench", "PYTHONPATH": path}
    if peer.app == "firstcause":
        # Any free port: several of these are up at the same time.
        own["FIRSTCAUSE_METRICS_PORT"] = "0"
    return kept | own | export | peer.environment


def child(module: str, sockets: list[socket.socket], core: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `python -m module <fd …>` on one core; its lines cost a write but are kept nowhere."""
    descriptors = [made.fileno() for made in sockets]
    command = [sys.executable, "-m", module, *map(str, descriptors)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, pass_fds=descriptors, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    pin(process.pid, core)
    return process


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the machine has that many."""
    allowed = sorted(os.sched_getaffinity(0)) if pid == 0 else CORES
    with contextlib.suppress(OSError, IndexError):
        os.sched_setaffinity(pid, {allowed[core]})


# Read before this process pins itself: from then on it sees one core only.
CORES = sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def running(peers: tuple[Peer, ...]) -> Iterator[list[Server]]:
    """All servers and the sink, gone again at the end however it ends."""
    with contextlib.ExitStack() as stack:
        answering, silent = (stack.enter_context(listening()) for _ in range(2))
        endpoints = {"sink": url(answering), "silent": url(silent), "refused": refused(stack)}
        stack.callback(stop, child("bench.sink", [answering, silent], 1, dict(os.environ)))
        servers = []
        for peer in peers:
            own = stack.enter_context(listening())
            process = child("bench.apps", [own], 0, environment(peer, endpoints))
            stack.callback(stop, process)
            servers.append(Server(peer, process, own.getsockname()[1]))
            own.close()  # a dead child then refuses instead of hanging the load
        yield servers


def refused(stack: contextlib.ExitStack) -> str:
    """An address at which nobody listens, held for as long as the stack is open."""
    held = stack.enter_context(socket.socket())
    held.bind(("127.0.0.1", 0))
    return url(held)


def url(made: socket.socket) -> str:
    """The base URL of a socket's address."""
    return f"http://127.0.0.1:{made.getsockname()[1]}"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child, kindly first."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def measure(server: Server, route: str, seconds: float) -> float:
    """CPU microseconds per request of one slice, deferred work of the drain included."""
    before = server.cpu_s()
    done = await load.run(server.port, load.request(route, server.peer.headers), seconds)
    await asyncio.sleep(DRAIN_S)
    # A failed answer costs less than a good one: a mean of both would say nothing.
    if done.failed or not done.answered:
        raise RuntimeError(f"{server.peer.name} {route}: {done.failed} failed, {done.answered} answered")
    return (server.cpu_s() - before) * 1e6 / done.answered


async def cycles(servers: list[Server], budget_s: float, seed: int) -> report.Samples:
    """Slices of all cases in random order, again and again until the budget is used up."""
    order = random.Random(seed)
    cases = [(server, route) for server in servers for route in server.peer.routes]
    for server, route in cases:  # warm: caches, pools, the baseline of each route
        await measure(server, route, SLICE_S)
    samples: report.Samples = {(server.peer.name, route): [] for server, route in cases}
    end = time.monotonic() + budget_s
    # Two cycles at least: of a single one the interval has no width, and its upper end decides.
    while time.monotonic() < end or len(next(iter(samples.values()))) < 2:
        order.shuffle(cases)
        for server, route in cases:
            samples[server.peer.name, route].append(await measure(server, route, SLICE_S))
        print(f"  cycle {len(samples['bare', ITEMS])} done", file=sys.stderr, flush=True)
    return samples


def chosen(names: str | None) -> tuple[Peer, ...]:
    """The peers whose application is among the named ones; all without names."""
    wanted = set(names.split(",")) | {"bare"} if names else {peer.app for peer in PEERS}
    return tuple(peer for peer in PEERS if peer.app in wanted)


def main(arguments: list[str]) -> int:
    """Measure, print the table, write `bench/results/`; `--check` fails when a ratio is over its limit."""
    parser = argparse.ArgumentParser("bench overhead")
    parser.add_argument("--seconds", type=float, default=180.0, help="time for measuring (default 180)")
    parser.add_argument("--peers", help="applications, separated by commas: firstcause,stock,prometheus")
    parser.add_argument("--seed", type=int, default=1, help="order of the slices")
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio is over its limit")
    options = parser.parse_args(arguments)
    pin(0, 1)
    samples: report.Samples = {}
    for start in range(report.STARTS):
        with running(chosen(options.peers)) as servers:
            part = asyncio.run(cycles(servers, options.seconds / report.STARTS, options.seed + start))
            memory = {server.peer.name: server.memory_mb() for server in servers}
        for case, values in part.items():
            samples.setdefault(case, []).extend(values)
    verdicts = report.verdicts(samples)
    print(report.markdown(samples, memory, verdicts))
    if not options.peers:
        report.write(ROOT / "bench" / "results", samples, memory, verdicts)
    failed = [verdict for verdict in verdicts if not verdict.held]
    return 1 if options.check and (failed or not verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
