"""Where a beacon comes from."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause_rum.address import Networks, network_of, parsed

OURS = Networks(("10.0.0.0/8", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client", "trusted"),
    [
        ("203.0.113.9", "", "203.0.113.9", False),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9", False),  # a stranger's word
        ("10.0.0.1", "198.51.100.1", "198.51.100.1", True),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1", True),  # what the client wrote stands further left
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1", True),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", True),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1", True),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1", True),
        ("2001:db8::1", "[2001:4860::8]:443", "2001:4860::8", True),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1", True),
        ("10.0.0.1", "1.1.1.1, " * 900, "10.0.0.1", True),  # too long to be read
        ("10.0.0.1", "", "10.0.0.1", True),
    ],
)  # fmt: skip
def test_the_client_behind_proxies(peer: str, forwarded: str, client: str, trusted: bool) -> None:
    """Only our own proxies are believed, and only from the right."""
    assert (ip_address(client), trusted) == OURS.client(peer, forwarded)


@pytest.mark.parametrize("peer", ["", "unix", "x" * 999, "1.2.3", "::g"])
def test_a_peer_without_an_address(peer: str) -> None:
    """A socket file has none, and is not trusted."""
    assert (None, False) == OURS.client(peer, "198.51.100.1")
    assert b"" == network_of(None)


def test_networks_are_24_and_48_bits() -> None:
    """What a rate is counted by cannot be led back to one address."""
    assert network_of(parsed("203.0.113.9")) == network_of(parsed("203.0.113.200")) != network_of(parsed("203.0.114.9"))
    assert network_of(parsed("2001:db8:1:2::1")) == network_of(parsed("2001:db8:1:ffff::2"))
    assert (3, 6) == (len(network_of(parsed("203.0.113.9"))), len(network_of(parsed("2001:db8::1"))))


@given(st.text(max_size=60), st.text(alphabet="0123456789.:,[] ab", max_size=80))
def test_any_header_is_survived(peer: str, forwarded: str) -> None:
    """Whatever is written there."""
    address, _trusted = OURS.client(peer, forwarded)
    network_of(address)
    OURS.client("10.0.0.1", forwarded)
