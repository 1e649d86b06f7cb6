"""Is the key of a kind Cloudflare takes, and strong enough."""

from __future__ import annotations

from datetime import datetime

from apps.pki.algorithms import CURVES, MAX_RSA_BITS
from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding
from apps.pki.results import CLOUDFLARE, GO_RSA_LIMIT, GOODKEY, caution, passed, refuse
from apps.pki.rsa_numbers import has_close_primes, has_roca_fingerprint, has_small_factor

WEAK_RSA_BITS, BROKEN_RSA_BITS = 2048, 1024
# Go, which Cloudflare's algorithm names come from, takes no exponent above this (crypto/rsa, checkPub).
MAX_EXPONENT = 2**31 - 1


def key_type(facts: CertificateFacts, _now: datetime) -> Finding:
    """RSA, or ECDSA on a curve that every TLS library has."""
    name = "key_type"
    if facts.key_algorithm not in {"RSA", "ECDSA"}:
        fix = "Cloudflare takes RSA and ECDSA keys. Re-issue the CA with one of these."
        return refuse(name, f"Key type {facts.key_algorithm} is not accepted", fix, CLOUDFLARE)
    if facts.key_algorithm == "ECDSA" and facts.curve not in CURVES.values():
        fix = "TLS software has P-256, P-384 and P-521. Re-issue the CA on one of these curves."
        return refuse(name, f"The key's curve ({facts.curve}) is not accepted", fix, CLOUDFLARE)
    if not facts.key_usable:
        fix = "Its numbers make no working key. Export the certificate again, or re-issue the CA."
        return refuse(name, f"The {facts.key_algorithm} key is damaged", fix, GOODKEY)
    return passed(name, "Key type is accepted", facts.key_label, CLOUDFLARE)


def key_strength(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """Neither too short to protect nor too long to be verified."""
    name = "key_strength"
    if facts.key_algorithm == "ECDSA":
        if facts.curve not in CURVES.values():
            return None
        return passed(name, "Key is strong enough", "Our minimum: P-256 or RSA 2048", GOODKEY)
    if facts.key_algorithm != "RSA":
        return None
    if facts.key_size > MAX_RSA_BITS:
        fix = f"TLS software stops verifying at {MAX_RSA_BITS} bits. Re-issue the CA with RSA 4096 or P-256."
        return refuse(name, f"RSA {facts.key_size} is too large", fix, GO_RSA_LIMIT)
    if facts.key_size < BROKEN_RSA_BITS:
        fix = "Such keys can be broken. Re-issue the CA with RSA 2048 or more, or ECDSA P-256."
        return refuse(name, f"RSA {facts.key_size} gives no protection", fix, GOODKEY)
    if facts.key_size < WEAK_RSA_BITS:
        risk = "Who breaks the key can make client certificates. Plan a successor with RSA 2048 or P-256 now."
        return caution(name, f"RSA {facts.key_size} is weak", risk, GOODKEY)
    return passed(name, "Key is strong enough", "Our minimum: P-256 or RSA 2048", GOODKEY)


def key_exponent(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """An RSA exponent is odd and at least 3; 65537 is the custom."""
    if facts.key_algorithm != "RSA":
        return None
    name, exponent = "key_exponent", facts.rsa_exponent
    if exponent < 3 or exponent % 2 == 0:
        fix = "Signatures under it prove nothing. Re-issue the CA with exponent 65537."
        return refuse(name, "The RSA exponent is below 3 or even", fix, GOODKEY)
    if exponent == 3:
        risk = "Careless verifiers can be fooled with it. Plan a successor with exponent 65537."
        return caution(name, "The RSA exponent is 3", risk, GOODKEY)
    if exponent > MAX_EXPONENT:
        risk = "TLS software written in Go refuses it. Test a client before you enforce."
        return caution(name, "The RSA exponent is very large", risk, GO_RSA_LIMIT)
    return passed(name, "RSA exponent is sound", str(exponent), GOODKEY)


def key_modulus(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """Moduli whose primes can be found: even, negative, close together, or from the chips of ROCA."""
    if facts.key_algorithm != "RSA" or not BROKEN_RSA_BITS <= facts.key_size <= MAX_RSA_BITS:
        return None
    name, modulus = "key_modulus", facts.rsa_modulus
    fix = "Re-issue the CA with a new key."
    if modulus < 0 or modulus % 2 == 0:
        return refuse(name, "The RSA modulus is even or negative, so it is no key", fix, GOODKEY)
    if has_small_factor(modulus):
        return caution(name, "The RSA modulus has a small factor: the key can be broken", fix, GOODKEY)
    if has_close_primes(modulus):
        return caution(name, "The RSA primes lie too close together: the key can be broken", fix, GOODKEY)
    if has_roca_fingerprint(modulus):
        return caution(name, "The RSA key looks made by a faulty chip (ROCA): it can be broken", fix, GOODKEY)
    return passed(name, "RSA modulus shows no known weakness", "Small factors, close primes, ROCA", GOODKEY)
