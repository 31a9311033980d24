"""Causes travel upstream: three real services, and the first one names the third."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo_app.parts import free_port

HOP = Path(__file__).with_name("hop.py")
ROOT = Path(__file__).resolve().parents[3]
KEY = "a key of the whole deployment"


class Chain:
    """gateway → orders → payments, each a process; lines are read from the gateway's standard output."""

    def __init__(self, keys: tuple[str, str, str] = (KEY, KEY, KEY)) -> None:
        ports = [free_port() for _ in range(3)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.processes = []
        for n, name in enumerate(("gateway", "orders", "payments")):
            following = {"NEXT": self.urls[n + 1]} if n < 2 else {}
            self.processes.append(self._start(name, ports[n], keys[n], following))
        for url in self.urls:
            wait_until_up(url)

    @staticmethod
    def _start(name: str, port: int, key: str, following: dict[str, str]) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ, "NAME": name, "PORT": str(port), "FIRSTCAUSE_MESH_KEY": key, "PYTHONPATH": str(ROOT / "sdk/src"),
            "FIRSTCAUSE_OBJECTIVES": "default=200ms", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
            **following,
        }  # fmt: skip
        return subprocess.Popen([sys.executable, str(HOP)], env=environ, stdout=subprocess.PIPE)

    def ask(self, **params: Any) -> tuple[httpx.Response, dict[str, Any]]:
        """One request through the chain, and the gateway's canonical line of it."""
        response = httpx.get(self.urls[0] + "/work", params=params, timeout=20)
        request_id = response.headers["x-request-id"]
        out = self.processes[0].stdout
        assert out is not None
        for raw in out:
            line = json.loads(raw)
            if line["event"] == "request" and line["request_id"] == request_id:
                return response, line
        raise AssertionError("the gateway ended")

    def stop(self) -> None:
        """End all three."""
        for process in self.processes:
            process.kill()
            process.wait()


def wait_until_up(url: str) -> None:
    """Connect until somebody listens; the process's own start is what is awaited."""
    transport = httpx.HTTPTransport(retries=0)
    with httpx.Client(transport=transport, timeout=20) as client:
        for _ in range(2_000):
            try:
                client.get(url + "/openapi.json")
                return
            except httpx.ConnectError:
                subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    raise AssertionError(f"{url} does not come up")


@pytest.fixture(name="chain", scope="module")
def _chain() -> Iterator[Chain]:
    chain = Chain()
    for _ in range(25):
        chain.ask()
    yield chain
    chain.stop()


def test_a_slow_third_hop_is_named_by_the_first(chain: Chain) -> None:
    """The gateway says payments and payments' own cause, not a slow dependency."""
    _response, line = chain.ask(slow=True)
    assert "slow" == line["outcome"]
    assert ("payments", "app.lock") == (line["verdict"]["service"], line["verdict"]["cause"])
    assert line["verdict"]["share"] >= 0.6
    assert abs(sum(line["ledger"].values()) - line["duration_ms"]) < 0.01


def test_a_failing_third_hop_is_named_by_the_first(chain: Chain) -> None:
    """The exception's type and place arrive with the verdict, through two services that only passed it on."""
    response, line = chain.ask(fail=True)
    assert 500 == response.status_code
    assert ("payments", "app.exception") == (line["verdict"]["service"], line["verdict"]["cause"])
    assert "LookupError at work" in line["verdict"]["detail"]


def test_an_unverified_caller_is_told_nothing(chain: Chain) -> None:
    """Browsers and outsiders see no Server-Timing of ours, whatever they send."""
    forged = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "fc=0123456789abcdef"}
    for headers in ({}, forged, {"tracestate": "fc=" + "x" * 5000}):
        response = httpx.get(chain.urls[2] + "/work", params={"slow": True}, headers=headers)
        assert "server-timing" not in response.headers


def test_a_peer_with_another_key_is_a_slow_dependency() -> None:
    """Verdicts under a foreign key are neither given nor believed."""
    chain = Chain((KEY, "some other deployment's key", "some other deployment's key"))
    try:
        for _ in range(25):
            chain.ask()
        _response, line = chain.ask(slow=True)
        assert "dependency.slow" == line["verdict"]["cause"]
    finally:
        chain.stop()
