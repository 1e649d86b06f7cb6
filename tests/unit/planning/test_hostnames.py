"""Every row of the hostname matrix, and what holds for any text at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.errors import Invalid
from apps.planning.hostnames import (
    MAX_BYTES,
    MAX_INPUT,
    MAX_NAMES,
    HostnameRefused,
    canonical,
    display,
    read_lines,
    zone_of,
)

LABEL_63 = "a" * 63
# 63 + 1 + 63 + 1 + 63 + 1 + 61 = 253 characters.
LONGEST = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 57 + ".com"])


@pytest.mark.parametrize(
    ("text", "hostname"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        (" \t\r\n\f\vapi.example.com\n", "api.example.com"),
        ("example.com", "example.com"),
        (f"{LABEL_63}.example.com", f"{LABEL_63}.example.com"),
        (LONGEST, LONGEST),
        (f"{LONGEST}.", LONGEST),
        ("bücher.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("аррӏе.com", "xn--80ak6aa92e.com"),
        ("xn--80ak6aa92e.com", "xn--80ak6aa92e.com"),
        ("1api.2.example.com", "1api.2.example.com"),
        ("user.github.io", "user.github.io"),
    ],
)
def test_accepted_in_one_form(text: str, hostname: str) -> None:
    assert canonical(text) == hostname


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        ("empty", ["", " ", ".", "\t\n"]),
        ("wildcard", ["*.example.com", "*.*", "api.*.example.com", "f*o.example.com", "*"]),
        ("underscore", ["_dmarc.example.com", "a_b.example.com"]),
        ("not_idna", ["-a.example.com", "a-.example.com", "a..example.com", "ab--cd.example.com", "example.com.."]),
        ("not_idna", ["xn--.example.com", "xn--a.example.com", ".example.com", "..", "xn--80ak6aa92.com"]),
        ("too_long", [f"{'a' * 64}.example.com", f"a{LONGEST}", "ü" * 70 + ".com", "a." * 500_000]),
        ("public_suffix", ["co.uk", "github.io", "pages.dev", "city.kobe.jp"[5:]]),
        ("local_name", ["com", "localhost", "host", "printer.local", "db.internal", "a.localhost"]),
        ("ip_address", ["192.0.2.1", "192.0.2.1.", "2001:db8::1", "[2001:db8::1]", "fe80::1%e"]),
        ("ip_address", ["0x7f.1", "127.1", "a.0x"]),
        ("not_idna", ["１２７.0.0.1", "ex\u200bample.com", "ex\u00adample.com", "ex。ample.com", "Ⅷ.example.com"]),
        ("not_idna", ["BÜCHER.example", "\u212aelvin.example.com", "a\u037eb.example.com", "\ud800.example.com"]),
        ("not_idna", ["a\nb.example.com", "a\0.example.com", "\u202ea.example.com", "a\tb.example.com", "a b.com"]),
        ("not_idna", ["\u00a0api.example.com", "a=b.example.com", "<b>.example.com", '"api.example.com"']),
        ("url", ["https://api.example.com", "api.example.com:443", "me@example.com", "api.example.com/path"]),
        ("url", ["a.example.com,b.example.com", "a.example.com;b.example.com", "a.example.com?x", "a\\b.example.com"]),
        ("url", ["http://[2001:db8::1]/", "192.0.2.1:80", "[2001:db8::1]:443", "https://"]),
    ],
)  # fmt: skip
def test_refused_with_the_rule_that_refuses(code: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(HostnameRefused) as refusal:
            canonical(text)
        assert (refusal.value.code, refusal.value.category) == (code, "invalid"), text
        assert refusal.value.message.endswith((".", "?"))


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("https://api.example.com/login?next=/", "api.example.com"),
        ("api.example.com:8443", "api.example.com"),
        ("api.example.com/path", "api.example.com"),
        ("me@example.com", ""),
        ("https://192.0.2.1/", ""),
        ("a.example.com,b.example.com", ""),
    ],
)
def test_a_url_is_refused_with_the_name_that_was_meant(text: str, guess: str) -> None:
    with pytest.raises(HostnameRefused) as refusal:
        canonical(text)
    assert ("Did you mean" in refusal.value.message) == bool(guess)
    assert guess in refusal.value.message


def test_many_ports_are_refused_without_recursion() -> None:
    # Each port was once taken off by a call of its own, until the stack was full.
    for text in ("a" + ":1" * 1000, ":" * MAX_INPUT, "a:1" * 600):
        with pytest.raises(HostnameRefused) as refusal:
            canonical(text)
        assert refusal.value.code == "url"


@pytest.mark.parametrize(
    "text",
    ["a" * 10**6, "a" + "\u0300\u0327" * 500_000, ":" * 10**6, "*" * 10**6, "xn--" * 250_000, "a" + ":1" * 500_000],
    ids=["letters", "combining marks", "colons", "stars", "A-labels", "ports"],
)
def test_a_megabyte_is_refused_before_it_is_looked_into(text: str) -> None:
    # Combining marks in the wrong order once kept a core busy for minutes: sorting them is quadratic.
    with pytest.raises(HostnameRefused) as refusal:
        canonical(text)
    assert refusal.value.code == "too_long"


def test_outer_blanks_do_not_count() -> None:
    assert canonical(" " * 10**6 + "api.example.com" + "\n" * 10**6) == "api.example.com"


_like_hostnames = st.lists(st.text("aé-0xnߤ١аA\u0301", min_size=1, max_size=8), min_size=1, max_size=4).map(".".join)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=80) | _like_hostnames.map(lambda name: f"{name}.example.com"))
@example("xn--bcher-kva.example.com")
def test_any_text_is_one_hostname_or_refused(text: str) -> None:
    try:
        hostname = canonical(text)
    except HostnameRefused:
        return
    assert canonical(hostname) == hostname
    assert canonical(display(hostname)) == hostname
    assert canonical(f" {hostname.upper()}. ") == hostname
    assert hostname.isascii() and hostname == hostname.lower() and len(hostname) <= 253
    assert all(0 < len(label) <= 63 for label in hostname.split("."))


def test_display_falls_back_to_what_it_was_given() -> None:
    assert display("xn--bcher-kva.example") == "bücher.example"
    assert display("xn--a.example") == "xn--a.example"


@pytest.mark.parametrize(
    ("hostname", "zone"),
    [
        ("example.com", "example.com"),
        ("api.example.com", "example.com"),
        ("api.eu.example.com", "eu.example.com"),
        ("evil-example.com", None),
        ("example.com.evil.net", None),
        ("com", None),
        ("eu.example.com", "eu.example.com"),
    ],
)
def test_the_zone_is_the_longest_that_matches_whole_labels(hostname: str, zone: str | None) -> None:
    assert zone_of(hostname, ["example.com", "eu.example.com", "xample.com"]) == zone


_labels = st.lists(st.sampled_from(["a", "b", "ab", "com"]), min_size=1, max_size=5)


@given(_labels, st.lists(_labels, max_size=5))
def test_a_zone_is_found_by_labels_only(labels: list[str], zones: list[list[str]]) -> None:
    found = zone_of(".".join(labels), iter(".".join(zone) for zone in zones))
    holding = [zone for zone in zones if labels[-len(zone) :] == zone]
    assert found == (".".join(max(holding, key=len)) if holding else None)


def test_bulk_lines_in_order_with_a_verdict_each() -> None:
    text = "api.example.com\r\nAPI.example.com.\r*.example.com, bücher.example;https://app.example.com:443/x"
    text += "\n\n 10.0.0.1\n"
    lines = read_lines(text)
    assert [(line.number, line.raw, line.hostname) for line in lines] == [
        (1, "api.example.com", "api.example.com"),
        (2, "API.example.com.", "api.example.com"),
        (3, "*.example.com", None),
        (3, "bücher.example", "xn--bcher-kva.example"),
        (3, "https://app.example.com:443/x", "app.example.com"),
        (5, "10.0.0.1", None),
    ]
    assert [line.duplicate_of for line in lines] == [None, 1, None, None, None, None]
    assert [line.code for line in lines] == ["", "", "wildcard", "", "", "ip_address"]
    assert [bool(line.problem) for line in lines] == [False, False, True, False, False, True]
    assert [line.note for line in lines] == [
        "",
        "Read as api.example.com",
        "",
        "Read as xn--bcher-kva.example (bücher.example)",
        "Read as app.example.com",
        "",
    ]


def test_bulk_words_that_are_never_hostnames() -> None:
    words = [
        '=HYPERLINK("http://x.example")',
        "+1",
        "@SUM(A1)",
        "me@example.com",
        "https://a@b.example.com/",
        "[::1]:443",
    ]
    assert [line.hostname for line in read_lines("\n".join(words))] == [None] * len(words)


def test_bulk_takes_500_names_and_not_one_more() -> None:
    names = [f"h{n}.example.com" for n in range(MAX_NAMES)]
    assert [line.hostname for line in read_lines("\n".join(names))] == names
    with pytest.raises(Invalid, match="holds 501 names") as refusal:
        read_lines("\n".join([*names, "api.example.com"]))
    assert (refusal.value.field, refusal.value.code) == ("hostnames", "too_many")


@pytest.mark.parametrize(
    "text",
    ["x.io\n" * 100_000, "ü" * (MAX_BYTES // 2) + "x", "\ud800" * MAX_BYTES],
    ids=["lines", "bytes", "surrogates"],
)
def test_bulk_takes_64_kib_and_not_one_byte_more(text: str) -> None:
    with pytest.raises(Invalid, match="larger than 64 KiB") as refusal:
        read_lines(text)
    assert (refusal.value.field, refusal.value.code) == ("hostnames", "too_large")


@pytest.mark.parametrize(
    "text", ["a" * MAX_BYTES, ":" * MAX_BYTES, "@" * MAX_BYTES, "é" * (MAX_BYTES // 2)], ids=["a", "colon", "at", "é"]
)
def test_one_word_of_64_kib_is_one_refused_line(text: str) -> None:
    (line,) = read_lines(text)
    assert (line.hostname, line.code) == (None, "too_long")


def test_nothing_in_nothing_out() -> None:
    assert read_lines("") == read_lines(" \n,;\t\n") == []
