"""Where notifications may go: host names are resolved here, and what they resolve to is judged.

A webhook to ``169.254.169.254`` would hand a cloud machine's credentials to whoever reads
the answer, so link-local and metadata addresses are refused always, private ones unless the
configuration allows them. The connection is made to the very address that was judged: a
second look-up could give another.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from manifestd.errors import AccessDeniedError, UnreachableError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, OpenStack, DigitalOcean
            "169.254.170.2", "169.254.170.23",  # AWS tasks and pods
            "fd00:ec2::254", "fd00:ec2::23",  # AWS over IPv6
            "fd20:ce::254",  # Google over IPv6
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "168.63.129.16",  # Azure's host
        ),
    )
)  # fmt: skip
"""Addresses at which clouds give credentials to their machines."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """The addresses of a host, each of which may be connected to.

    Args:
        host: A name or an address.
        port: For the look-up.
        allow_private: Loopback and private addresses pass.

    Raises:
        UnreachableError: The name does not resolve.
        AccessDeniedError: One of its addresses may not be connected to. One is enough:
            which of them a connection takes is not ours to choose.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"the host {host!r} does not resolve") from error
    addresses = [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]
    for address in addresses:
        refuse(address, host, allow_private=allow_private)
    return list(dict.fromkeys(addresses))


def is_address(host: str) -> bool:
    """Whether a host is an address already, so that judging it asks nobody."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def refuse(address: Address, host: str, *, allow_private: bool) -> None:
    """Raise when an address may not be connected to.

    Raises:
        AccessDeniedError: It is link-local, of a metadata service, or no address of one host;
            or it is private or loopback, which was not allowed.
    """
    address = _inner(address)
    what = f"the host {host!r} has the address {address}"
    if address in METADATA or address.is_link_local:
        raise AccessDeniedError(f"{what}, where clouds keep credentials", hint="use another host")
    if address.is_multicast or address.is_unspecified or _reserved(address):
        raise AccessDeniedError(f"{what}, which is not the address of a host")
    if not address.is_global and not allow_private:
        raise AccessDeniedError(
            f"{what}, which is private",
            hint="set allow_private = true in its [[notify]] to allow that",
        )


def _reserved(address: Address) -> bool:
    # ::1 lies in a reserved block, and is loopback.
    return address.is_reserved and not address.is_loopback


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else the same."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
