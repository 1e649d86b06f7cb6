"""Which addresses a probe or a webhook may connect to. Asked right before the connection is made (INV-42).

Everything that is not plain public unicast is refused, by https://www.iana.org/assignments/iana-ipv4-special-registry
and .../iana-ipv6-special-registry: what a name from outside leads to must never reach into the portal's own network.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.errors import Invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_RANGES = 20
WIDEST = {4: 8, 6: 32}
HTTPS = 443

# What clouds answer with credentials on. Refused even inside a test range.
METADATA = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "fd00:ec2::254/128")
)
# First match names the kind; what is_global, which knows most of them, calls by one name or lets pass.
KINDS: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(text), word)
    for text, word in (
        ("127.0.0.0/8", "a loopback address"),
        ("::1/128", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("fe80::/10", "a link-local address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("192.88.99.0/24", "a relay address"),
        ("::ffff:0:0/96", "an IPv4 address written as IPv6"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a NAT64 address"),
        ("2002::/16", "a 6to4 address"),
        ("2001::/23", "a reserved address"),
        ("3fff::/20", "a documentation address"),
    )
)
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


@dataclass(frozen=True)
class Policy:
    """`test_ranges` were allowed by an administrator; `own_ranges` are the deployment's public addresses.

    `test_port` replaces 443 for addresses inside a test range, and only there.
    """

    test_ranges: tuple[Network, ...] = ()
    own_ranges: tuple[Network, ...] = ()
    test_port: int = 0

    def refusal(self, address: str) -> str:
        """What kind of address it is that must not be connected to, or "" when it may."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return "not an IP address"
        if _inside(found, METADATA):
            return "a cloud metadata address"
        if self.is_test(found):
            return ""
        for network, word in KINDS:
            if _inside(found, (network,)):
                return word
        if not found.is_global or (found.version == 6 and found not in GLOBAL_IPV6):
            return "a private or reserved address"
        if _inside(found, self.own_ranges) or is_of_this_machine(found):
            return "an address of the portal itself"
        return ""

    def is_test(self, address: Address) -> bool:
        return _inside(address, self.test_ranges)

    def port(self, address: str) -> int:
        inside = self.test_port and self.is_test(ipaddress.ip_address(address))
        return self.test_port if inside else HTTPS


def _inside(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def is_of_this_machine(address: Address) -> bool:
    """Whether the system would send to itself. A UDP connect chooses the source address and sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as chosen:
            chosen.connect((str(address), HTTPS))
            source: str = chosen.getsockname()[0]
    except OSError:
        return False
    return ipaddress.ip_address(source) == address


def read_ranges(text: str | Sequence[str]) -> list[str]:
    """CIDR ranges, canonical, from lines or commas. Raises Invalid, naming what is wrong with the first bad one."""
    words = [word for word in re.split(r"[\s,;]+", text) if word] if isinstance(text, str) else list(text)
    if len(words) > MOST_RANGES:
        raise Invalid(f"That is more than {MOST_RANGES} ranges. Name fewer, wider ones.", field="test_ranges")
    return list(dict.fromkeys(str(_range(word)) for word in words))


def _range(word: str) -> Network:
    try:
        network = ipaddress.ip_network(word)
    except ValueError:
        message = (
            f"{word[:60]} is no range. Write an address and a length, such as 10.20.0.0/24, with no host bits set."
        )
        raise Invalid(message, field="test_ranges") from None
    if network.prefixlen < WIDEST[network.version]:
        message = f"{network} is too wide for a test range. The widest is /{WIDEST[network.version]}."
        raise Invalid(message, field="test_ranges")
    return network
