"""Which network addresses are public, and connections to those only."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from urllib3 import PoolManager
from urllib3.exceptions import LocationValueError
from urllib3.util import connection

from deepo_beam.connections import (
    TimedHTTPConnection,
    TimedHTTPConnectionPool,
    TimedHTTPSConnection,
    TimedHTTPSConnectionPool,
)
from deepo_beam.errors import AddressRefusedError

_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890; not all of it is private to every Python
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet: no private, loopback, link-local, multicast or reserved one.

    IPv4 addresses within IPv6 ones (mapped, 6to4, Teredo, NAT64) are judged as what they are.

    Args:
        address: of IPv4 or IPv6 as a resolver gives it, also with a scope (``fe80::1%eth0``).

    Raises:
        ValueError: it is no address.
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public(parsed)
    inner = _inside(parsed)
    return all(map(_is_public, inner)) if inner else _is_public(parsed) and not parsed.is_site_local


def checked(manager: PoolManager, allowed: Callable[[str], bool]) -> PoolManager:
    """The manager, from now on connecting to allowed addresses only.

    Args:
        manager: of urllib3; its requests then also raise AddressRefusedError.
        allowed: as :func:`is_public`.
    """

    class Http(TimedHTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, allowed)

    class Https(TimedHTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, allowed)

    class HttpPool(TimedHTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(TimedHTTPSConnectionPool):
        ConnectionCls = Https

    manager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    return manager


def _connect(to: TimedHTTPConnection, allowed: Callable[[str], bool]) -> socket.socket:
    """Resolve once, and connect to the first address that is allowed and answers.

    Raises:
        AddressRefusedError: no address is allowed.
        LocationValueError: no name can look like this.
        OSError: there is no such host, or none of its allowed addresses answers.
    """
    try:
        found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise LocationValueError(f"host {to.host[:100]!r}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    usable = [address for address in addresses if allowed(address)]
    if not usable:
        raise AddressRefusedError(
            f"host {to.host} is at {', '.join(addresses[:3])}, which is no public address; "
            "if it is meant, allow such with --allow-private-hosts"
        )
    problem: OSError | None = None
    for address in usable:
        try:
            return connection.create_connection((address, to.port), to.timeout, socket_options=to.socket_options)
        except OSError as error:  # noqa: PERF203 - the next address may answer
            problem = error
    assert problem is not None
    raise problem


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # Python calls multicast global, and in some versions what was reserved after their release.
    if address in _PROTOCOLS:
        return False
    odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not odd


def _inside(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that traffic to this IPv6 address may reach."""
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.teredo is not None:
        return address.teredo
    inner = address.ipv4_mapped or address.sixtofour
    return () if inner is None else (inner,)
