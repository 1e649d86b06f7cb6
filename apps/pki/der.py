"""The little of DER (X.690) that the gate reads itself, where the cryptography library hides what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
CONTEXT_0 = 0xA0


class DerError(ValueError):
    """The bytes are no definite-length DER element."""


class Element(NamedTuple):
    """One tag-length-value: `start` is where its tag stands, `body` where its value does, `end` its end."""

    data: bytes
    tag: int
    start: int
    body: int
    end: int

    @property
    def value(self) -> bytes:
        return self.data[self.body : self.end]

    @property
    def whole(self) -> bytes:
        return self.data[self.start : self.end]

    def children(self) -> Iterator[Element]:
        """The elements inside, in order. Raises DerError when one reaches past the end."""
        data, _, _, position, end = self
        while position < end:
            child = read_element(data, position, end)
            yield child
            position = child.end


def read_element(data: bytes, start: int = 0, limit: int | None = None) -> Element:
    """The element at `start`. Raises DerError for long tags, indefinite or padded lengths, missing bytes."""
    limit = len(data) if limit is None else limit
    if start + 2 > limit:
        raise DerError("too short")
    tag, first = data[start], data[start + 1]
    if tag & 0x1F == 0x1F:
        raise DerError("long tag")
    body, length = start + 2, first
    if first >= 0x80:
        size = first & 0x7F
        body += size
        length = int.from_bytes(data[start + 2 : body], "big")
        if not 1 <= size <= 4 or body > limit or length < 0x80 or data[start + 2] == 0:
            raise DerError("length")
    if body + length > limit:
        raise DerError("value reaches past the end")
    return Element(data, tag, start, body, body + length)


@lru_cache(maxsize=512)
def read_oid(value: bytes) -> str:
    """Dotted text of an OBJECT IDENTIFIER's value."""
    arcs, number = [], 0
    for byte in value:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(number)
            number = 0
    if not arcs:
        raise DerError("empty object identifier")
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))
