"""Half a million mutated requests: does anybody outside notice that the SDK is there?

Each request goes to the bare application and to the same one under firstcause; the answers must be
equal byte for byte, less the headers that are ours. Most go through ASGI and WSGI in this process,
a share through two real uvicorn processes as raw bytes, which also meets the server's own parser.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.hostile_apps import asgi_application, wsgi_application
from bench.soak import collector

REQUESTS = 500_000
WIRE_SHARE = 0.04
"""Of all requests, those sent over a socket: two connections each, so they cost twenty times as much."""
OURS = (b"x-request-id", b"server-timing")
SHOWN = 5
WIRE_S = 10.0


class Request(NamedTuple):
    """One request before it has a form: any of it may be nonsense."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]


class Answer(NamedTuple):
    """What the caller sees, our headers taken off; `raised` is what the server would have logged."""

    status: int | str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raised: str = ""


# -- mutation -----------------------------------------------------------------------------------

METHODS = ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "M" * 300)
PATHS = (
    "/items/7",
    "/items/x",
    "/echo",
    "/echo",
    "/stream",
    "/sync/abc",
    "/boom",
    "/",
    "//",
    "/nowhere",
    "*",
    "/items/",
)
NAMES = (
    b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"x-request-start", b"user-agent", b"host", b"cookie",
    b"authorization", b"content-type", b"x-junk", b"forwarded", b"server-timing", b"accept", b"range", b"if-none-match",
)  # fmt: skip
VALUES = (
    b"", b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00",
    b"fc=0123456789abcdef", b"a=1,b=2", b"k=v;p=1,k2=%25%25", b"t=1700000000.123", b"nan", b"inf", b"-1",
    b"\xff\xfe\x00", b"a" * 129, b"x" * 3000, b"," * 600, b"%" * 500, b"=" * 200, "größe".encode(),
    b"Bearer eyJhbGciOi.x.y", b"bytes=0-1", b'"', b"'; drop table users --", b"127.0.0.1:8000", b"[::1]:99999",
    b"t=9" + b"9" * 400, b"${jndi:ldap://x}", b"../../etc/passwd", b"application/json",
)  # fmt: skip


