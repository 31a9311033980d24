"""OTLP over HTTP on the standard library: one kept connection, a total time-out, an abort from outside.

`http.client`, `ssl` and `socket` are imported on the first send, in the exporter's thread: an
application that only imports us does not pay their 20 ms.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from firstcause.export.reply import ABORTED, CONNECT_FAILED, UNREACHABLE, Reply, read_reply

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from socket import socket

MAX_RESPONSE_BYTES = 65536
_Item = TypeVar("_Item")


class _Wire:
    """A socket as `http.client` uses one, whose every operation ends at one common deadline.

    A time-out of the socket itself starts anew with every byte: a collector that drips could hold
    the exporter for hours.
    """

    __slots__ = ("deadline", "sock")

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self.deadline = 0.0

    def armed(self) -> socket:
        """The socket, with the time left until the deadline as its time-out."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("collector did not answer in time")
        self.sock.settimeout(left)
        return self.sock

    def sendall(self, data: bytes) -> None:
        self.armed().sendall(data)

    def makefile(self, *_mode: object) -> io.BufferedReader:
        return io.BufferedReader(_WireReader(self))

    def close(self) -> None:
        self.sock.close()


class _WireReader(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.armed().recv_into(buffer)


class OtlpHttpExporter:
    """Posts encoded OTLP requests to `endpoint` (the full URL, as `http://host:4318/v1/traces`).

    `timeout_s` bounds one send in total: connect, request and response. Proxies of the environment
    and redirects are not followed. Sends come from one thread; `abort` may come from any.
    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        compression: Literal["none", "gzip"] = "none",
    ) -> None:
        from urllib.parse import urlsplit

        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"endpoint {endpoint!r}: give a URL such as http://localhost:4318/v1/traces")
        self.timeout_s = timeout_s
        self._tls = url.scheme == "https"
        self._host = url.hostname
        self._port = url.port or (443 if self._tls else 80)
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._gzip = compression == "gzip"
        self._headers = _request_headers(url.netloc.rpartition("@")[2], headers or {}, gzip=self._gzip)
        self._context: Any = None
        self._connection: HTTPConnection | None = None
        self._wire: _Wire | None = None
        self._sock: socket | None = None
        self._aborted = False
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Leave the parent's connection to the parent; the child makes its own."""
        self._lock = threading.Lock()
        sock, self._sock, self._connection, self._wire = self._sock, None, None, None
        if sock is not None:
            sock.close()  # the child's descriptor only: nothing is sent, not even a TLS goodbye

    def abort(self) -> None:
        """End the send under way now, and refuse later ones. For shutdown; any thread."""
        with self._lock:
            self._aborted = True
            sock = self._sock
        if sock is not None:
            _hang_up(sock)

    def send(self, payload: bytes) -> Reply:
        """Post one request. Never raises for anything the network or the collector does."""
        deadline = monotonic() + self.timeout_s
        body = _gzip(payload) if self._gzip else payload
        kept = self._connection is not None
        reply = self._try(body, deadline)
        # A collector may close a kept connection at any time: that is no answer to this request.
        if reply is None and kept:
            reply = self._try(body, deadline)
        if self._aborted and not reply:
            return ABORTED
        return UNREACHABLE if reply is None else reply

    def _try(self, body: bytes, deadline: float) -> Reply | None:
        """One attempt; None when the connection ended before a status line."""
        if self._aborted:
            return ABORTED
        if self._connection is None:
            try:
                self._connect(deadline)
            except OSError:
                self.close()
                return CONNECT_FAILED
        return self._exchange(body, deadline)

    def _exchange(self, body: bytes, deadline: float) -> Reply | None:
        from http.client import HTTPException

        connection, wire = self._connection, self._wire
        if connection is None or wire is None:
            return ABORTED
        wire.deadline = deadline
        try:
            connection.request("POST", self._target, body, self._headers)
            response = connection.getresponse()
        except ConnectionError:  # includes http.client.RemoteDisconnected
            self.close()
            return None
        except OSError:
            self.close()
            return UNREACHABLE
        except HTTPException:
            self.close()
            return Reply(False, reason="rejected")
        # The status decides; a body cut short or too long only costs its details.
        try:
            answer = response.read(MAX_RESPONSE_BYTES)
        except (OSError, HTTPException):
            answer = b""
        if not response.isclosed() or response.will_close:
            self.close()
        return read_reply(response.status, response.getheader("Retry-After"), answer)

    def _connect(self, deadline: float) -> None:
        from http.client import HTTPConnection

        sock = self._open(deadline)
        wire = _Wire(sock)
        if self._tls:
            wire.deadline = deadline
            wire.sock = sock = self._secure(wire.armed())
        connection = HTTPConnection(self._host, self._port)
        connection.sock = wire
        self._connection, self._wire = connection, wire

    def _open(self, deadline: float) -> socket:
        import socket

        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                self._watch(sock)
                sock.settimeout(max(deadline - monotonic(), 0.001))
                sock.connect(address)
                # Headers and body are written one after the other: Nagle would hold the second back.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                failure = error
                sock.close()
            else:
                return sock
        raise failure or OSError("no address")

    def _watch(self, sock: socket) -> None:
        """Let `abort` reach this socket; refuse when it has already come."""
        with self._lock:
            if self._aborted:
                raise ConnectionAbortedError("shut down")
            self._sock = sock

    def _secure(self, sock: socket) -> socket:
        import ssl

        if self._context is None:
            # Kept, since making one reads all of the system's certificates.
            self._context = ssl.create_default_context()
        try:
            secured: socket = self._context.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        self._watch(secured)
        return secured

    def close(self) -> None:
        """Close the kept connection; the next send opens another."""
        connection, self._connection, self._wire = self._connection, None, None
        with self._lock:
            self._sock = None
        if connection is not None:
            connection.close()


class SignalExport(Generic[_Item]):
    """What a `Pipeline` calls with a batch: encodes it once, however often it has to be sent."""

    def __init__(
        self,
        resource: Mapping[str, Any],
        encode: Callable[[Mapping[str, Any], Sequence[_Item]], bytes],
        exporter: OtlpHttpExporter,
    ) -> None:
        self._resource = resource
        self._encode = encode
        self._exporter = exporter
        self._encoded: tuple[list[_Item], bytes] | None = None
        self.timeout_s = exporter.timeout_s
        self.abort = exporter.abort
        self.close = exporter.close

    def __call__(self, batch: list[_Item]) -> Reply:
        encoded = self._encoded
        if encoded is None or encoded[0] is not batch:
            encoded = (batch, self._encode(self._resource, batch))
        if not encoded[1]:  # nothing of it could be encoded; the encoder counted every item
            return Reply(True)
        reply = self._exporter.send(encoded[1])
        self._encoded = encoded if reply.retry else None
        return reply

    def after_fork(self) -> None:
        """See `OtlpHttpExporter.after_fork`."""
        self._encoded = None
        self._exporter.after_fork()


def _request_headers(netloc: str, headers: Mapping[str, str], *, gzip: bool) -> dict[str, str]:
    fixed = {"Host": netloc, "User-Agent": "firstcause", "Content-Type": "application/x-protobuf"}
    if gzip:
        fixed["Content-Encoding"] = "gzip"
    for name, value in headers.items():
        if not _is_header(name) or not _is_header(value):
            raise ValueError(
                f"exporter header {name!r}: line breaks and characters beyond Latin-1 are not allowed"
            )
    own = {name.lower() for name in headers}
    return {name: value for name, value in fixed.items() if name.lower() not in own} | dict(headers)


def _is_header(text: str) -> bool:
    return text.isprintable() and all(ord(character) < 256 for character in text)


def _gzip(payload: bytes) -> bytes:
    import zlib

    return zlib.compress(payload, 3, 31)  # 31: the gzip container


def _hang_up(sock: socket) -> None:
    """Wake whoever waits on the socket; `close` alone leaves a reader of another thread waiting."""
    import socket as sockets

    try:
        # Not SSLSocket's own shutdown: it drops the TLS state under the reader's feet.
        sockets.socket.shutdown(sock, sockets.SHUT_RDWR)
    except OSError:
        return
