"""A PEM block reader of our own, linear in the length of its text.

The loader of the cryptography library silently skips a private key that stands beside a certificate (measured),
and Go's reader at the far side need not be as tolerant as either. So blocks are found here, every one is
accounted for, and what is sent on is encoded anew. No message repeats a byte of the text.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from apps.pki.findings import Finding, Severity

BEGIN, DASHES = "-----BEGIN ", "-----"
MAX_LABEL = 64
# Certificates, and containers of them (RFC 7468 section 8 and 9), each with the old name some exporters write.
READ_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CMS", "PKCS #7 SIGNED DATA"})
ODD_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"

_PASTE_CA = "Paste the CA certificate itself."
_REQUEST = (
    "certificate_request",
    "a certificate signing request",
    "Paste the CA certificate, not a request for one.",
)
_PUBLIC_KEY = ("public_key", "a bare public key", "Paste the CA certificate that holds it.")
_PGP = ("pgp", "a PGP block", "Paste an X.509 CA certificate.")
OTHER_LABELS = {
    "TRUSTED CERTIFICATE": (
        "trusted_certificate",
        "a certificate in OpenSSL's trusted form",
        "Its trust settings would be lost. Convert it with: openssl x509 -in FILE -out ca.pem",
    ),
    "CERTIFICATE REQUEST": _REQUEST,
    "NEW CERTIFICATE REQUEST": _REQUEST,
    "X509 CRL": ("revocation_list", "a revocation list", _PASTE_CA),
    "PUBLIC KEY": _PUBLIC_KEY,
    "RSA PUBLIC KEY": _PUBLIC_KEY,
    "SSH2 PUBLIC KEY": ("ssh", "an SSH key", "Paste an X.509 CA certificate."),
    "ATTRIBUTE CERTIFICATE": ("attribute_certificate", "an attribute certificate", _PASTE_CA),
    "PGP PUBLIC KEY BLOCK": _PGP,
    "PGP MESSAGE": _PGP,
    "PGP SIGNATURE": _PGP,
}


@dataclass(frozen=True)
class Block:
    """One BEGIN line and what follows it: its DER, and the finding that says why it is no certificate."""

    position: int
    label: str
    der: bytes = b""
    problem: Finding | None = None


@dataclass(frozen=True)
class PemText:
    """The blocks in order, and the text that stands outside all of them."""

    blocks: tuple[Block, ...]
    outside: str


def read_blocks(text: str) -> PemText:
    """Never raises. The caller limits how much text and how many blocks it hands over."""
    blocks: list[Block] = []
    outside: list[str] = []
    position = 0
    while (start := text.find(BEGIN, position)) >= 0:
        outside.append(text[position:start])
        label_start = start + len(BEGIN)
        following = text.find(BEGIN, label_start)
        block, position = _read_block(text, label_start, following, len(blocks) + 1)
        blocks.append(block)
    outside.append(text[position:])
    return PemText(tuple(blocks), "".join(outside))


def _read_block(text: str, start: int, following: int, position: int) -> tuple[Block, int]:
    """The block whose label begins at `start`, and where to go on reading."""
    limit = following if following >= 0 else len(text)
    label_end = text.find(DASHES, start, min(limit, start + MAX_LABEL + len(DASHES)))
    if label_end < 0:
        words = f"The BEGIN line of block {position} is damaged"
        fix = "It must read exactly -----BEGIN CERTIFICATE----- with five hyphens on each side."
        return Block(position, "", problem=_refuse("begin_line", words, fix, position)), limit
    label = text[start:label_end]
    closing = f"-----END {label}-----"
    body_start = label_end + len(DASHES)
    body_end = text.find(closing, body_start, limit)
    if body_end < 0:
        return Block(position, label, problem=_missing_end(text[body_start:limit], position)), limit
    return _decoded(position, label, text[body_start:body_end]), body_end + len(closing)


def _decoded(position: int, label: str, body: str) -> Block:
    try:
        der = binascii.a2b_base64("".join(body.replace("\0", "").split()), strict_mode=True)
    except ValueError:
        der = None
    if label not in READ_LABELS:
        return Block(position, label, der or b"", _other_label(label, position))
    if der is None:
        return Block(position, label, problem=_bad_body(body, position))
    if not der:
        words = f"Block {position} is empty"
        return Block(position, label, problem=_refuse("base64", words, "Copy the whole certificate again.", position))
    return Block(position, label, der)


def _other_label(label: str, position: int) -> Finding:
    known = OTHER_LABELS.get(label)
    if known is None:
        words = f"Block {position} is no certificate"
        return _refuse("label", words, "Only CERTIFICATE blocks are read. Paste the CA certificate alone.", position)
    check, kind, fix = known
    return _refuse(check, f"Block {position} is {kind}", fix, position)


def _missing_end(rest: str, position: int) -> Finding:
    if "\\n" in rest:
        return _literal_newlines(position)
    if any(dash in rest for dash in ODD_DASHES):
        return odd_dashes(position)
    fix = "The end was cut off or changed. Copy the text down to and with -----END CERTIFICATE-----."
    return _refuse("end_line", f"Block {position} has no END line that matches", fix, position)


def _bad_body(body: str, position: int) -> Finding:
    if "\\n" in body or "\\r" in body:
        return _literal_newlines(position)
    if re.search(r"^[ \t]*>", body, re.MULTILINE):
        fix = "It was copied from a mail. Remove the > at the start of each line."
        return _refuse("quoted", f"The lines of block {position} begin with >", fix, position)
    if re.search(r"^[A-Za-z0-9-]+: ", body, re.MULTILINE):
        fix = "Export the certificate again without headers between BEGIN and the text."
        return _refuse("headers", f"Block {position} holds header lines", fix, position)
    fix = "A character is missing or was changed. Copy the certificate again."
    return _refuse("base64", f"Block {position} is not valid base64", fix, position)


def _literal_newlines(position: int) -> Finding:
    fix = "It was copied from JSON. Replace each \\n by a real line break."
    return _refuse("literal_newlines", f"The line breaks of block {position} are written as \\n", fix, position)


def odd_dashes(position: int | None = None) -> Finding:
    """An editor turned hyphens into typographic dashes."""
    fix = "An editor replaced the hyphens. Copy from the original, or type five plain hyphens on each side."
    return _refuse("dashes", "The dashes around BEGIN or END are not plain hyphens", fix, position)


def _refuse(check: str, message: str, detail: str, position: int | None) -> Finding:
    return Finding(check, Severity.REFUSE, message, detail, position=position)
