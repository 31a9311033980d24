"""What a scrape of many workers costs, beside `prometheus_client`'s multiprocess mode in the same run.

Sixteen live processes with about two thousand series each; then two hundred workers that come and go.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
WORKERS, ROUNDS, RECYCLED = 16, 9, 200
ROUTES, RESOURCES = 32, 11
AIM_S, LIMIT = 0.150, 1 / 3
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
LABELS = {"service.name": "scraped"}


def main(arguments: list[str]) -> int:
    """Print and keep the table; 0 when a scrape takes at most a third of the peer's, and storage stays."""
    with tempfile.TemporaryDirectory(prefix="scrape-") as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        theirs.mkdir()
        with workers("ours", ours), workers("theirs", theirs):
            found = measure(our_scrapes(ours), their_scrape(theirs))
        files, size = recycle(ours)
    ratio = found["ours, text"] / found["prometheus_client, text"]
    text = table(found, ratio, files, size)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scrape.md").write_text(text)
    print(text)
    # Bounded by who is alive; the peer keeps the files of every worker that ever was.
    return 0 if ratio <= LIMIT and files <= 2 * WORKERS + 4 else 1


def measure(ours: dict[str, Callable[[], bytes]], theirs: Callable[[], bytes]) -> dict[str, float]:
    """Seconds per scrape: the first of ours, then medians of interleaved rounds; equal totals are checked."""
    first = timed(ours["ours, text"])
    ways = {**ours, "prometheus_client, text": theirs}
    assert requests(ours["ours, text"]()) == requests(theirs()) > 0
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, scrape in ways.items():
            seconds[name].append(timed(scrape))
    return {"ours, text, the first": first, **{name: median(values) for name, values in seconds.items()}}


def timed(scrape: Callable[[], bytes]) -> float:
    """Seconds of one scrape."""
    began = time.perf_counter()
    scrape()
    return time.perf_counter() - began


def requests(text: bytes) -> int:
    """All requests that an exposition counts."""
    counts = "http_server_request_duration_seconds_count"
    lines = [line for line in text.decode().splitlines() if line.startswith(counts)]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))


# -- ours ---------------------------------------------------------------------------------------


def our_metrics(folder: Path) -> Any:
    """Metrics of this process, in the folder's group."""
    from firstcause.metrics.cells import Metrics
    from firstcause.metrics.group import Group
    from firstcause.metrics.snapshot import fold
    from firstcause.metrics.store import Store

    return Metrics(LABELS, (), Store(lambda: Group(str(folder), fold), now=True))


def our_scrapes(folder: Path) -> dict[str, Callable[[], bytes]]:
    """Scrapes of ours by format."""
    from firstcause.metrics.exposition import Exposition

    exposition = Exposition(our_metrics(folder))
    return {
        "ours, text": lambda: exposition.render("text/plain")[1],
        "ours, OpenMetrics with exemplars": lambda: exposition.render(OPENMETRICS)[1],
        "ours, protobuf with native histograms": lambda: exposition.render(PROTOBUF)[1],
    }


def count_ours(folder: Path) -> None:
    """What one worker counts."""
    from firstcause.diagnosis.unit import UnitReport

    metrics = our_metrics(folder)
    for route in range(ROUTES):
        for status in (200, 500, 503):
            shares = {f"db:{n}": 1_000_000 for n in range(RESOURCES)}
            for n in range(8):
                ns = 3_000_000 << n
                unit = UnitReport(method="GET", route=f"/r{route}", status=status, wall_ns=ns, shares=shares)
                unit.trace_id, unit.started_ns = n + 1, time.time_ns()
                metrics.unit(unit)


def recycle(folder: Path) -> tuple[int, int]:
    """Files and bytes in the folder after many workers came, counted and were killed, one after another."""
    for _ in range(RECYCLED):
        pid = os.fork()
        if not pid:
            count_ours(folder)
            # By SIGKILL: nothing that a worker does on its way out may be what keeps the folder small.
            os.kill(os.getpid(), 9)
        os.waitpid(pid, 0)
    our_metrics(folder).store.join()
    found = [path for path in folder.iterdir() if path.is_file()]
    return len(found), sum(path.stat().st_blocks * 512 for path in found)


# -- the peer -----------------------------------------------------------------------------------


def their_scrape(folder: Path) -> Callable[[], bytes]:
    """A scrape by `prometheus_client`'s own collector of such folders."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return lambda: generate_latest(registry)


def count_theirs() -> None:
    """The same series as ours, with its instruments."""
    from prometheus_client import Counter, Histogram

    from firstcause.conventions import SECONDS

    names = ("http_request_method", "http_route", "http_response_status_code", "service_name")
    duration = Histogram("http_server_request_duration_seconds", "Duration.", names, buckets=SECONDS)
    spent = Counter("firstcause_request_time_seconds", "Time.", ("http_route", "resource", "service_name"))
    for route in range(ROUTES):
        for status in (200, 500, 503):
            for n in range(8):
                duration.labels("GET", f"/r{route}", str(status), "scraped").observe(0.003 * (1 << n))
        for resource in range(RESOURCES):
            spent.labels(f"/r{route}", f"db:{resource}", "scraped").inc(0.001)


# -- processes ----------------------------------------------------------------------------------


@contextmanager
def workers(whose: str, folder: Path) -> Iterator[None]:
    """Live processes that have counted, until the block ends."""
    command = [sys.executable, "-m", "bench.scrape", "--worker", whose, str(folder)]
    # In the child's environment: `prometheus_client` chooses its storage when it is imported.
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)} if whose == "theirs" else dict(os.environ)
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) for _ in range(WORKERS)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"counted\n"
        yield
    finally:
        for process in started:
            process.communicate(b"\n")


def work(whose: str, folder: Path) -> int:
    """A worker: count, say so, stay."""
    if whose == "ours":
        count_ours(folder)
    else:
        count_theirs()
    print("counted", flush=True)
    sys.stdin.readline()
    return 0


def table(found: dict[str, float], ratio: float, files: int, size: int) -> str:
    """The figures as a page."""
    # Per route and status 14 edges, +Inf, count and sum.
    series = ROUTES * 3 * 17 + ROUTES * RESOURCES
    lines = [f"# A scrape of {WORKERS} workers with {series} series each", "", "| scrape | ms |", "|---|---|"]
    lines += [f"| {name} | {seconds * 1000:.0f} |" for name, seconds in found.items()]
    held = f"{ratio:.2f} (at most {LIMIT:.2f} is held)"
    lines += ["", f"Text, ours over `prometheus_client`'s multiprocess mode: {held}."]
    lines += [f"The aim is {AIM_S * 1000:.0f} ms. After {RECYCLED} recycled workers: {files} files, {size >> 10} KiB."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.exit(work(sys.argv[2], Path(sys.argv[3])))
    sys.exit(main(sys.argv[1:]))
