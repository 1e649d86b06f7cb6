"""General names (RFC 5280 section 4.2.1.6) as text, in the words of `openssl x509 -text`."""

from __future__ import annotations

import ipaddress
from typing import Any

from cryptography import x509

from apps.pki.der import read_element
from apps.pki.names import read_name, safe_text

LABELS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "URI",
    x509.IPAddress: "IP",
    x509.DirectoryName: "DirName",
    x509.RegisteredID: "Registered ID",
    x509.OtherName: "othername",
}


def shown_name(name: x509.GeneralName) -> str:
    """For people, display-safe: `DNS:example.com`, `IP:10.0.0.0/255.0.0.0`, `DirName:CN=x,O=y`."""
    return f"{LABELS[type(name)]}:{_value(name)}"


def _value(name: x509.GeneralName) -> str:
    value: Any = name.value
    if isinstance(name, x509.DirectoryName):
        return read_name(read_element(name.value.public_bytes())).text
    if isinstance(name, x509.OtherName):
        return name.type_id.dotted_string
    if isinstance(value, x509.ObjectIdentifier):
        return value.dotted_string
    return _ip(value) if isinstance(name, x509.IPAddress) else safe_text(value)


def _ip(value: Any) -> str:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return f"{_ip(value.network_address)}/{_ip(value.netmask)}"
    if isinstance(value, ipaddress.IPv6Address):
        return ":".join(f"{int(group, 16):X}" for group in value.exploded.split(":"))
    return str(value)
