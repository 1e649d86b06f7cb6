"""Name constraints (RFC 5280 section 4.2.1.10): whether a CA allows the names of a certificate below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from apps.pki.der import read_element
from apps.pki.general_names import shown_name
from apps.pki.issuing import Member, Rdns, folded_name

# Names times constraints; more is refused unjudged, as a certificate could otherwise keep a worker busy.
MAX_COMPARISONS = 100_000
EMAIL, COMMON_NAME = "1.2.840.113549.1.9.1", "2.5.4.3"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_LIKE_A_HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})+")


def forbidden_name(issuer: Member, subject: Member, *, is_client: bool) -> str | None:
    """The first name of `subject` that the constraints of `issuer` do not allow, as text for people, or None.

    A client's common name that looks like a hostname counts as one when no alternative name is a hostname, as in
    OpenSSL and BoringSSL.
    """
    constraints = _constraints_of(issuer.cert)
    if constraints is None:
        return None
    permitted, excluded = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    names = _names(subject.cert, subject, is_client=is_client)
    if (len(names) + 1) * (len(permitted) + len(excluded)) > MAX_COMPARISONS:
        return "more names than can be judged"
    if subject.subject and not _allowed(x509.DirectoryName, subject.subject, permitted, excluded):
        return f"DirName:{subject.facts.subject}"
    for name in names:
        value: Any = name.value
        if not _allowed(type(name), value, permitted, excluded):
            return shown_name(name)
    return None


def _constraints_of(cert: x509.Certificate) -> x509.NameConstraints | None:
    try:
        return cert.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _names(cert: x509.Certificate, subject: Member, *, is_client: bool) -> list[x509.GeneralName]:
    """Every name but the subject itself, which is compared as it was read from the DER."""
    try:
        names = list(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    kinds = {type(name) for name in names}
    if x509.RFC822Name not in kinds:
        names += [x509.RFC822Name(text) for text in subject.texts(EMAIL) if text.isascii() and "@" in text]
    if is_client and x509.DNSName not in kinds:
        names += [x509.DNSName(text) for text in subject.texts(COMMON_NAME) if _LIKE_A_HOSTNAME.fullmatch(text)]
    return names


def _allowed(
    kind: type[x509.GeneralName],
    value: Any,
    permitted: Sequence[x509.GeneralName],
    excluded: Sequence[x509.GeneralName],
) -> bool:
    """Only constraints of the name's own kind speak of it. A kind that cannot be compared is never allowed."""
    within = [limit.value for limit in permitted if isinstance(limit, kind)]
    without = [limit.value for limit in excluded if isinstance(limit, kind)]
    holds = HOLDS.get(kind)
    if holds is None:
        return not within and not without
    if within and not any(holds(limit, value) for limit in within):
        return False
    return not any(holds(limit, value) for limit in without)


def _dns_holds(limit: str, name: str) -> bool:
    limit, name = limit.lower(), name.lower()
    return not limit or name == limit or name.endswith(limit if limit.startswith(".") else "." + limit)


def _email_holds(limit: str, address: str) -> bool:
    local, _, host = address.rpartition("@")
    limit_local, _, limit_host = limit.rpartition("@")
    if limit_local and limit_local != local:
        return False
    return _host_holds(limit_host, host)


def _uri_holds(limit: str, uri: str) -> bool:
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        host = ""
    return _host_holds(limit, host)


def _host_holds(limit: str, host: str) -> bool:
    """For mail and URI: a leading dot stands for everything below, no dot for this one host."""
    limit, host = limit.lower(), host.lower()
    return host.endswith(limit) if limit.startswith(".") else host == limit


def _ip_holds(limit: Any, address: Any) -> bool:
    return bool(address.version == limit.version and address in limit)


def _directory_holds(limit: x509.Name, name: x509.Name | Rdns) -> bool:
    wanted, given = _rdns(limit), _rdns(name)
    return given[: len(wanted)] == wanted


def _rdns(name: x509.Name | Rdns) -> Rdns:
    return folded_name(read_element(name.public_bytes())) if isinstance(name, x509.Name) else name


HOLDS: dict[type[x509.GeneralName], Callable[[Any, Any], bool]] = {
    x509.DNSName: _dns_holds,
    x509.RFC822Name: _email_holds,
    x509.UniformResourceIdentifier: _uri_holds,
    x509.IPAddress: _ip_holds,
    x509.DirectoryName: _directory_holds,
}
