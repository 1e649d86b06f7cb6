"""Signature algorithms and public keys of a certificate, by OID.

By OID because RSA-PSS reports the same hash and key type as plain RSA, and from the DER because a key on an
unusual curve, or with impossible RSA numbers, cannot be loaded but must still be named in the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from apps.pki.der import OBJECT_IDENTIFIER, Element, read_element, read_oid

RSA_OID, EC_OID, DSA_OID, PSS_OID = (
    "1.2.840.113549.1.1.1",
    "1.2.840.10045.2.1",
    "1.2.840.10040.4.1",
    "1.2.840.113549.1.1.10",
)
SHA1_OIDS = frozenset({"1.2.840.113549.1.1.5", "1.2.840.10045.4.1"})
# The eight that Cloudflare lists: https://developers.cloudflare.com/ssl/client-certificates/byo-ca/
ACCEPTED: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "1.2.840.113549.1.1.5": ("RSA with SHA-1", hashes.SHA1()),  # noqa: S303 - on Cloudflare's list
    "1.2.840.113549.1.1.11": ("RSA with SHA-256", hashes.SHA256()),
    "1.2.840.113549.1.1.12": ("RSA with SHA-384", hashes.SHA384()),
    "1.2.840.113549.1.1.13": ("RSA with SHA-512", hashes.SHA512()),
    "1.2.840.10045.4.1": ("ECDSA with SHA-1", hashes.SHA1()),  # noqa: S303 - on Cloudflare's list
    "1.2.840.10045.4.3.2": ("ECDSA with SHA-256", hashes.SHA256()),
    "1.2.840.10045.4.3.3": ("ECDSA with SHA-384", hashes.SHA384()),
    "1.2.840.10045.4.3.4": ("ECDSA with SHA-512", hashes.SHA512()),
}
OTHER_SIGNATURES = {
    "1.2.840.113549.1.1.2": "RSA with MD2",
    "1.2.840.113549.1.1.4": "RSA with MD5",
    "1.3.14.3.2.29": "RSA with SHA-1 (old OIW identifier)",
    PSS_OID: "RSA-PSS",
    "1.2.840.113549.1.1.14": "RSA with SHA-224",
    "1.2.840.10045.4.3.1": "ECDSA with SHA-224",
    "1.2.840.10040.4.3": "DSA with SHA-1",
    "2.16.840.1.101.3.4.3.1": "DSA with SHA-224",
    "2.16.840.1.101.3.4.3.2": "DSA with SHA-256",
    "2.16.840.1.101.3.4.3.9": "ECDSA with SHA3-224",
    "2.16.840.1.101.3.4.3.10": "ECDSA with SHA3-256",
    "2.16.840.1.101.3.4.3.11": "ECDSA with SHA3-384",
    "2.16.840.1.101.3.4.3.12": "ECDSA with SHA3-512",
    "2.16.840.1.101.3.4.3.13": "RSA with SHA3-224",
    "2.16.840.1.101.3.4.3.14": "RSA with SHA3-256",
    "2.16.840.1.101.3.4.3.15": "RSA with SHA3-384",
    "2.16.840.1.101.3.4.3.16": "RSA with SHA3-512",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.643.2.2.3": "GOST R 34.10-2001",
}
KEY_ALGORITHMS = {
    RSA_OID: "RSA",
    EC_OID: "ECDSA",
    DSA_OID: "DSA",
    PSS_OID: "RSA-PSS",
    "1.2.643.2.2.19": "GOST",
}
CURVES = {"1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521"}
OTHER_CURVES = {
    "1.2.840.10045.3.1.1": "P-192",
    "1.3.132.0.33": "P-224",
    "1.3.132.0.10": "secp256k1",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
    "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
# Above this no signature is checked: the key is refused anyway, and checking costs more with every bit.
MAX_RSA_BITS = 8192


@dataclass(frozen=True)
class PublicKey:
    """`size` is in bits, 0 when unknown. `loaded` is the library's key, None when it refused to make one."""

    algorithm: str
    size: int
    curve: str
    loaded: object | None
    modulus: int = 0
    exponent: int = 0

    @property
    def usable(self) -> bool:
        return self.loaded is not None

    @property
    def label(self) -> str:
        """For people: RSA 4096, ECDSA P-384, Ed25519."""
        return f"{self.algorithm} {self.curve or self.size or ''}".strip()


def signature_label(oid: str) -> str:
    """For people; the OID itself for an algorithm that nobody here knows."""
    return ACCEPTED[oid][0] if oid in ACCEPTED else OTHER_SIGNATURES.get(oid, oid)


def read_public_key(spki: Element, cert: x509.Certificate) -> PublicKey:
    """Read a SubjectPublicKeyInfo. Raises DerError when it is not built like one."""
    algorithm, bits = spki.children()
    oid, *parameters = algorithm.children()
    name = read_oid(oid.value)
    loaded = _loaded(cert)
    if name == RSA_OID:
        modulus, exponent = (
            int.from_bytes(number.value, "big", signed=True) for number in read_element(bits.value, 1).children()
        )
        return PublicKey("RSA", modulus.bit_length(), "", loaded, modulus, exponent)
    curve = _curve(parameters) if name == EC_OID else ""
    label = KEY_ALGORITHMS.get(name) or OTHER_SIGNATURES.get(name, name)
    return PublicKey(label, int(getattr(loaded, "key_size", 0)), curve, loaded)


def signature_state(signer: object | None, oid: str, signature: bytes, signed: bytes) -> str:
    """Whether `signer` (a public key of the library) made the signature: valid, invalid, or unchecked.

    Unchecked when the algorithm or the key cannot be used, which is not "bad".
    """
    if oid not in ACCEPTED or signer is None or getattr(signer, "key_size", 0) > MAX_RSA_BITS:
        return "unchecked"
    digest = ACCEPTED[oid][1]
    try:
        if isinstance(signer, rsa.RSAPublicKey):
            signer.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(signer, ec.EllipticCurvePublicKey):
            signer.verify(signature, signed, ec.ECDSA(digest))
        else:
            return "invalid"
    except InvalidSignature:
        return "invalid"
    except (ValueError, UnsupportedAlgorithm):
        return "unchecked"
    return "valid"


def _loaded(cert: x509.Certificate) -> object | None:
    try:
        return cert.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _curve(parameters: list[Element]) -> str:
    if not parameters or parameters[0].tag != OBJECT_IDENTIFIER:
        return "explicit parameters"
    oid = read_oid(parameters[0].value)
    return CURVES.get(oid) or OTHER_CURVES.get(oid, oid)
