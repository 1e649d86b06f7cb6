"""Recognising private keys in whatever was pasted, so that an upload holding one is dropped whole."""

from __future__ import annotations

import base64
import binascii
import re

from apps.pki.der import SEQUENCE, DerError, read_element
from apps.pki.shapes import Shape, shape_of

MAX_ELEMENTS = 10
# Upper case as PEM writes it. Mixed case only on a BEGIN line: dumps say "X509v3 Private Key Usage Period".
PEM_LABEL = re.compile(r"PRIVATE.{0,9}?KEY", re.DOTALL)
LOOSE_LABEL = re.compile(r"BEGIN.{0,40}?PRIVATE.{0,9}?KEY", re.DOTALL | re.IGNORECASE)
OTHER_MARKS = re.compile(
    r"PuTTY-User-Key-File|Private-Lines:|Private-MAC:|AGE-SECRET-KEY-|privateExponent:|^priv:|<InverseQ>",
    re.IGNORECASE | re.MULTILINE,
)
JWK_TYPE = re.compile(r"""\\?["']kty\\?["']\s*:""")
JWK_SECRET = re.compile(r"""\\?["'][dk]\\?["']\s*:""")


def _encoded_marks() -> tuple[str, ...]:
    """What "PRIVATE KEY" looks like inside base64 (a Kubernetes secret, say), at each of three alignments."""
    marks = []
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + b"PRIVATE KEY").decode()
        marks.append(text[-(-shift * 8 // 6) : (shift + 11) * 8 // 6])
    return tuple(marks)


ENCODED_MARKS = _encoded_marks()


def holds_private_key(text: str) -> bool:
    """Whether the text shows a private key in PEM, PuTTY, JWK or another written form. Linear in length."""
    flat = text.replace("\0", "")
    if PEM_LABEL.search(flat) or LOOSE_LABEL.search(flat) or OTHER_MARKS.search(flat):
        return True
    if JWK_TYPE.search(flat) and JWK_SECRET.search(flat):
        return True
    if any(mark in flat for mark in ENCODED_MARKS):
        return True
    return is_private_der(bare_base64(flat))


def is_private_der(data: bytes) -> bool:
    """Whether one of the structures standing side by side in the bytes is a private key."""
    position = 0
    for _ in range(MAX_ELEMENTS):
        if shape_of(data[position:]) is Shape.PRIVATE_KEY:
            return True
        try:
            position = read_element(data, position).end
        except DerError:
            return False
    return False


def bare_base64(text: str) -> bytes:
    """The bytes of a text that is base64 and nothing else and holds a SEQUENCE, or b""."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if data[:1] == bytes((SEQUENCE,)) else b""