class Mutator:
    """Seeded; the same seed makes the same requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> Request:
        """The next one."""
        pick = self._random
        headers = [self._header() for _ in range(pick.choice((0, 1, 2, 3, 5, 8, 30)))]
        if pick.random() < 0.3:
            headers += [(b"traceparent", VALUES[1]), (b"tracestate", self._junk(pick.choice(VALUES)))]
        chunks = [pick.randbytes(pick.choice((0, 1, 10, 1000))) for _ in range(pick.choice((0, 0, 1, 2, 5)))]
        method = "GET" if pick.random() < 0.6 else pick.choice(METHODS)
        path = "/echo" if method == "POST" and pick.random() < 0.8 else self._path()
        return Request(method, path, self._query(), headers, chunks)

    def _header(self) -> tuple[bytes, bytes]:
        pick = self._random
        name = pick.choice(NAMES) if pick.random() < 0.8 else b"x-" + b"%x" % pick.getrandbits(20)
        return name, self._junk(pick.choice(VALUES))

    def _junk(self, value: bytes) -> bytes:
        """`value`, mostly; now and then cut, repeated, or with bytes in it turned."""
        pick = self._random
        luck = pick.random()
        if luck < 0.6 or not value:
            return value
        if luck < 0.75:
            return value[: pick.randrange(len(value))]
        if luck < 0.8:
            return value * pick.choice((2, 3, 20))
        turned = bytearray(value)
        for _ in range(pick.choice((1, 2, 5))):
            turned[pick.randrange(len(turned))] = pick.choice(b"\t ,;=%-:\"'\\az09\x7f\x80\xff")
        return bytes(turned)

    def _path(self) -> str:
        pick = self._random
        path = pick.choice(PATHS)
        luck = pick.random()
        if luck < 0.8:
            return path
        if luck < 0.9:
            return path + "/" + "".join(chr(pick.choice((37, 46, 47, 97, 228, 8364, 65533, 32, 59))) for _ in range(6))
        return f"/items/{pick.getrandbits(pick.choice((3, 31, 64, 900)))}"

    def _query(self) -> bytes:
        pick = self._random
        return pick.choice(
            (
                b"",
                b"",
                b"q=1",
                b"n=7",
                b"n=x",
                b"&&==",
                b"q=%ff%00",
                b"token=abc&" * 50,
                b"q=" + pick.randbytes(3).hex().encode(),
            )
        )


# -- drivers ------------------------------------------------------------------------------------


async def through_asgi(app: Any, request: Request) -> Answer:
    """One raw scope; `receive` gives the chunks as they are."""
    raw = request.path.encode("utf-8", "surrogateescape")
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "method": request.method, "scheme": "http", "path": request.path, "raw_path": raw,
        "query_string": request.query, "root_path": "", "headers": list(request.headers),
        "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000), "state": {},
    }  # fmt: skip
    chunks = [*request.chunks, b""]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not chunks:
            return {"type": "http.disconnect"}
        body = chunks.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    raised = ""
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - whatever it is, it has to be the same
        raised = repr(error)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    bodies = [(m.get("body", b""), m.get("more_body", False)) for m in sent if m["type"] == "http.response.body"]
    headers = _theirs((bytes(k), bytes(v)) for start in starts for k, v in start["headers"])
    return Answer(starts[0]["status"] if starts else 0, headers, repr((len(starts), bodies)).encode(), raised)


def through_wsgi(app: Any, request: Request) -> Answer:
    """One environ, as a server would make it of these bytes."""
    body = b"".join(request.chunks)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"), "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(), "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False, "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    for name, value in request.headers:
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], None]:
        started.append((status, list(headers), bool(more)))
        return lambda _data: None

    parts: list[bytes] = []
    raised = ""
    try:
        result = app(environ, start_response)
        try:
            parts += result
        finally:
            if hasattr(result, "close"):
                result.close()
    except Exception as error:  # noqa: BLE001
        raised = repr(error)
    headers = _theirs((k.encode("latin-1"), v.encode("latin-1")) for _, pairs, _ in started for k, v in pairs)
    return Answer(started[-1][0] if started else 0, headers, repr((len(started), parts)).encode(), raised)


def _theirs(pairs: Any) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name, value) for name, value in pairs if name.lower() not in (*OURS, b"date"))


def on_the_wire(port: int, request: Request) -> Answer:
    """The bytes to a real server, and everything that it says until it hangs up."""
    body = b"".join(request.chunks)
    chunked = len(request.chunks) > 1
    lines = [
        b"%s %s%s HTTP/1.1"
        % (request.method.encode(), request.path.encode(), b"?" + request.query if request.query else b"")
    ]
    lines += [name + b": " + value.replace(b"\n", b" ").replace(b"\r", b" ") for name, value in request.headers]
    lines += [b"connection: close", b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)]
    if chunked:
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in request.chunks if part) + b"0\r\n\r\n"
    said = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=WIRE_S) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        while part := connection.recv(65536):
            said += part
    head, _, rest = said.partition(b"\r\n\r\n")
    first, *pairs = head.split(b"\r\n")
    split = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in pairs)]
    return Answer(first.decode("latin-1"), _theirs(split), rest)


# -- the comparison -----------------------------------------------------------------------------


@dataclass
class Tally:
    """What was compared, and the first few that differed."""

    asked: int = 0
    different: int = 0
    shown: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)

    def compare(self, way: str, request: Request, bare: Answer, ours: Answer) -> None:
        """Note one pair."""
        self.asked += 1
        status = f"{way} {str(bare.status)[:12].removeprefix('HTTP/1.1 ')[:3]}"
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if bare != ours:
            self.different += 1
            if len(self.shown) < SHOWN:
                self.shown.append(f"{way} {request!r:.600}\n    bare: {bare!r:.600}\n    ours: {ours!r:.600}")


def main(arguments: list[str]) -> int:
    """Ask, compare, print; 0 when no answer differed and nothing of ours was swallowed."""
    parser = argparse.ArgumentParser(prog="python -m bench hostile", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seed", type=int, default=1)
    given, _others = parser.parse_known_args(arguments)
    wire = int(given.requests * WIRE_SHARE)
    half = (given.requests - wire) // 2
    # Of a process of its own: what is configured here stays configured.
    command = [
        sys.executable,
        "-m",
        "bench.hostile",
        str(given.seed),
        str(given.requests - wire - half),
        str(half),
        str(wire),
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "FIRSTCAUSE_"))}
    with collector() as (url, _silent):
        settings = {**environ, **SETTINGS, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        return subprocess.run(command, check=False, env=settings).returncode


SETTINGS = {
    "FIRSTCAUSE_LOG": "none",
    "FIRSTCAUSE_TRUSTED_PROXIES": "127.0.0.1",
    "PYTHONHASHSEED": "0",  # an Allow header is a set
}


def compare_all(seed: int, asgi: int, wsgi: int, wire: int) -> int:
    """The three ways, one after another."""
    tally, mutator = Tally(), Mutator(seed)
    print(f"seed {seed}: {asgi:,} through ASGI, {wsgi:,} through WSGI, {wire:,} through uvicorn", flush=True)
    began = time.perf_counter()
    asyncio.run(_asgi(mutator, asgi, tally))
    _wsgi(mutator, wsgi, tally)
    _wire(mutator, wire, tally)
    took = time.perf_counter() - began
    swallowed = _swallowed()
    print(f"{tally.asked:,} requests in {took:.0f} s ({tally.asked / took:,.0f}/s)")
    print("statuses:", dict(sorted(tally.statuses.items())))
    print(f"{tally.different} answers differ from the bare application's")
    print(f"errors of ours swallowed: {swallowed or 'none'}")
    print(*tally.shown, sep="\n")
    return 1 if tally.different or swallowed else 0


def _swallowed() -> dict[str, int]:
    """Errors of ours by place, and what could not be encoded; full queues are expected at this rate."""
    from firstcause._guard import self_counts

    bad = ("firstcause.self.errors", "reason', 'encode")
    return {
        f"{name} {dict(pairs)}": n
        for (name, pairs), n in self_counts().items()
        if bad[0] == name or bad[1] in str(pairs)
    }


def _progress(way: str, done: int, of: int, since: float) -> None:
    if done % 10_000 == 0:
        print(f"  {way}: {done:,} of {of:,}, {done / max(0.001, time.perf_counter() - since):,.0f}/s", flush=True)


async def _asgi(mutator: Mutator, n: int, tally: Tally) -> None:
    import firstcause

    bare, watched = asgi_application(), asgi_application()
    firstcause.configure(service="hostile", app=watched)
    since = time.perf_counter()
    for done in range(1, n + 1):
        request = mutator.request()
        tally.compare("asgi", request, await through_asgi(bare, request), await through_asgi(watched, request))
        _progress("asgi", done, n, since)


def _wsgi(mutator: Mutator, n: int, tally: Tally) -> None:
    import logging

    import firstcause

    logging.disable(logging.ERROR)  # Flask logs every exception, which is not what is measured
    bare, watched = wsgi_application(), wsgi_application()
    firstcause.configure(service="hostile", app=watched)
    since = time.perf_counter()
    for done in range(1, n + 1):
        request = mutator.request()
        tally.compare("wsgi", request, through_wsgi(bare, request), through_wsgi(watched, request))
        _progress("wsgi", done, n, since)


@contextlib.contextmanager
def _serving(kind: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        command = [sys.executable, "-m", "bench.hostile_apps", kind, str(listener.fileno())]
        process = subprocess.Popen(command, pass_fds=(listener.fileno(),), stderr=subprocess.DEVNULL)
        port = listener.getsockname()[1]
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wire(mutator: Mutator, n: int, tally: Tally) -> None:
    with _serving("bare") as bare, _serving("watched") as watched:
        since = time.perf_counter()
        for done in range(1, n + 1):
            request = mutator.request()
            tally.compare("wire", request, on_the_wire(bare, request), on_the_wire(watched, request))
            _progress("wire", done, n, since)


if __name__ == "__main__":
    sys.exit(compare_all(*map(int, sys.argv[1:5])))
