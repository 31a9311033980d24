"""The endpoint alone: `python -m firstcause_rum`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from demo_app.parts import await_port, free_port

from .pages import LCP, beacon
from .servers import answer, request

ROOT = Path(__file__).parents[3]


def run(*arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start it with settings from the environment."""
    path = os.pathsep.join([f"{ROOT}/sdk/src", f"{ROOT}/rum/src"])
    return subprocess.Popen(
        [sys.executable, "-m", "firstcause_rum", *arguments], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, **environ},
    )  # fmt: skip


def test_it_serves_and_counts() -> None:
    """Beacons in, script out, figures at `/metrics`, and an end when it is told."""
    port, metrics = free_port(), free_port()
    process = run(
        "--port", str(port), FIRSTCAUSE_METRICS_PORT=str(metrics), OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
        FIRSTCAUSE_RUM_SETTLE_S="0", FIRSTCAUSE_RUM_PATH="/v", FIRSTCAUSE_RUM_REGIONS="BR",
    )  # fmt: skip
    try:
        await_port(port, process, Path(os.devnull))
        assert 204 == answer(port, request(json.dumps(beacon({"k": "view"}, LCP, route="/cart")).encode(), path="/v"))[0]
        assert 200 == answer(port, request(None, path="/v.js", method="GET"))[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as reply:
            text = reply.read().decode()
        views = [line for line in text.splitlines() if line.startswith("firstcause_page_views_total")]
        assert 1 == sum('page_route="/cart"' in line for line in views)
        assert "firstcause_page_lcp_device_seconds_bucket" in text
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        process.stderr.close()


def test_settings_that_cannot_work_are_said() -> None:
    """All of them, and nothing is served."""
    process = run(FIRSTCAUSE_RUM_PATHS="/v", FIRSTCAUSE_RUM_VIEWS="0")
    _, told = process.communicate(timeout=60)
    assert 2 == process.returncode
    assert b"did you mean FIRSTCAUSE_RUM_PATH?" in told
    assert b"views=0 cannot work" in told
