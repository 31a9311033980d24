"""When adapters are put on: libraries imported before and after, none that the host does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parents[3] / "sdk" / "src"

SETUP = "import sys; from firstcause import clients; lines = clients.instrument_all()"


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SDK)}, timeout=60,
        check=False,
    )  # fmt: skip
    assert "" == done.stderr
    return done.stdout.strip()


def test_nothing_is_imported_for_the_host() -> None:
    """Putting the adapters on imports no library that the host has not."""
    found = _run(f"{SETUP}; print([m for m in ('httpx', 'requests', 'sqlalchemy', 'redis', 'huey') if m in sys.modules])")
    assert "[]" == found


@pytest.mark.parametrize(
    ("imports", "patched"),
    [
        ("import httpx", "httpx.HTTPTransport.handle_request"),
        ("import requests", "requests.adapters.HTTPAdapter.send"),
        ("import sqlalchemy, sqlalchemy.engine.default as d", "d.DefaultDialect.do_execute"),
        ("from sqlalchemy.ext.asyncio import create_async_engine; import sqlalchemy.pool as p", "p.QueuePool._do_get"),
        ("import redis", "redis.Redis.execute_command"),
        ("from huey import Huey", "Huey.enqueue"),
    ],
)
def test_what_is_imported_later_is_covered(imports: str, patched: str) -> None:
    """A library that the host imports after us is covered when its import ends."""
    assert "firstcause.clients" in _run(f"{SETUP}; {imports}; print({patched}.__module__)")


def test_on_and_off_leave_no_trace() -> None:
    """Twice on and once off gives the library's own functions back."""
    code = (
        "import httpx, redis, threading; from firstcause import clients\n"
        "before = httpx.HTTPTransport.handle_request, redis.Redis.execute_command, threading.Thread.start\n"
        "clients.instrument_all(); clients.instrument_all(); clients.uninstrument_all()\n"
        "after = httpx.HTTPTransport.handle_request, redis.Redis.execute_command, threading.Thread.start\n"
        "print(before == after, hasattr(httpx.Response, '_firstcause_frame'))"
    )
    assert "True False" == _run(code)


def test_an_unknown_version_is_said_and_left_alone() -> None:
    """A library without the seam we know is reported, and nothing of it stays patched."""
    code = (
        "import httpx; del httpx.AsyncHTTPTransport.handle_async_request; before = httpx.HTTPTransport.handle_request\n"
        "httpx.AsyncHTTPTransport.__bases__[0].handle_async_request; del httpx.AsyncBaseTransport.handle_async_request\n"
        f"{SETUP}; print([l for l in lines if 'httpx' in l][0], before is httpx.HTTPTransport.handle_request)"
    )
    found = _run(code)
    assert found.startswith("httpx: not attached (AttributeError")
    assert found.endswith("True")
