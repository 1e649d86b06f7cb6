"""Distinguished names as text that is safe to show anywhere.

The cryptography library refuses names with invalid UTF-8 and leaves line breaks and bidirectional overrides raw
(measured), so names are read here from their DER. The result is RFC 4514 text in which control, format and bidi
characters are written as hex pairs of their UTF-8, which RFC 4514 section 2.4 allows for any character.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from apps.pki.der import Element, read_element, read_oid

COMMON_NAME, COUNTRY, ORGANISATION = "2.5.4.3", "2.5.4.6", "2.5.4.10"
SHORT_NAMES = {
    COMMON_NAME: "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    COUNTRY: "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    ORGANISATION: "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
# ASN.1 string tags and their encodings. T.61 is read as Latin-1, as every known issuer wrote it.
ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
SPECIAL = frozenset(',+"\\<>;')


@dataclass(frozen=True)
class Name:
    """`text` in RFC 4514 order (last part first). The two flags speak of its strings as they were written."""

    text: str
    values: dict[str, str]
    mixed_scripts: bool
    hidden_characters: bool

    def first(self, oid: str) -> str:
        """The first value of an attribute, display-safe, or ""."""
        return self.values.get(oid, "")


def read_name(element: Element) -> Name:
    """Read a Name. Raises DerError when it is not built like one."""
    values: dict[str, str] = {}
    mixed = hidden = False
    groups = []
    for group in element.children():
        parts = []
        for pair in group.children():
            oid, encoded = read_pair(pair)
            known = read_string(encoded)
            if known is None:
                shown = "#" + encoded.hex().upper()
            else:
                safe = safe_text(known)
                mixed, hidden = mixed or mixes_scripts(known), hidden or safe != known
                values.setdefault(oid, safe)
                shown = _escaped(known)
            parts.append(f"{SHORT_NAMES.get(oid, oid)}={shown}")
        groups.append("+".join(parts))
    return Name(",".join(reversed(groups)), values, mixed, hidden)


def safe_text(text: str) -> str:
    """The text with every control, format, bidi and unassigned character as \\XX pairs of its UTF-8."""
    return text if text.isascii() and text.isprintable() else "".join(_shown(char) for char in text)


def mixes_scripts(text: str) -> bool:
    """Whether one word of the text mixes Latin with Greek, Cyrillic, Armenian or Cherokee look-alikes."""
    if text.isascii():
        return False
    words = "".join(char if char.isalpha() else " " for char in text).split()
    return any(_scripts(word) > {"LATIN"} for word in words)


def _scripts(word: str) -> set[str]:
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in word}
    return scripts & {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE"}


def read_pair(pair: Element) -> tuple[str, bytes]:
    """One attribute of a Name: its OID, and its value still encoded, which need not be DER."""
    oid = read_element(pair.data, pair.body, pair.end)
    return read_oid(oid.value), pair.data[oid.end : pair.end]


def read_string(encoded: bytes) -> str | None:
    """The string in an attribute value; None for a type that is no string. Bytes that do not fit are kept as \\xNN."""
    encoding = ENCODINGS.get(encoded[0]) if encoded else None
    return read_element(encoded).value.decode(encoding, "backslashreplace") if encoding else None


def _escaped(value: str) -> str:
    if value.isascii() and value.isprintable() and SPECIAL.isdisjoint(value) and value.strip(" #") == value:
        return value
    shown = "".join("\\" + char if char in SPECIAL else _shown(char) for char in value)
    if shown[:1] in {"#", " "}:
        shown = "\\" + shown
    return shown[:-1] + "\\ " if len(value) > 1 and value.endswith(" ") else shown


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
