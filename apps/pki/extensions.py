"""The extensions the gate has something to say about, read once from a loaded certificate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from apps.pki.general_names import shown_name

CLIENT_AUTH, ANY_USAGE = "TLS Web Client Authentication", "Any Extended Key Usage"
CERT_SIGN = "Certificate Sign"
# Words as `openssl x509 -text` prints them, so that people can compare.
KEY_USAGES = (
    ("digital_signature", "Digital Signature"),
    ("content_commitment", "Non Repudiation"),
    ("key_encipherment", "Key Encipherment"),
    ("data_encipherment", "Data Encipherment"),
    ("key_agreement", "Key Agreement"),
    ("key_cert_sign", CERT_SIGN),
    ("crl_sign", "CRL Sign"),
)
AGREEMENT_USAGES = (("encipher_only", "Encipher Only"), ("decipher_only", "Decipher Only"))
EXTENDED_KEY_USAGES = {
    "1.3.6.1.5.5.7.3.1": "TLS Web Server Authentication",
    "1.3.6.1.5.5.7.3.2": CLIENT_AUTH,
    "1.3.6.1.5.5.7.3.3": "Code Signing",
    "1.3.6.1.5.5.7.3.4": "E-mail Protection",
    "1.3.6.1.5.5.7.3.8": "Time Stamping",
    "1.3.6.1.5.5.7.3.9": "OCSP Signing",
    "1.3.6.1.5.5.7.3.17": "ipsec Internet Key Exchange",
    "1.3.6.1.5.2.3.4": "PKINIT Client Auth",
    "1.3.6.1.5.2.3.5": "Signing KDC Response",
    "1.3.6.1.4.1.311.10.3.3": "Microsoft Server Gated Crypto",
    "1.3.6.1.4.1.311.10.3.4": "Microsoft Encrypted File System",
    "1.3.6.1.4.1.311.20.2.2": "Microsoft Smartcard Login",
    "2.16.840.1.113730.4.1": "Netscape Server Gated Crypto",
    "2.5.29.37.0": ANY_USAGE,
}
# What RFC 5280 defines and path checking knows, whether or not the cryptography library parses it.
KNOWN = frozenset(
    value.dotted_string for value in vars(ExtensionOID).values() if isinstance(value, x509.ObjectIdentifier)
)


@dataclass(frozen=True)
class Extensions:
    """The usages are None when the extension is absent; `ski` and `aki` are UPPER hex or "".

    `fault` says why not one of them could be read, and is "" when all were.
    """

    is_ca: bool | None = None
    basic_constraints_critical: bool = False
    path_length: int | None = None
    key_usage: tuple[str, ...] | None = None
    extended_key_usage: tuple[str, ...] | None = None
    ski: str = ""
    aki: str = ""
    has_name_constraints: bool = False
    unknown_critical: tuple[str, ...] = ()
    permitted_names: tuple[str, ...] = ()
    excluded_names: tuple[str, ...] = ()
    fault: str = ""


def read_extensions(cert: x509.Certificate) -> Extensions:
    """Parses every extension, also the ones not reported, because the library does so only when asked (measured:
    22 of its own test vectors load and then fail). Never raises; a certificate that fails here has a `fault`."""
    try:
        return _read(cert)
    except x509.DuplicateExtension:
        return Extensions(fault="An extension appears twice in the certificate")
    except x509.UnsupportedGeneralNameType:
        return Extensions(fault="An extension holds a kind of name that cannot be read (X.400 or EDI party)")
    except Exception:  # hostile bytes reach a large parser here; whatever it raises means the same
        return Extensions(fault="An extension of the certificate is damaged")


def _read(cert: x509.Certificate) -> Extensions:
    by_oid = {extension.oid: extension for extension in cert.extensions}
    constraints = by_oid.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = by_oid.get(ExtensionOID.KEY_USAGE)
    extended = by_oid.get(ExtensionOID.EXTENDED_KEY_USAGE)
    ski = by_oid.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    aki = by_oid.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    limits = by_oid.get(ExtensionOID.NAME_CONSTRAINTS)
    return Extensions(
        is_ca=constraints.value.ca if constraints else None,
        basic_constraints_critical=bool(constraints and constraints.critical),
        path_length=constraints.value.path_length if constraints else None,
        key_usage=_usages(usage.value) if usage else None,
        extended_key_usage=_extended(extended.value) if extended else None,
        ski=ski.value.digest.hex().upper() if ski else "",
        aki=(aki.value.key_identifier or b"").hex().upper() if aki else "",
        has_name_constraints=limits is not None,
        unknown_critical=tuple(
            oid.dotted_string
            for oid, extension in by_oid.items()
            if extension.critical and oid.dotted_string not in KNOWN
        ),
        permitted_names=_shown(limits.value.permitted_subtrees) if limits else (),
        excluded_names=_shown(limits.value.excluded_subtrees) if limits else (),
    )


def _shown(names: Iterable[x509.GeneralName] | None) -> tuple[str, ...]:
    return tuple(shown_name(name) for name in names or ())


def _usages(usage: x509.KeyUsage) -> tuple[str, ...]:
    wanted = KEY_USAGES + (AGREEMENT_USAGES if usage.key_agreement else ())
    return tuple(words for name, words in wanted if getattr(usage, name))


def _extended(usages: x509.ExtendedKeyUsage) -> tuple[str, ...]:
    return tuple(EXTENDED_KEY_USAGES.get(oid.dotted_string, oid.dotted_string) for oid in usages)
