"""The reader of filter expressions refuses what Cloudflare refuses and takes what the portal and others write."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sandbox.expressions import ParseError, check

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
