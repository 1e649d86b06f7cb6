"""Refusals of uploads that hold no certificate: what it is instead, and what to do. Fixed words only."""

from __future__ import annotations

import re
import unicodedata

from apps.pki.findings import Finding, Severity
from apps.pki.pem import ODD_DASHES, odd_dashes
from apps.pki.private_keys import unpacked
from apps.pki.shapes import Shape


def _refuse(check: str, message: str, detail: str) -> Finding:
    return Finding(check, Severity.REFUSE, message, detail)


TOO_LARGE = _refuse("size", "The upload is larger than 64 KB", "Upload one CA certificate.")
TOO_MANY_BLOCKS = _refuse("blocks", "The upload holds more than 10 blocks", "Upload one CA certificate.")
EMPTY = _refuse("empty", "There is nothing to read", "Paste the CA certificate, or choose its file.")
PRIVATE_KEY = _refuse(
    "private_key",
    "That holds a private key",
    "It was dropped: nothing of it was stored or logged. It did leave your machine, so treat the key as "
    "exposed and replace it. Then upload the certificate alone.",
)
BROKEN_DER = _refuse(
    "not_der",
    "The certificate is cut off, has extra bytes or is not DER",
    "Export it again from its source, as PEM.",
)
EMPTY_PKCS7 = _refuse(
    "pkcs7",
    "The PKCS#7 container holds no certificate that can be read",
    "It may be encrypted or hold revocation lists only. Export the CA certificate itself, as PEM.",
)
BROKEN_UTF16 = _refuse("encoding", "The text is damaged UTF-16", "Save the file as plain text (UTF-8) and try again.")
_NO_BOM = _refuse(
    "encoding",
    "The text is UTF-16 without a byte order mark",
    "Save the file as plain text (UTF-8) and try again.",
)
_ARCHIVE = _refuse(
    "archive", "This is an archive", "Archives are not unpacked. Unpack it and upload the CA certificate."
)
_HTML = _refuse(
    "html",
    "This is a web page, not a certificate",
    "The download may have ended on an error or sign-in page. Get the file again.",
)
_SSH = _refuse("ssh", "This is an SSH key or certificate", "Paste an X.509 CA certificate.")
_CASE = _refuse(
    "begin_line",
    "The BEGIN line is damaged",
    "It must read exactly -----BEGIN CERTIFICATE----- with five hyphens on each side.",
)
_NO_BEGIN = _refuse(
    "begin_line",
    "The BEGIN line is missing",
    "Copy the text from -----BEGIN CERTIFICATE----- down to and with -----END CERTIFICATE-----.",
)
_NOTHING = _refuse(
    "no_certificate",
    "No certificate was found",
    "Paste the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----, or choose a DER file.",
)

SHAPES = {
    Shape.PRIVATE_KEY: PRIVATE_KEY,
    Shape.PUBLIC_KEY: _refuse("public_key", "This is a bare public key", "Paste the CA certificate that holds it."),
    Shape.CERTIFICATE_REQUEST: _refuse(
        "certificate_request",
        "This is a certificate signing request",
        "Paste the CA certificate, not a request for one.",
    ),
    Shape.REVOCATION_LIST: _refuse("revocation_list", "This is a revocation list", "Paste the CA certificate itself."),
}

_ARCHIVE_STARTS = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"Rar!",
    b"\x28\xb5\x2f\xfd",
)
_SSH_STARTS = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")


def without_blocks(raw: bytes, text: str) -> Finding:
    """Why an upload in which no BEGIN line was found is refused."""
    start = text.lstrip()[:200].lower()
    for finding, applies in (
        (_ARCHIVE, raw.startswith(_ARCHIVE_STARTS)),
        (_NO_BOM, b"B\0E\0G\0I\0N" in raw),
        (_HTML, start.startswith("<") and re.search(r"<(!doctype html|html|head|body)", start) is not None),
        (_SSH, start.startswith(_SSH_STARTS)),
        (odd_dashes(), _dashed_begin(text)),
        (_CASE, "begin" in text.lower() and "certificate" in text.lower() and "-" in text),
        (_NO_BEGIN, "-----END " in text or unpacked(text)[:1] == b"\x30"),
    ):
        if applies:
            return finding
    return _NOTHING


def _dashed_begin(text: str) -> bool:
    plain = unicodedata.normalize("NFKC", text)
    return "BEGIN" in plain and any(dash in text for dash in ODD_DASHES)
