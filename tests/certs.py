"""Certificates for tests: CAs, intermediates, leaves and keys, made on the spot.

Every certificate is real: signed, with the extensions that OpenSSL writes by default. Shapes that no builder
agrees to write (serial 0, repeated extensions) live in `tests/unit/pki/raw.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - the portal must read what old roots carry
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3-256": hashes.SHA3_256(),
}
KEYS: dict[str, Callable[[], Any]] = {
    "ec256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ec224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - weak on purpose
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa2048e3": lambda: rsa.generate_private_key(3, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
    "dsa2048": lambda: dsa.generate_private_key(2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


@dataclass(frozen=True)
class Made:
    """A certificate with its private key, in every form that tests ask for."""

    cert: x509.Certificate
    key: Any
    pem: str
    der: bytes
    fingerprint: str
    """SHA-256 of the DER, lower hex."""

    @property
    def key_pem(self) -> str:
        """The private key as unencrypted PKCS#8, for tests that prove it is refused."""
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()

    @property
    def ski(self) -> str:
        """Subject key identifier in UPPER hex, "" when the certificate has none."""
        try:
            found = self.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return ""
        return found.value.digest.hex().upper()


def make_key(kind: Any = "ec256") -> Any:
    """A new private key of a kind in KEYS; a key that exists already is handed back."""
    return KEYS[kind]() if isinstance(kind, str) else kind


def make_ca(
    name: str = "Test Root",
    *,
    key: Any = "ec256",
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    path_length: int | None = None,
    issuer: Made | None = None,
    organisation: str | None = None,
    country: str | None = None,
    subject: x509.Name | None = None,
    serial: int | None = None,
    hash_name: str = "sha256",
    pss: bool = False,
    ca: bool | None = True,
    critical: bool = True,
    key_usage: Sequence[str] | None = ("key_cert_sign", "crl_sign"),
    extended_key_usage: Sequence[ObjectIdentifier] = (),
    ski: bool = True,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Made:
    """A root, or an intermediate when `issuer` is given. `ca=None` leaves Basic Constraints out."""
    private = make_key(key)
    subject = subject or _name(name, organisation, country)
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(serial if serial is not None else x509.random_serial_number())
        .not_valid_before(not_before or now - timedelta(days=1))
        .not_valid_after(not_after or now + timedelta(days=3650))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical)
    if key_usage is not None:
        builder = builder.add_extension(_key_usage(key_usage), critical=True)
    if extended_key_usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended_key_usage), critical=False)
    if ski:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
        builder = builder.add_extension(_authority(issuer, private), False)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return wrap(_sign(builder, issuer.key if issuer else private, hash_name, pss=pss), private)


def make_leaf(name: str = "client", *, issuer: Made, server: bool = False, **options: Any) -> Made:
    """A client certificate (a server certificate on request) signed by `issuer`, valid for about a year."""
    options.setdefault("not_after", datetime.now(UTC).replace(microsecond=0) + timedelta(days=365))
    options.setdefault("key_usage", ("digital_signature",))
    options.setdefault("extended_key_usage", (SERVER_AUTH if server else CLIENT_AUTH,))
    return make_ca(name, issuer=issuer, ca=False, **options)


def make_csr(name: str = "client", *, key: Any = "ec256") -> str:
    """A certificate signing request, as PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name, None, None))
    return request.sign(make_key(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def wrap(cert: x509.Certificate, key: Any) -> Made:
    """A certificate made elsewhere, in the same clothes."""
    der = cert.public_bytes(serialization.Encoding.DER)
    pem = cert.public_bytes(serialization.Encoding.PEM).decode()
    return Made(cert, key, pem, der, hashlib.sha256(der).hexdigest())


def _name(common_name: str, organisation: str | None, country: str | None) -> x509.Name:
    parts = [(NameOID.COUNTRY_NAME, country), (NameOID.ORGANIZATION_NAME, organisation)]
    parts.append((NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _authority(issuer: Made | None, key: Any) -> x509.AuthorityKeyIdentifier:
    signer = issuer.cert.public_key() if issuer else key.public_key()
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer)


def _key_usage(wanted: Sequence[str]) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in wanted for name in every})


def _sign(builder: x509.CertificateBuilder, key: Any, hash_name: str, *, pss: bool) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return builder.sign(key, None)
    digest = HASHES[hash_name]
    if pss:
        return builder.sign(key, digest, rsa_padding=padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH))
    return builder.sign(key, digest)
