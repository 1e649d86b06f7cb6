"""What a DER structure is, told from its outline alone: certificate, key, request, list or container."""

from __future__ import annotations

from enum import StrEnum

from apps.pki.der import (
    BIT_STRING,
    CONTEXT_0,
    GENERALIZED_TIME,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    UTC_TIME,
    DerError,
    Element,
    read_element,
)

# Every private key structure opens with a small version number where a certificate has its signed part:
# PKCS#1, DSA and PKCS#8 (RFC 8017, 5208) 0, SEC1 and PKCS#8 v2 (RFC 5915, 5958) 1, PKCS#12 (RFC 7292) 3.
# Certificates, requests and lists open with a SEQUENCE, PKCS#7 with an OBJECT IDENTIFIER.
KEY_VERSIONS = tuple(bytes((INTEGER, 1, version)) for version in range(4))
# How the signed part of a certificate of version 3 begins, and of nothing else.
VERSION_3 = bytes((CONTEXT_0, 3, INTEGER, 1, 2))
OPENSSH_KEY = b"openssh-key-v1"
# Java keystores, and the PVK files of Windows.
OTHER_KEY_FILES = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce", b"\x1e\xf1\xb5\xb0")
KEY_FILES = (OPENSSH_KEY, *OTHER_KEY_FILES)
A_SEQUENCE, AN_INTEGER, AN_OID = bytes((SEQUENCE,)), bytes((INTEGER,)), bytes((OBJECT_IDENTIFIER,))


class Shape(StrEnum):
    """CERTIFICATE also stands for outlines nobody knows: reading them will tell."""

    CERTIFICATE = "certificate"
    PRIVATE_KEY = "private_key"
    PKCS7 = "pkcs7"
    PUBLIC_KEY = "public_key"
    CERTIFICATE_REQUEST = "certificate_request"
    REVOCATION_LIST = "revocation_list"


def shape_of(der: bytes) -> Shape:
    """Never raises. Looks at tags and versions only, so that BER and cut-off keys are recognised too."""
    if der.startswith(KEY_FILES):
        return Shape.PRIVATE_KEY
    if not der.startswith(A_SEQUENCE):
        return Shape.CERTIFICATE
    head = _after_header(der)
    if der.startswith(KEY_VERSIONS, head):
        return Shape.PRIVATE_KEY
    if der.startswith(AN_OID, head):
        return Shape.PKCS7
    if der.startswith(AN_INTEGER, head):
        return Shape.PUBLIC_KEY
    if der.startswith(VERSION_3, _after_header(der, head)):
        return Shape.CERTIFICATE
    try:
        outer = _tags_of(read_element(der))
        first = read_element(der, head)
        return _signed_shape(outer, _tags_of(first))
    except DerError:
        return Shape.CERTIFICATE


def _after_header(der: bytes, start: int = 0) -> int:
    """Where the value of the element at `start` begins, for indefinite and impossible lengths as well."""
    first = der[start + 1] if len(der) > start + 1 else 0
    return start + 2 + (first & 0x7F if first > 0x80 else 0)


def _tags_of(element: Element) -> tuple[int, ...]:
    return tuple(child.tag for child in element.children())


def _signed_shape(outer: tuple[int, ...], first: tuple[int, ...]) -> Shape:
    if outer == (SEQUENCE, OCTET_STRING):
        return Shape.PRIVATE_KEY  # EncryptedPrivateKeyInfo, RFC 5208 section 6
    if outer == (SEQUENCE, BIT_STRING):
        return Shape.PUBLIC_KEY
    if {UTC_TIME, GENERALIZED_TIME} & set(first):
        return Shape.REVOCATION_LIST
    if first[:3] == (INTEGER, SEQUENCE, SEQUENCE) and first[3:] in ((), (CONTEXT_0,)):
        return Shape.CERTIFICATE_REQUEST
    return Shape.CERTIFICATE
