"""Forks, threads and the end of the interpreter, each at the worst moment: nothing hangs, nothing is raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.sdk.chaos.hosts import APPS
from tests.sdk.processes.served import ROOT
from tests.sdk.processes.sink import sink

FORKS = int(os.environ.get("CHAOS_FORKS", "1000"))
HANGS_S = 150
"""Far more than any of it takes; who is not done by then never will be."""


def _run(program: str, endpoint: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(APPS / f"{program}.py"), *arguments], capture_output=True, text=True, timeout=HANGS_S,
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk/src"), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
             "FIRSTCAUSE_METRICS_PORT": "off", **environ},
    )  # fmt: skip


def test_a_thousand_forks_while_locks_are_held() -> None:
    """Children of a process whose threads trace, count and log all the time do the same, and none hangs."""
    with sink() as collector:
        done = _run("forking", collector.url, str(FORKS))
        assert f"of {FORKS} children 0 hung, 0 failed\n" == done.stdout
        assert (0, "") == (done.returncode, done.stderr)
        # Those that ended in order have handed over theirs.
        ended = -(-FORKS // 20)
        assert 2 * ended == sum(span.name == "child" for span in collector.spans)


def test_a_storm_of_threads() -> None:
    """200 threads that begin at once leave every span, every record and every line, and nothing is mixed up."""
    with sink() as collector:
        done = _run("storm", collector.url, OTEL_BSP_MAX_QUEUE_SIZE="20000", OTEL_BLRP_MAX_QUEUE_SIZE="20000")
        assert (0, "") == (done.returncode, done.stderr)
        assert "done 200 True" == done.stdout.splitlines()[-1]
        assert 2 * 200 * 20 == len(collector.spans)
        assert 200 * 20 == len(collector.records)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [20] * 200 == [[line["number"] for line in lines].count(number) for number in range(200)]


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("exit", 3), ("raise", 1)])
@pytest.mark.parametrize("others", ["", "daemon"])
@pytest.mark.parametrize("collector_does", ["ok", "hang"])
def test_the_interpreter_ends_as_it_would_have(how: str, status: int, others: str, collector_does: str) -> None:
    """With exit handlers, daemon threads and late destructors of the host's own; the spans before our end arrive."""
    with sink(collector_does) as collector:
        done = _run("ending", collector.url, f"{how} {others}")
        assert status == done.returncode, done.stderr
        assert ("KeyError: 'on purpose'" if how == "raise" else "") == "".join(done.stderr.splitlines()[-1:])
        assert "Exception ignored" not in done.stderr
        if collector_does == "ok" and not others:
            assert {"main", "thread", "before us"} == {span.name for span in collector.spans}
