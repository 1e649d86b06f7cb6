"""Hostnames: one canonical form, the zone that holds one, and the forgiving reader of the bulk field.

Canonical means lower-case ASCII labels (A-labels for names in other scripts), no trailing dot. Strict IDNA 2008
without UTS 46 mapping: mapping would let one person see a name and another approve a different one.
"""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import idna
from publicsuffixlist import PublicSuffixList

from apps.errors import Invalid

MAX_NAMES = 500
MAX_BYTES = 64 * 1024
MAX_LENGTH = 253
# Longer text is no hostname in any spelling. Bringing it into normal form could take minutes.
MAX_INPUT = 2048

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ASCII_BLANKS = " \t\r\n\f\v"
_LOCAL_ENDS = frozenset({"localhost", "local", "internal"})
_NUMERIC_END = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_SUFFIXES = PublicSuffixList()


class HostnameRefused(Invalid):
    """The text is no hostname we take. `.code` names the rule, the message says what to write instead."""


def canonical(text: str) -> str:
    """The canonical form of one hostname. Raises HostnameRefused."""
    name = text.strip(_ASCII_BLANKS)
    if len(name) > MAX_INPUT:
        raise _too_long()
    if any(not char.isascii() and unicodedata.normalize("NFC", char).isascii() for char in name):
        raise _not_idna("It holds a character that only looks like a plain letter or sign")
    name = unicodedata.normalize("NFC", name).translate(_ASCII_LOWER).removesuffix(".")
    _refuse_shapes(name)
    hostname = _encoded(name)
    labels = hostname.split(".")
    if _NUMERIC_END.fullmatch(labels[-1]):
        raise _ip_address()
    if len(labels) == 1 or labels[-1] in _LOCAL_ENDS:
        message = f"{hostname} exists in a local network only. Write the full public name, such as api.example.com."
        raise HostnameRefused(message, code="local_name")
    if _SUFFIXES.is_public(hostname):
        message = f"{hostname} is a public suffix: many owners have names below it. Write the hostname itself."
        raise HostnameRefused(message, code="public_suffix")
    return hostname


def _refuse_shapes(name: str) -> None:
    """What is not a hostname at all, told apart so that the message can help."""
    if not name:
        raise HostnameRefused("The hostname is empty. Write a full name, such as api.example.com.", code="empty")
    if "*" in name:
        message = "Wildcards are not covered. Write each hostname out, such as api.example.com."
        raise HostnameRefused(message, code="wildcard")
    if _is_ip(name):
        raise _ip_address()
    if _is_more_than_a_name(name):
        host = _host_part(name)
        found = f" Did you mean {host}?" if not _is_more_than_a_name(host) and _is_hostname(host) else ""
        raise HostnameRefused(f"This is more than a hostname. Write the name only.{found}", code="url")
    if len(name) > MAX_LENGTH:
        raise _too_long()
    if "_" in name:
        message = "Hostnames hold no underscore. Write the name that clients connect to."
        raise HostnameRefused(message, code="underscore")


def _is_more_than_a_name(text: str) -> bool:
    return any(char in "/:@?#,;\\" for char in text)


def _encoded(name: str) -> str:
    if name.endswith("."):
        raise _not_idna("A label is empty")
    try:
        hostname = idna.encode(name, strict=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as error:
        if "too long" in str(error).lower():
            raise _too_long() from None
        raise _not_idna("A label breaks the rules for names") from None
    return hostname


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_hostname(text: str) -> bool:
    try:
        canonical(text)
    except HostnameRefused:
        return False
    return True


def _ip_address() -> HostnameRefused:
    return HostnameRefused("This is an IP address. Write the hostname that clients connect to.", code="ip_address")


def _too_long() -> HostnameRefused:
    message = f"A hostname has at most {MAX_LENGTH} characters, and each label at most 63. Check for a missing break."
    return HostnameRefused(message, code="too_long")


def _not_idna(why: str) -> HostnameRefused:
    message = f"This is not a valid hostname. {why}. Use letters, digits and inner hyphens, with dots between labels."
    return HostnameRefused(message, code="not_idna")


def display(hostname: str) -> str:
    """The name in its own script, or the canonical form where that is the same or cannot be shown."""
    try:
        return idna.decode(hostname)
    except idna.IDNAError:
        return hostname


def zone_of(hostname: str, zones: Iterable[str]) -> str | None:
    """The most specific zone that holds the hostname, compared label by label."""
    names = frozenset(zones)
    labels = hostname.split(".")
    tails = (".".join(labels[start:]) for start in range(len(labels)))
    return next((tail for tail in tails if tail in names), None)


@dataclass(frozen=True)
class Line:
    """One name of the bulk field. `number` and `duplicate_of` are 1-based lines; `problem` is "" when it is usable."""

    number: int
    raw: str
    hostname: str | None
    note: str = ""
    problem: str = ""
    code: str = ""
    duplicate_of: int | None = None


def read_lines(text: str, *, most: int = MAX_NAMES) -> list[Line]:
    """Every name in the text, in input order. Raises Invalid over 500 names or 64 KiB.

    `most` lets a caller that made the list itself, and not from what was typed, have more.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES * max(1, -(-most // MAX_NAMES)):
        message = f"The list is larger than {MAX_BYTES // 1024} KiB. Split it into several requests."
        raise Invalid(message, field="hostnames", code="too_large")
    rows = re.split(r"\r\n|\r|\n", text)
    words = [(number, word) for number, row in enumerate(rows, 1) for word in re.split(r"[,;\s]+", row, flags=re.A)]
    words = [(number, word) for number, word in words if word]
    if len(words) > max(most, MAX_NAMES):
        message = f"The list holds {len(words)} names. One request takes {MAX_NAMES}. Split it into several requests."
        raise Invalid(message, field="hostnames", code="too_many")
    first_seen: dict[str, int] = {}
    return [_read_word(number, word, first_seen) for number, word in words]


def _read_word(number: int, raw: str, first_seen: dict[str, int]) -> Line:
    try:
        hostname = canonical(_host_part(raw))
    except HostnameRefused as refusal:
        return Line(number, raw, None, problem=refusal.message, code=refusal.code)
    shown = display(hostname)
    note = "" if raw == hostname else f"Read as {hostname}"
    if shown != hostname:
        note = f"Read as {hostname} ({shown})"
    duplicate_of = first_seen.get(hostname)
    first_seen.setdefault(hostname, number)
    return Line(number, raw, hostname, note=note, duplicate_of=duplicate_of)


def _host_part(text: str) -> str:
    """The host of a URL or host:port. Text with a user part stays whole, to be refused."""
    rest = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", text)
    rest = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in rest or _is_ip(rest):
        return text if "@" in rest else rest
    return re.sub(r":[0-9]*$", "", rest)
