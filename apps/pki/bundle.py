"""From what was uploaded to DER certificates, or to every reason why not.

Limits come before any parsing. Private keys come next, and one of them ends the reading: its finding is then
the only one. No message repeats a byte of the upload.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

from apps.errors import Invalid
from apps.pki import hints, pem
from apps.pki.containers import certificates_in
from apps.pki.der import SEQUENCE, DerError, read_element
from apps.pki.findings import Finding, Severity
from apps.pki.private_keys import holds_private_bytes, holds_private_key
from apps.pki.shapes import Shape, shape_of

MAX_BYTES = 64 * 1024
MAX_BLOCKS = 10
UTF8_BOM, UTF16_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")


class BundleRefused(Invalid):
    """The upload is not plain certificates. `findings` holds every reason, in the order of the upload."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        sentences = [f"{finding.message}. {finding.detail}" for finding in findings]
        super().__init__(sentences[0], field="pem", code=findings[0].check, details={"pem": sentences})
        self.findings = findings


@dataclass(frozen=True)
class Bundle:
    """The DER of every certificate, in order and at least one, and notes on what was changed to read them."""

    ders: tuple[bytes, ...]
    notes: tuple[Finding, ...]


def read_bundle(data: bytes | str) -> Bundle:
    """Read PEM, decorated or not, one DER certificate, or a PKCS#7 container of certificates.

    Raises BundleRefused for everything else.
    """
    if len(data) > MAX_BYTES:
        raise BundleRefused((hints.TOO_LARGE,))
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise BundleRefused((hints.TOO_LARGE,))
    if not raw.strip(b" \t\r\n\0"):
        raise BundleRefused((hints.EMPTY,))
    if holds_private_bytes(raw):
        raise BundleRefused((hints.PRIVATE_KEY,))
    if _is_der(raw):
        return _read_der(raw)
    text, notes = _decode(raw)
    if holds_private_key(text):
        raise BundleRefused((hints.PRIVATE_KEY,))
    if text.count(pem.BEGIN) > MAX_BLOCKS:
        raise BundleRefused((hints.TOO_MANY_BLOCKS,))
    return _read_text(raw, text, notes)


@lru_cache(maxsize=2 * MAX_BLOCKS)
def canonical_pem(der: bytes) -> str:
    """The one PEM form the portal keeps and sends: 64 columns, LF, a newline at the end. Asked for twice each time."""
    body = base64.b64encode(der).decode("ascii")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def _is_der(raw: bytes) -> bool:
    """A SEQUENCE to the last byte, or one that no text could begin like."""
    if raw[:1] != bytes((SEQUENCE,)):
        return False
    try:
        return read_element(raw).end == len(raw) or raw[1] >= 0x80
    except DerError:
        return raw[1:2] >= b"\x80"


def _read_der(raw: bytes) -> Bundle:
    ders, problem = _certificates(raw, shape_of(raw))
    if problem is not None:
        raise BundleRefused((problem,))
    _limit(ders)
    return Bundle(
        ders, (_unpacked() if ders != (raw,) else _note("der", "Read as DER", "It is kept and sent as PEM."),)
    )


def _certificates(der: bytes, shape: Shape) -> tuple[tuple[bytes, ...], Finding | None]:
    """The certificates in one structure (itself, or what a container holds), or why it has none."""
    if shape is Shape.PKCS7:
        found = certificates_in(der)
        return found, None if found else hints.EMPTY_PKCS7
    if shape in hints.SHAPES:
        return (), hints.SHAPES[shape]
    return (der,), None if _is_one_sequence(der) else hints.BROKEN_DER


def _limit(ders: tuple[bytes, ...]) -> None:
    if len(ders) > MAX_BLOCKS:
        raise BundleRefused((hints.TOO_MANY_BLOCKS,))


def _is_one_sequence(raw: bytes) -> bool:
    try:
        element = read_element(raw)
    except DerError:
        return False
    return element.tag == SEQUENCE and element.end == len(raw)


def _decode(raw: bytes) -> tuple[str, list[Finding]]:
    if raw.startswith(UTF16_BOMS):
        try:
            return raw.decode("utf-16"), [_note("encoding", "The text was UTF-16", "It was read as such.")]
        except UnicodeDecodeError:
            # A key cut off in mid-character is still a key.
            keyed = holds_private_key(raw.decode("utf-16", "replace"))
            raise BundleRefused((hints.PRIVATE_KEY if keyed else hints.BROKEN_UTF16,)) from None
    if raw.startswith(UTF8_BOM):
        return raw.decode("utf-8-sig", "replace"), [_note("byte_order_mark", "A byte order mark was left out")]
    return raw.decode("utf-8", "replace"), []


def _read_text(raw: bytes, text: str, notes: list[Finding]) -> Bundle:
    read = pem.read_blocks(text)
    if not read.blocks:
        raise BundleRefused((hints.without_blocks(raw, text),))
    problems: list[Finding] = []
    ders: tuple[bytes, ...] = ()
    for block in read.blocks:
        found, problem = ((), block.problem) if block.problem else _certificates(block.der, shape_of(block.der))
        ders += found
        if problem is not None:
            problems.append(problem._replace(position=block.position))
    if problems:
        raise BundleRefused(tuple(problems))
    _limit(ders)
    return Bundle(ders, tuple(notes + _decorations(text, read, ders)))


def _decorations(text: str, read: pem.PemText, ders: tuple[bytes, ...]) -> list[Finding]:
    """What differs between the text and its canonical form, which alone travels on (INV-37)."""
    if text.rstrip("\n") == "".join(canonical_pem(der) for der in ders).rstrip("\n"):
        return []
    notes = []
    if read.outside.replace("\0", "").strip():
        notes.append(_note("extra_text", "Text around the certificate was left out"))
    if ders != tuple(block.der for block in read.blocks):
        return [*notes, _unpacked()]
    if any(block.label != "CERTIFICATE" for block in read.blocks):
        notes.append(_note("old_label", "The old label X509 CERTIFICATE was replaced", "It is sent as CERTIFICATE."))
    if "\r" in text:
        notes.append(_note("line_endings", "The line endings were changed to LF"))
    return notes or [_note("layout", "Line breaks, blanks or empty bytes were put right")]


def _unpacked() -> Finding:
    return _note("unpacked", "The PKCS#7 container was unpacked", "Only the chosen certificate is kept and sent.")


def _note(check: str, message: str, detail: str = "") -> Finding:
    return Finding(check, Severity.NOTE, message, detail)
