"""Where a beacon comes from: the socket's address, or the one that a proxy of ours says. Pure; nothing is kept."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address
_LONGEST = 2048
"""Characters of `X-Forwarded-For`; a longer one is not read."""
_HOPS = 32


class Networks:
    """The networks of our own proxies."""

    def __init__(self, networks: Collection[str]) -> None:
        self._networks = [ip_network(network) for network in networks]

    def trusts(self, address: Address | None) -> bool:
        """Whether an address is one of ours."""
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: str) -> tuple[Address | None, bool]:
        """The visitor's address, and whether the peer is a proxy of ours.

        `forwarded` is read from the right, past our own proxies; what an outsider wrote further left is not.
        """
        address = parsed(peer)
        trusted = self.trusts(address)
        if not trusted or not forwarded or len(forwarded) > _LONGEST:
            return address, trusted
        for hop in forwarded.split(",")[: -_HOPS - 1 : -1]:
            found = parsed(hop.strip())
            # What stands further left was written by whoever wrote this.
            if found is None:
                break
            address = found
            if not self.trusts(found):
                break
        return address, True


def parsed(text: str) -> Address | None:
    """An address as headers write it, with or without a port; None when it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # more of them are an IPv6 address, whose end is no port
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    # As a dual-stack socket shows IPv4 peers (::ffff:192.0.2.7): no IPv4 network contains that form.
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def network_of(address: Address | None) -> bytes:
    """The /24 or /48 that an address is in: what a rate is counted by, and all that is remembered."""
    if address is None:
        return b""
    return address.packed[:3] if address.version == 4 else address.packed[:6]
