"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from apps.errors import Invalid
from apps.outbound.addresses import HTTPS, METADATA, Policy, is_of_this_machine, read_ranges

PUBLIC = Policy()


def ranges(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.5", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%lo", "link-local"),
        ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("100.64.0.1", "carrier-grade"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "private or reserved"),
        ("240.0.0.1", "private or reserved"),
        ("192.0.2.1", "private or reserved"),
        ("198.18.0.1", "private or reserved"),
        ("192.88.99.1", "relay"),
        ("::ffff:8.8.8.8", "IPv4 address written as IPv6"),
        ("::ffff:127.0.0.1", "IPv4 address written as IPv6"),
        ("::ffff:169.254.169.254", "IPv4 address written as IPv6"),
        ("::7f00:1", "private or reserved"),
        ("64:ff9b::a00:5", "NAT64"),
        ("64:ff9b:1::a00:5", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001:0:1::1", "reserved"),
        ("2001:db8::1", "private or reserved"),
        ("3fff::1", "documentation"),
        ("fd00::1", "private or reserved"),
        ("fec0::1", "private or reserved"),
        ("5f00::1", "private or reserved"),
        ("api.pay.example", "not an IP address"),
        ("2130706433", "not an IP address"),
        ("0x7f000001", "not an IP address"),
        ("0177.0.0.1", "not an IP address"),
    ],
)
def test_everything_but_public_unicast_is_refused(address: str, word: str) -> None:
    assert word in PUBLIC.refusal(address)


def test_the_unspecified_address_is_refused() -> None:
    assert PUBLIC.refusal("0.0.0.0")
    assert PUBLIC.refusal("::")


@pytest.mark.parametrize("address", ["1.1.1.1", "104.16.132.229", "2606:4700::6810:84e5", "2a00:1450:4001:80b::200e"])
def test_public_addresses_pass(address: str) -> None:
    assert PUBLIC.refusal(address) == ""


def test_a_test_range_opens_itself_and_nothing_else() -> None:
    policy = Policy(test_ranges=ranges("127.0.0.0/8", "10.1.0.0/16"), test_port=8443)
    assert policy.refusal("127.0.0.1") == ""
    assert policy.refusal("10.1.2.3") == ""
    assert policy.refusal("10.2.0.1")
    assert policy.refusal("::ffff:10.1.2.3")
    assert policy.port("10.1.2.3") == 8443
    assert policy.port("1.1.1.1") == HTTPS


def test_without_a_test_port_every_probe_goes_to_443() -> None:
    assert Policy(test_ranges=ranges("127.0.0.0/8")).port("127.0.0.1") == HTTPS


def test_metadata_is_refused_inside_a_test_range_too() -> None:
    policy = Policy(test_ranges=ranges("169.254.0.0/16", "100.64.0.0/10", "fd00::/32"))
    for network in METADATA:
        if network.version == 4:
            assert policy.refusal(str(network.network_address)) == "a cloud metadata address"
    assert policy.refusal("169.254.1.1") == ""


def test_public_addresses_of_the_deployment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy(own_ranges=ranges("203.0.112.0/24", "2606:4700::/32"))
    monkeypatch.setattr("apps.outbound.addresses.is_of_this_machine", lambda address: str(address) == "1.1.1.1")
    assert policy.refusal("1.1.1.1") == "an address of the portal itself"
    assert policy.refusal("1.1.1.2") == ""
    assert policy.refusal("2606:4700::1") == "an address of the portal itself"
    assert policy.refusal("203.0.112.9") == "an address of the portal itself"


def test_the_machine_knows_its_own_addresses() -> None:
    assert is_of_this_machine(ipaddress.ip_address("127.0.0.1"))
    assert not is_of_this_machine(ipaddress.ip_address("203.0.113.7"))


def test_an_address_without_a_route_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert not is_of_this_machine(ipaddress.ip_address("2606:4700::1"))


def test_ranges_are_read_from_lines_commas_and_lists() -> None:
    assert read_ranges("10.0.0.0/8, 10.0.0.0/8\n fd12:3456::/32") == ["10.0.0.0/8", "fd12:3456::/32"]
    assert read_ranges(["127.0.0.1"]) == ["127.0.0.1/32"]
    assert read_ranges("") == []


@pytest.mark.parametrize("text", ["10.0.0.1/8", "0.0.0.0/0", "::/0", "fd00::/16", "portal", "0x7f000001/32"])
def test_a_bad_range_is_named(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_ranges(text)
    assert caught.value.field == "test_ranges"
    assert text in caught.value.message


def test_twenty_ranges_are_enough() -> None:
    with pytest.raises(Invalid, match="more than 20"):
        read_ranges([f"10.{number}.0.0/16" for number in range(21)])
