"""The slow line: who is behind it is reached, later, and in order."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from demo_app.relay import GRANTED, GREETING, Relay
from demo_app.synthetic import Line

pytestmark = pytest.mark.parts
PIECES = [bytes([n]) * 70_000 for n in range(5)]


@pytest.fixture(name="relay")
def _relay() -> Iterator[Relay]:
    relay = Relay()
    relay.start()
    yield relay
    relay.close()


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    """Somebody who sends back whatever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def echo() -> None:
            connection, _ = listening.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        threading.Thread(target=echo, daemon=True).start()
        yield listening.getsockname()[1]


def test_bytes_arrive_later_and_in_order(relay: Relay, port: int) -> None:
    """Connecting takes a round trip, an answer another; many pieces are on their way at once and keep their order."""
    relay.delay_s = 0.2
    line = Line(f"http://127.0.0.1:{port}", relay)
    line.connect()
    assert line.connecting_ms >= 200
    began = time.perf_counter()
    threading.Thread(target=lambda: [line.sock.sendall(piece) for piece in PIECES], daemon=True).start()
    whole = b"".join(PIECES)
    assert whole == line.sock.makefile("rb").read(len(whole))
    assert time.perf_counter() - began >= 0.2
    line.close()


def test_a_name_is_as_good_as_an_address(relay: Relay, port: int) -> None:
    """Browsers give the name, whatever it is."""
    with socket.create_connection(("127.0.0.1", relay.port), 20) as connection:
        connection.sendall(b"\x05\x01\x00")
        assert GREETING == connection.recv(2)
        connection.sendall(b"\x05\x01\x00\x03\x09localhost" + port.to_bytes(2, "big"))
        assert GRANTED == connection.recv(len(GRANTED))
        connection.sendall(b"hello")
        assert b"hello" == connection.recv(5)


def test_what_cannot_be_reached_is_hung_up_on(relay: Relay) -> None:
    """A port where nobody listens, and an address of a kind that the relay does not know."""
    for address in (b"\x01\x7f\x00\x00\x01\x00\x01", b"\x04" + bytes(18)):
        with socket.create_connection(("127.0.0.1", relay.port), 20) as connection:
            connection.sendall(b"\x05\x01\x00")
            connection.recv(2)
            connection.sendall(b"\x05\x01\x00" + address)
            assert b"" == connection.recv(1)
