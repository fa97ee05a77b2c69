"""Where events may be sent: no address of this machine, its link or its cloud's metadata unless the policy allows it.

The addresses that were checked are those that are connected to, so a name cannot change its mind in between.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"))
)
"""Of AWS, Google, Azure and others; Alibaba; and by IPv6 of AWS and Google."""
_THIS_HOST = ipaddress.ip_network("0.0.0.0/8")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """The address is one that nothing is sent to."""


def networks(allowed: Sequence[str]) -> tuple[Network, ...]:
    """Read the policy's ``allow_addresses``."""
    return tuple(map(ipaddress.ip_network, allowed))


def check(text: str, allowed: Sequence[Network]) -> None:
    """Refuse an address that nothing is sent to, however it is written.

    Raises:
        ForbiddenAddressError: says why, and how it can be allowed.

    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if any(address in network for network in allowed if network.version == address.version):
        return
    for one in _meant(address):
        if any(one in network for network in allowed if network.version == one.version):
            return
        if (kind := _forbidden(one)) is not None:
            msg = f"{address} is {kind}; add it to allow_addresses if events are to go there"
            raise ForbiddenAddressError(msg)


def _forbidden(address: Address) -> str | None:
    kinds = {
        "a metadata address": address in _METADATA,
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "an unspecified address": address.is_unspecified or address in _THIS_HOST,
        "a multicast address": address.is_multicast,
        "a reserved address": address.is_reserved and address not in _NAT64,
    }
    return next((kind for kind, is_so in kinds.items() if is_so), None)


def _meant(address: Address) -> tuple[Address, ...]:
    """The address, and an IPv4 address inside it that it leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    return (address,) if inner is None else (address, inner)


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses one of which any address is forbidden.

    It has a thread of its own, so that a name server that hangs keeps nobody else waiting.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError."""
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        addresses = [str(address[0]) for _, _, _, _, address in found]
        for address in addresses:
            check(address, self._allowed)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
            for address, (kind, _, proto, _, _) in zip(addresses, found, strict=True)
        ]

    async def close(self) -> None:
        """Let the thread end by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
