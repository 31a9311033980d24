"""A quarter of an hour of junk: does memory stay where it was, and the number of series with it?

Three servers get the same load: the bare application, one whose collector answers, and one whose
collector takes everything and never answers, so that its queues are full all the time. Callers make
up 10,000 routes, users, header values, span names and attribute values. After a warm-up of a
quarter of the time, resident memory may drift by 5 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

JUNK = 10_000
CONNECTIONS = 4
DRIFT_MB = 5.0
OVER_BARE_MB = 25.0
"""With ordinary traffic (`--junk 1`), however full the queues."""
OVER_BARE_JUNK_MB = 35.0
"""With junk every cache is full too, and the stock meter has its thousand series."""
SERIES_DRIFT = 1.02
"""Series at the end over series after the warm-up; a few are born of rare statuses."""
WARM_UP = 0.25
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One server under load: its process, and what was read of it, one entry per sample."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    metrics: str
    answered: int = 0
    memory_mb: list[float] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)

    def sample(self) -> None:
        """Read memory, CPU and the number of series now."""
        pid = self.process.pid
        self.memory_mb.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB)
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s.append((int(times[11]) + int(times[12])) / _TICK)
        self.requests.append(self.answered)
        if self.metrics:
            with urlopen(self.metrics, timeout=60) as answer:  # noqa: S310
                lines = answer.read().splitlines()
            self.series.append(sum(not line.startswith(b"#") for line in lines))

    def settled(self) -> list[float]:
        """Memory after the warm-up."""
        return self.memory_mb[int(len(self.memory_mb) * WARM_UP) :]

    def drift_mb(self) -> float:
        """How much the last fifth of the settled samples lies over the first fifth, by their medians."""
        settled = self.settled()
        fifth = max(1, len(settled) // 5)
        return statistics.median(settled[-fifth:]) - statistics.median(settled[:fifth])

    def cpu_us(self) -> float:
        """CPU per request after the warm-up."""
        first = int(len(self.cpu_s) * WARM_UP)
        return (self.cpu_s[-1] - self.cpu_s[first]) / max(1, self.requests[-1] - self.requests[first]) * 1e6


# -- load ---------------------------------------------------------------------------------------


def junk_request(pick: random.Random, junk: int) -> bytes:
    """One request out of `junk` of everything."""
    number = pick.randrange(junk)
    path = pick.choice(
        (f"/task/n{number}", f"/task/n{number}", f"/task/n{number}", f"/junk/{number}/x", f"/boom/E{number}")
    )
    method = "GET" if pick.random() < 0.9 else pick.choice(("POST", "DELETE", f"BREW{number}"[:12]))
    lines = [
        f"{method} {path}?q={number} HTTP/1.1", f"host: host{number}.test", f"user-agent: robot/{number}",
        f"x-user: user-{number}", f"x-request-id: {'id' if number % 3 else 'id with spaces '}{number}",
        f"traceparent: 00-{pick.getrandbits(128):032x}-{pick.getrandbits(64):016x}-0{number % 2}",
        f"tracestate: v{number}=x,fc={pick.getrandbits(64):016x}", f"baggage: k{number}=v{number},session.id=s{number}",
        f"x-junk-{number}: {'j' * (number % 500)}", f"x-request-start: t={number}",
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def load(server: Server, seed: int, until: float, junk: int) -> None:
    """One connection, one request at a time, until the time is over."""
    pick = random.Random(seed)
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            while time.monotonic() < until:
                writer.write(junk_request(pick, junk))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(length)
                server.answered += 1
                if b"\nconnection: close" in head:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass  # the server hangs up after an unhandled exception, the bare one as well
        finally:
            writer.close()


async def soak(servers: list[Server], seconds: float, every: float, junk: int) -> None:
    """Load all of them, sample them, and print a row a time."""
    began = time.monotonic()
    loads = [
        asyncio.create_task(load(server, seed, began + seconds, junk))
        for server in servers
        for seed in range(CONNECTIONS)
    ]
    print("| minute | " + " | ".join(f"{s.name} MB | series | requests" for s in servers) + " |", flush=True)
    while (now := time.monotonic()) < began + seconds:
        await asyncio.sleep(min(every, began + seconds - now))
        for server in servers:
            await asyncio.to_thread(server.sample)
        cells = [f"{s.memory_mb[-1]:.1f} | {(s.series or [0])[-1]} | {s.answered:,}" for s in servers]
        print(f"| {(time.monotonic() - began) / 60:.1f} | " + " | ".join(cells) + " |", flush=True)
    await asyncio.gather(*loads)


# -- processes ----------------------------------------------------------------------------------


@contextmanager
def collector() -> Iterator[tuple[str, str]]:
    """The URLs of one that answers and of one that does not."""
    with socket.create_server(("127.0.0.1", 0)) as answering, socket.create_server(("127.0.0.1", 0)) as silent:
        descriptors = (answering.fileno(), silent.fileno())
        process = subprocess.Popen([sys.executable, "-m", "bench.sink", *map(str, descriptors)], pass_fds=descriptors)
        try:
            yield f"http://127.0.0.1:{answering.getsockname()[1]}", f"http://127.0.0.1:{silent.getsockname()[1]}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def serving(name: str, endpoint: str) -> Iterator[Server]:
    """A server of its own, bare without an endpoint; its lines go nowhere, as fast as it writes them."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "FIRSTCAUSE_"))}
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "FIRSTCAUSE_METRICS_PORT": "0",
        "OTEL_METRICS_EXPORTER": "otlp,prometheus", "OTEL_METRIC_EXPORT_INTERVAL": "10000",
        "FIRSTCAUSE_USER_KEY": "sixteen characters", "FIRSTCAUSE_TRUSTED_PROXIES": "127.0.0.1",
    }  # fmt: skip
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        command = [sys.executable, "-m", "bench.soak_app", "watched" if endpoint else "bare", str(listener.fileno())]
        process = subprocess.Popen(
            command, pass_fds=(listener.fileno(),), env={**clean, **settings} if endpoint else clean,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        port = listener.getsockname()[1]
    assert process.stderr is not None
    try:
        yield Server(name, port, process, process.stderr.readline().decode().strip())
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def main(arguments: list[str]) -> int:
    """Soak, print the table and what it says; 0 when nothing drifted."""
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--junk", type=int, default=JUNK, help="how many of everything; 1 for ordinary traffic")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two rows")
    given, _others = parser.parse_known_args(arguments)
    with ExitStack() as stack:
        answering, silent = stack.enter_context(collector())
        names = {"bare": "", "exporting": answering, "queues full": silent}
        servers = [stack.enter_context(serving(name, endpoint)) for name, endpoint in names.items()]
        asyncio.run(soak(servers, given.minutes * 60, given.every, given.junk))
        return verdict(servers, OVER_BARE_MB if given.junk == 1 else OVER_BARE_JUNK_MB)


def verdict(servers: list[Server], most_mb: float) -> int:
    """What drifted, what it cost, and whether that is within bounds."""
    bare, *watched = servers
    problems = []
    for server in servers:
        over = statistics.median(server.settled()) - statistics.median(bare.settled())
        grown = server.series[-1] / server.series[int(len(server.series) * WARM_UP)] if server.series else 1.0
        print(f"{server.name}: drift {server.drift_mb():+.1f} MB, {over:+.1f} MB over bare, series ×{grown:.3f}")
        print(f"  {server.cpu_us():.0f} µs of CPU per request, {server.answered:,} answered")
        if server.drift_mb() > DRIFT_MB + max(0.0, bare.drift_mb()):
            problems.append(f"{server.name}: memory drifts")
        if over > most_mb:
            problems.append(f"{server.name}: more than {most_mb:.0f} MB over bare")
        if grown > SERIES_DRIFT:
            problems.append(f"{server.name}: series grow")
    ratio = watched[1].cpu_us() / watched[0].cpu_us()
    print(f"CPU per request, queues full against exporting: ×{ratio:.3f}")
    print(*problems or ["nothing drifts"], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
