"""Secrets planted all over a real service appear in nothing that leaves it."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from firstcause.mesh import Mesh
from firstcause.trace.context import format_traceparent
from tests import parts
from tests.sdk.whole.planted import PLANTED, SHAPED
from tests.sdk.whole.service import exchange, get, parsed, service
from tests.sdk.whole.sink import sink

pytestmark = pytest.mark.parts
TRACE, SPAN = 0xABCDEF, 0x123


@dataclass
class Heard:
    """What an HTTP server was told: request lines with headers."""

    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def listener(host: str) -> Iterator[Heard]:
    """A server that answers `/status/<n>` so and everything else with 200, known to callers as `host`."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            found = re.match(r"/status/(\d+)", self.path)
            self.send_response(int(found[1]) if found else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield heard
    server.shutdown()
    server.server_close()
    thread.join(5)


@dataclass
class Outputs:
    """Everything that left the service, by the way it left."""

    by_name: dict[str, bytes]
    third: Heard
    peer: Heard


@pytest.fixture(name="outputs", scope="module")
def _outputs() -> Iterator[Outputs]:
    # 0.0.0.0 reaches this machine, and is no name of the realm: the third party.
    with parts.postgres() as database, sink() as collector, listener("0.0.0.0") as third, listener("127.0.0.1") as peer:
        environ = {
            "OTEL_METRICS_EXPORTER": "otlp,prometheus",
            "DATABASE_URL": database.url.replace("postgresql://", "postgresql+psycopg://"),
            "THIRD": third.url, "PEER": peer.url, "FIRSTCAUSE_OBJECTIVES": "default=1ms",
            "FIRSTCAUSE_MESH_KEY": PLANTED["mesh key"] * 2, "FIRSTCAUSE_USER_KEY": PLANTED["user key"] * 2,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {PLANTED['collector header']}",
        }  # fmt: skip
        with service("leaky", collector.url, **environ) as leaky:
            answers = {"unverified": b"", "verified": b""}
            for name, raw in _requests():
                answers[name] += _headers(exchange(leaky.port, raw))
            scrapes = b"".join(leaky.metrics(accept) for accept in ("text/plain", "application/openmetrics-text"))
            leaky.stop()
        bodies = {f"OTLP {path}": collector.everything(path) for path in ("/v1/traces", "/v1/logs", "/v1/metrics")}
        yield Outputs(
            {
                **bodies, "stdout": b"".join(leaky.said), "stderr": b"".join(leaky.complained), "/metrics": scrapes,
                "response headers": answers["unverified"], "response headers to the mesh": answers["verified"],
                "headers to third parties": repr([headers for _path, headers in third.requests]).encode(),
            }, third, peer,
        )  # fmt: skip


def _requests() -> Iterator[tuple[str, bytes]]:
    """Every route, by a stranger with all headers, then by a verified caller."""
    mesh = Mesh(PLANTED["mesh key"] * 2)
    for name in ("unverified", "verified"):
        mark = mesh.outgoing("127.0.0.1", TRACE) if name == "verified" else "0" * 16
        extra = (
            f"traceparent: {format_traceparent(TRACE, SPAN, 1)}".encode(),
            f"tracestate: fc={mark}".encode(),
        )  # fmt: skip
        yield (
            name,
            get(f"/leak/{SHAPED['path segment']}?{_query()}", *_secret_headers(), *extra, method=b"POST", body=_body()),
        )
        yield name, get(f"/{SHAPED['unmatched path']}", *extra)
        for path in ("/handled", "/fails", "/call-fails"):
            yield name, get(path, *extra)


def _query() -> str:
    return f"token={PLANTED['query parameter']}&q={PLANTED['query text']}&{PLANTED['bare query']}"


def _body() -> bytes:
    return f"password={PLANTED['form body']}&json={PLANTED['json body']}".encode()


def _secret_headers() -> list[bytes]:
    basic = base64.b64encode(f"me:{PLANTED['proxy-authorization header']}".encode()).decode()
    headers = {
        "authorization": f"Bearer {PLANTED['authorization header']}",
        "cookie": f"session={PLANTED['cookie header']}; theme=dark",
        "x-api-key": PLANTED["x-api-key header"],
        "proxy-authorization": f"Basic {basic}, Digest {PLANTED['proxy-authorization header']}",
        "user-agent": f"robot/1 (token={PLANTED['user agent']})",
        "baggage": f"password={PLANTED['baggage member']},session.id={PLANTED['baggage session']}",
        "x-request-id": f"Bearer {PLANTED['request id with spaces']}",
        "content-type": "application/x-www-form-urlencoded",
    }
    return [f"{name}: {value}".encode() for name, value in headers.items()]


def _headers(answer: bytes) -> bytes:
    """Response headers less the application's own cookie; what is in base64 beside what it says."""
    status, headers, _body = parsed(answer)
    assert status in (200, 404, 500)
    headers.pop("set-cookie", None)
    told = headers.get("server-timing", "")
    for part in re.findall(r"[A-Za-z0-9_-]{16,}", told):
        told += base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("latin-1")
    return repr({**headers, "server-timing": told}).encode()


OUTPUTS = (
    "OTLP /v1/traces", "OTLP /v1/logs", "OTLP /v1/metrics", "stdout", "stderr", "/metrics", "response headers",
    "response headers to the mesh", "headers to third parties",
)  # fmt: skip
SENT_BY_THE_APPLICATION = {"headers to third parties": {"outgoing header", "outgoing user info"}}


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_planted_secret_appears(outputs: Outputs, output: str) -> None:
    """Each of them was searched for in every byte of this output."""
    found = outputs.by_name[output]
    own = SENT_BY_THE_APPLICATION.get(output, set())
    leaks = [place for place, secret in PLANTED.items() if secret.encode() in found and place not in own]
    assert "" == ", ".join(leaks)


def test_the_outputs_were_not_empty(outputs: Outputs) -> None:
    """Nothing hides in silence: spans, lines, verdicts and series were there to be searched."""
    assert b"some.instrumentation" in outputs.by_name["OTLP /v1/traces"]
    assert b"retrying with" in outputs.by_name["OTLP /v1/logs"]
    assert b"connecting to" in outputs.by_name["stdout"]
    assert b"firstcause_cause_detail" in outputs.by_name["/metrics"]
    assert b"shop_orders" in outputs.by_name["/metrics"]
    assert b"shop.orders" in outputs.by_name["OTLP /v1/metrics"]
    assert b"fc;desc=" in outputs.by_name["response headers to the mesh"]
    assert b"fc;desc=" not in outputs.by_name["response headers"]
    assert 40 <= len(PLANTED)


def test_a_third_party_gets_trace_context_and_nothing_else(outputs: Outputs) -> None:
    """No mark, no baggage, no request id; our own peer gets the mark, and the session as a hash."""
    _path, told = outputs.third.requests[0]
    assert "traceparent" in told
    assert {"baggage", "x-request-id"}.isdisjoint(told)
    assert "fc=" not in told.get("tracestate", "")
    _path, known = outputs.peer.requests[0]
    assert "fc=" in known["tracestate"]
    assert "x-request-id" in known
    assert PLANTED["session id"] not in known.get("baggage", "")
