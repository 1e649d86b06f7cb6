"""A client's certificate as the edge sees it: does a trusted CA vouch for it, and what do rules read in it.

https://developers.cloudflare.com/ruleset-engine/rules-language/fields/reference/ (cf.tls_client_auth.*)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from apps.sandbox.x509_text import go_name

PREFIX = "cf.tls_client_auth.cert_"
DATE = "%b %e %H:%M:%S %Y GMT"
LONGEST = 8


@dataclass(frozen=True)
class Verdict:
    """`issuer` signed the client's certificate directly; it is known only when the client is verified."""

    presented: bool = False
    verified: bool = False
    ca: str | None = None
    issuer: x509.Certificate | None = None


def read(pem: str) -> list[x509.Certificate]:
    """Raises ValueError."""
    return x509.load_pem_x509_certificates(pem.encode())


def verify(
    chain: Sequence[x509.Certificate], trusted: Mapping[str, Sequence[x509.Certificate]], now: datetime
) -> Verdict:
    """`chain` starts with the client's own. Signatures, names and dates count; revocation does not, as there."""
    if not chain:
        return Verdict()
    if not _valid(chain[0], now):
        return Verdict(presented=True)
    for ca_id, anchors in trusted.items():
        helpers = [item for item in (*chain[1:], *anchors) if _is_ca(item) and _valid(item, now)]
        issuer = _path(chain[0], anchors, helpers, now, LONGEST)
        if issuer is not None:
            return Verdict(presented=True, verified=True, ca=ca_id, issuer=issuer)
    return Verdict(presented=True)


def facts(chain: Sequence[x509.Certificate], verdict: Verdict) -> dict[str, Any]:
    """Field name -> value, for a client that presented nothing too."""
    found: dict[str, Any] = {"presented": verdict.presented, "verified": verdict.verified, "revoked": False}
    if chain:
        own = chain[0]
        names = {"subject_dn": go_name(own.subject), "issuer_dn": go_name(own.issuer)}
        found |= {
            "serial": f"{own.serial_number:X}",
            "fingerprint_sha1": own.fingerprint(hashes.SHA1()).hex(),  # noqa: S303 - a name, not a signature
            "fingerprint_sha256": own.fingerprint(hashes.SHA256()).hex(),
            "not_before": own.not_valid_before_utc.strftime(DATE),
            "not_after": own.not_valid_after_utc.strftime(DATE),
            "ski": _ski(own),
            "issuer_ski": _authority(own),
            **names,
            **{f"{name}_rfc2253": text for name, text in names.items()},
        }
    if verdict.issuer is not None:
        found |= {"issuer_serial": f"{verdict.issuer.serial_number:X}"}
        found["issuer_ski"] = found["issuer_ski"] or _ski(verdict.issuer)
    return {PREFIX + name: value for name, value in found.items()}


def _path(
    certificate: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    helpers: Iterable[x509.Certificate],
    now: datetime,
    left: int,
) -> x509.Certificate | None:
    """The direct issuer, when a path leads from there to an anchor."""
    for anchor in anchors:
        if _signed(certificate, anchor) and _is_ca(anchor) and _valid(anchor, now):
            return anchor
    others = list(helpers)
    for helper in others if left else ():
        if helper != certificate and _signed(certificate, helper):
            if _path(helper, anchors, others, now, left - 1) is not None:
                return helper
    return None


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _ski(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return found.value.digest.hex().upper()


def _authority(certificate: x509.Certificate) -> str:
    """The issuer's SKI as the certificate itself names it."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return (found.value.key_identifier or b"").hex().upper()
