"""Recognising private keys in whatever was pasted, so that an upload holding one is dropped whole."""

from __future__ import annotations

import base64
import binascii
import re

from apps.pki.der import DerError, read_element
from apps.pki.shapes import A_SEQUENCE, Shape, shape_of

MAX_ELEMENTS = 10
# Upper case as PEM writes it. Mixed case only on a BEGIN line with its dash: dumps say "X509v3 Private Key Usage
# Period", and people "We begin to use a new private key".
PEM_LABEL = re.compile(r"PRIVATE.{0,9}?KEY", re.DOTALL)
LOOSE_LABEL = re.compile(
    r"[-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]\s?BEGIN.{0,40}?PRIVATE.{0,9}?KEY", re.DOTALL | re.IGNORECASE
)
OTHER_MARKS = (
    "putty-user-key-file",
    "private-lines:",
    "private-mac:",
    "age-secret-key-",
    "privateexponent:",
    "<inverseq>",
    "\npriv:",
)
BODY = re.compile(r"-----BEGIN [^-]{1,64}-----([^-]*)-----END ")
BLOCK = re.compile(r"-----BEGIN [^-]{1,64}-----[^-]*-----END [^-]{1,64}-----")
END_LINE = re.compile(rb"-----END [^-\r\n]{0,64}-----")
JWK_TYPE = re.compile(r"""\\?["']kty\\?["']\s*:""")
JWK_SECRET = re.compile(r"""\\?["'][dk]\\?["']\s*:""")


def _encoded_marks() -> tuple[str, ...]:
    """What "PRIVATE KEY" looks like inside base64 (a Kubernetes secret, say), at each of three alignments."""
    marks = []
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + b"PRIVATE KEY").decode()
        marks.append(text[-(-shift * 8 // 6) : (shift + 11) * 8 // 6])
    return tuple(marks)


# The second is how the body of every OpenSSH key begins, whatever stands around it.
ENCODED_MARKS = (*_encoded_marks(), "b3BlbnNzaC1rZXktdjE")


def holds_private_key(text: str) -> bool:
    """Whether the text shows a private key in PEM, PuTTY, JWK or another written form. Linear in length."""
    flat = text.replace("\0", "")
    # Plain searches first: they cost a hundredth of the patterns, and nearly every upload holds none of the words.
    if "PRIVATE" in flat.upper() and (PEM_LABEL.search(flat) or LOOSE_LABEL.search(flat)):
        return True
    lower = "\n" + flat.lower()
    if any(mark in lower for mark in OTHER_MARKS):
        return True
    if "kty" in flat and JWK_TYPE.search(flat) and JWK_SECRET.search(flat):
        return True
    if any(mark in flat for mark in ENCODED_MARKS):
        return True
    if is_private_der(text.encode("latin-1", "replace")):  # a binary key in a field for text
        return True
    return any(is_private_der(unpacked(body)) for body in (*BODY.findall(flat), flat, BLOCK.sub("", flat)))


def holds_private_bytes(raw: bytes) -> bool:
    """Whether a binary private key begins the upload or follows the END line of a PEM block in it."""
    return any(is_private_der(part.lstrip()) for part in END_LINE.split(raw))


def is_private_der(data: bytes) -> bool:
    """Whether one of the structures standing side by side in the bytes is a private key."""
    position = 0
    for _ in range(MAX_ELEMENTS):
        rest = data[position:]
        if shape_of(rest) is Shape.PRIVATE_KEY:
            return True
        if not rest.startswith(A_SEQUENCE):
            return False
        try:
            position = read_element(data, position).end
        except DerError:
            return False
    return False


def unpacked(text: str) -> bytes:
    """The bytes of a text that is base64 (perhaps cut off) and nothing else, or b""."""
    if "-" in text:  # the cheapest way to tell PEM, which is asked here too, from base64
        return b""
    packed = "".join(text.split())
    try:
        return binascii.a2b_base64(packed[: len(packed) // 4 * 4], strict_mode=True)
    except ValueError:
        return b""
