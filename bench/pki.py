"""How fast and how small the certificate gate is. Run: .venv/bin/python -m bench.pki

Prints what was measured beside its limit and ends with 1 when a limit is broken. Times are CPU times, the best of
several rounds, so that a busy machine disturbs them little. The bare work is what no gate can leave out, done by
the cryptography library alone: load, read every extension, both names and the key, and check the self-signature.
Against loading and reading extensions alone no gate that checks signatures can be measured: the one check costs many
times that. So three ratios are printed, and the one that compares like with like has a limit.
"""

from __future__ import annotations

import base64
import re
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from apps.pki.bundle import MAX_BLOCKS, MAX_BYTES
from apps.pki.inspection import inspect
from tests.certs import make_ca
from tests.unit.pki import raw

NOW = datetime.now(UTC)
ROUNDS = 7
MAX_RATIO, MAX_MS, MAX_MIB = 3.0, 100.0, 64.0
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", re.DOTALL)


def main() -> int:
    warnings.simplefilter("ignore")
    roots = BLOCK.findall(Path(certifi.where()).read_text("ascii"))
    load, read, bare, gate = (microseconds(work, roots) for work in (load_alone, read_alone, bare_work, judge))
    ok = report("one certificate, times the bare work", gate / bare, MAX_RATIO, "x")
    check = bare - read
    print(f"  {len(roots)} roots: gate {gate:.0f} us, {check:.0f} us of it the library's signature check")
    for what, ours, theirs in (
        ("load and every extension", gate, load),
        ("the same, only the signature check", check, load),
        ("load, extensions, names and key, signature check left out", gate - check, read),
        ("the bare work", gate, bare),
    ):
        print(f"  times {what}: {ours / theirs:.1f} ({ours:.0f} us to {theirs:.0f} us)")
    uploads = largest()
    before = peak_mib()
    for name, data in uploads.items():
        ok &= report(f"64 KB: {name}", microseconds(judge, [data]) / 1000, MAX_MS, "ms")
    return 0 if report("memory on top", peak_mib() - before, MAX_MIB, "MiB") and ok else 1


def report(what: str, measured: float, limit: float, unit: str) -> bool:
    print(f"{'ok  ' if measured <= limit else 'SLOW'} {what}: {measured:.2f} {unit} (at most {limit:g})")
    return measured <= limit


def microseconds(work: Callable[[bytes | str], object], inputs: Sequence[bytes | str]) -> float:
    """CPU time of one piece of work, averaged over the inputs."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for data in inputs:
            work(data)
        best = min(best, time.process_time() - start)
    return best / len(inputs) * 1e6


def peak_mib() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def judge(data: bytes | str) -> object:
    return inspect(data, now=NOW)


def load_alone(pem: bytes | str) -> x509.Certificate:
    cert = x509.load_pem_x509_certificate(str(pem).encode())
    for extension in cert.extensions:
        _ = extension.value
    return cert


def read_alone(pem: bytes | str) -> x509.Certificate:
    cert = load_alone(pem)
    _ = cert.subject.rfc4514_string(), cert.issuer.rfc4514_string(), cert.public_key()
    return cert


def bare_work(pem: bytes | str) -> None:
    cert = read_alone(pem)
    key, digest = cert.public_key(), cert.signature_hash_algorithm
    assert digest is not None
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(digest))
    except InvalidSignature:
        pass


def largest() -> dict[str, bytes]:
    """Uploads at the limit, each the worst of its kind."""
    chain = [make_ca("Root 0", key="ec384")]
    while len(chain) < MAX_BLOCKS:
        chain.append(make_ca("Root 0", key="ec384", issuer=chain[-1]))
    names = [("2.5.4.11", 0x0C, "\u202e\u0430b".encode())] * 1900
    # The largest exponent that OpenSSL still takes: above 3,072 bits it stops at 64.
    key = rsa.generate_private_key(65537, 3072)
    slow = raw.rsa_spki(key.public_key().public_numbers().n, (1 << 3070) + 1)
    made = {
        "dashes": b"-" * MAX_BYTES,
        "BEGIN without end": b"-----BEGIN " * (MAX_BYTES // 11),
        "ten blocks that never end": (b"-----BEGIN CERTIFICATE-----\n" + b"PRIVATE " * 815) * 10,
        "base64": b"-----BEGIN CERTIFICATE-----\n" + b"M" * (MAX_BYTES - 60) + b"\n-----END CERTIFICATE-----\n",
        "zeros as UTF-16": b"\xff\xfe" + b"\0" * (MAX_BYTES - 2),
        "nested sequences": nested(MAX_BYTES),
        "quotes of a JWK": b'"kty" ' * (MAX_BYTES // 6),
        "a certificate with 1,900 names": raw.raw_certificate(subject=raw.name(*names)),
        "an RSA key that is slow to use": raw.raw_certificate(
            key=key, spki=slow, signature_oid="1.2.840.113549.1.1.11"
        ),
        "ten CAs of one name, as PEM": "".join(one.pem for one in chain).encode(),
        "ten CAs of one name, as PKCS#7": pkcs7.serialize_certificates([one.cert for one in chain], Encoding.DER),
        "random as base64": base64.b64encode(bytes(range(256)) * 190),
    }
    return {name: data[:MAX_BYTES] for name, data in made.items()}


def nested(size: int) -> bytes:
    return b"".join(b"\x30\x83" + (size - at).to_bytes(3, "big") for at in range(5, size, 5))


if __name__ == "__main__":
    sys.exit(main())
