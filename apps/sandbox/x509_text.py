"""Certificates as Cloudflare describes them: Go's names for issuers and signature algorithms, decimal serials."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from cryptography.x509.oid import SignatureAlgorithmOID as Signed

from apps.sandbox import errors
from apps.sandbox.ids import whole_seconds
from apps.sandbox.switches import Switches

# The closed list of https://developers.cloudflare.com/ssl/client-certificates/byo-ca/
SIGNATURES = {
    Signed.RSA_WITH_SHA1: "SHA1WithRSA",
    Signed.RSA_WITH_SHA256: "SHA256WithRSA",
    Signed.RSA_WITH_SHA384: "SHA384WithRSA",
    Signed.RSA_WITH_SHA512: "SHA512WithRSA",
    Signed.ECDSA_WITH_SHA1: "ECDSAWithSHA1",
    Signed.ECDSA_WITH_SHA256: "ECDSAWithSHA256",
    Signed.ECDSA_WITH_SHA384: "ECDSAWithSHA384",
    Signed.ECDSA_WITH_SHA512: "ECDSAWithSHA512",
}
SHORT_NAMES = {
    NameOID.COUNTRY_NAME: "C",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COMMON_NAME: "CN",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.POSTAL_CODE: "POSTALCODE",
}
BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class Described:
    """The fields of a certificate object. `digest` names the set of certificates, whatever their order."""

    pem: str
    digest: str
    issuer: str
    serial_number: str
    signature: str
    signature_known: bool
    all_cas: bool
    expires_on: str
    blocks: int = 1


def describe(text: str, *, bad_pem_code: int = 1470) -> Described:
    """Read one or more PEM certificates; the first supplies the fields. Raises ApiError on anything else."""
    blocks = BLOCK.findall(text)
    if not blocks or any(label != "CERTIFICATE" for label, _ in blocks):
        raise errors.certificate_unreadable(bad_pem_code)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [
                x509.load_der_x509_certificate(base64.b64decode("".join(body.split()), validate=True))
                for _, body in blocks
            ]
            return _described(found)
    except (ValueError, binascii.Error, TypeError, x509.UnsupportedGeneralNameType):
        raise errors.certificate_unreadable(bad_pem_code) from None


def _described(found: list[x509.Certificate]) -> Described:
    first = found[0]
    prints = sorted({certificate.fingerprint(hashes.SHA256()).hex() for certificate in found})
    pem = "".join(certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in found)
    oid = first.signature_algorithm_oid
    return Described(
        pem=pem.rstrip("\n"),
        digest=hashlib.sha256(",".join(prints).encode()).hexdigest(),
        issuer=go_name(first.issuer),
        serial_number=str(first.serial_number),
        signature=SIGNATURES.get(oid, oid.dotted_string),
        signature_known=oid in SIGNATURES,
        all_cas=all(_is_ca(certificate) for certificate in found),
        expires_on=whole_seconds(first.not_valid_after_utc),
        blocks=len(prints),
    )


def stored_pem(pem: str, switches: Switches) -> str:
    """The text as it is answered later: other newlines at the end, another order, no repeats."""
    blocks = [match.group() for match in BLOCK.finditer(pem)]
    if switches.chain_deduplicated:
        blocks = list(dict.fromkeys(blocks))
    if switches.chain_reversed:
        blocks.reverse()
    return "\n".join(blocks) + {"removed": "", "kept": "\n", "added": "\n\n"}[switches.pem_newline]


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def go_name(name: x509.Name) -> str:
    """Go's `pkix.RDNSequence.String()`: last part first, unknown types as OID=#DER."""
    return ",".join("+".join(_go_part(part) for part in rdn) for rdn in reversed(list(name.rdns)))


def _go_part(part: x509.NameAttribute[str | bytes]) -> str:
    value = part.value if isinstance(part.value, str) else part.value.hex()
    short = SHORT_NAMES.get(part.oid)
    if short is None:
        raw = value.encode()
        return f"{part.oid.dotted_string}=#0c{_der_length(len(raw))}{raw.hex()}"
    escaped = re.sub(r'([,+"\\<>;])', r"\\\1", value)
    escaped = re.sub(r"^([# ])", r"\\\1", escaped)
    return f"{short}={re.sub(r'(?<!^) $', chr(92) + ' ', escaped)}"


def _der_length(length: int) -> str:
    if length < 128:
        return f"{length:02x}"
    raw = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return f"{0x80 | len(raw):02x}{raw.hex()}"
