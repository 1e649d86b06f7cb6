"""The reader of filter expressions refuses what Cloudflare refuses and takes what the portal and others write."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sandbox.expression_values import NotPlayed
from apps.sandbox.expressions import ParseError, check, read

PORTAL = (
    '(http.host in {"a.example" "b.example"} and (not cf.tls_client_auth.cert_presented'
    " or not cf.tls_client_auth.cert_verified or cf.tls_client_auth.cert_revoked"
    ' or not cf.tls_client_auth.cert_issuer_ski in {"AB12"}))'
)


@pytest.mark.parametrize(
    "expression",
    [
        PORTAL,
        '(http.host in {"a.example"} and not cf.tls_client_auth.cert_verified)',
        'not (cf.tls_client_auth.cert_verified and cf.tls_client_auth.cert_issuer_ski eq "AB")',
        "true",
        "ssl && !cf.client.bot || cf.threat_score > 10",
        'lower(http.host) eq "a.example"',
        'starts_with(http.request.uri.path, "/admin") xor ssl',
        "ip.src in {10.0.0.0/8 192.168.1.1 2001:db8::/32}",
        "cf.edge.server_port in {80 8000..8999}",
        "http.host in $partner_hosts",
        'any(http.request.headers["x-team"][*] eq "a")',
        'http.request.uri.path strict wildcard r#"/a"b/*"#',
        'http.user_agent eq "say \\"hi\\""',
    ],
)
def test_taken(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize(
    ("expression", "place", "why"),
    [
        ("(http.host eq", "1:14", "expected a value of type string"),
        ('(http.host eq "a"', "1:18", "expected ')'"),
        ('http.host eq "a', "1:14", "missing ending quote"),
        ('http.host in {"a" "b"', "1:22", "expected a value"),
        ('http.host in {"a", "b"}', "1:18", "expected a value"),
        ("http.host in {}", "1:15", "expected a value"),
        ('http.hostname eq "a"', "1:1", "unknown identifier"),
        ("http.host", "1:10", "expected an operator"),
        ('ssl eq "a"', "1:1", "cannot perform this operation on type bool"),
        ('cf.threat_score contains "a"', "1:1", "cannot perform this operation on type int"),
        ('http.host eq "a" http.host', "1:18", "unrecognised input"),
        ('ssl and\nhttp.host is "a"', "2:11", "unknown operator"),
        ("ssl and ", "1:9", "unexpected end of input"),
        ("not " * 60 + "ssl", "1:201", "nested too deeply"),
    ],
)
def test_refused_with_its_place(expression: str, place: str, why: str) -> None:
    with pytest.raises(ParseError) as refused:
        check(expression)
    assert str(refused.value).startswith(f"Filter parsing error ({place}):")
    assert why in str(refused.value)


@given(st.text(alphabet='()[]{}"\\ .,*$!=<>&|#rabc019:\nnotinhttp', max_size=60) | st.text(max_size=40))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ParseError):
        check(text)


FACTS = {
    "http.host": "api.a.example",
    "http.request.uri.path": "/wp-login.php",
    "ip.src": "192.0.2.7",
    "cf.threat_score": 12,
    "ssl": True,
    "http.request.headers": {"x-kind": ["one", "two"]},
    "http.request.headers.names": ["x-kind"],
}


@pytest.mark.parametrize(
    "expression",
    [
        'http.host eq "api.a.example"',
        'http.host in {"b.example" "api.a.example"}',
        "ssl and not cf.tls_client_auth.cert_presented",
        "ssl xor cf.tls_client_auth.cert_verified",
        "not (ssl and cf.tls_client_auth.cert_verified)",
        'http.host contains ".a." or ssl',
        'http.host matches r"^api\\."',
        'http.host wildcard "API.*.example"',
        'not http.host strict wildcard "API.*"',
        "cf.threat_score in {1..5 10..15}",
        "cf.threat_score ge 12 and cf.threat_score lt 13",
        "ip.src in {192.0.2.0/24 2001:db8::/32}",
        "ip.src in {192.0.2.1..192.0.2.9}",
        "not ip.src in {2001:db8::/32}",
        "ip.src eq 192.0.2.7 and ip.src ne 192.0.2.8",
        'starts_with(lower(http.request.uri.path), "/wp") and ends_with(http.host, ".example")',
        "len(http.host) eq 13",
        'concat(http.host, "!") eq "api.a.example!"',
        'any(http.request.headers["x-kind"][*] eq "two")',
        'not all(http.request.headers["x-kind"][*] eq "two")',
        'http.request.headers["x-kind"][0] eq "one"',
        'http.request.headers.names[0] eq "x-kind"',
        'http.user_agent eq ""',
        r'http.user_agent ne "\"\\\x41"',
        "true and not false",
    ],
)
def test_what_is_read_can_be_asked(expression: str) -> None:
    assert read(expression)(FACTS) is True
    assert read(f"not ({expression})")(FACTS) is False


@pytest.mark.parametrize(
    "expression", ["ip.src in $list", 'remove_bytes(http.host, "a") eq ""', "to_int(http.host) eq 1"]
)
def test_what_is_not_played_says_so(expression: str) -> None:
    with pytest.raises(NotPlayed):
        read(expression)(FACTS)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ParseError, match="this is not an address"):
        check("ip.src in {999.0.0.1}")
