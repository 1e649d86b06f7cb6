"""The fields, functions and operators that the reader of filter expressions knows.

https://developers.cloudflare.com/ruleset-engine/rules-language/fields/reference/
"""

from __future__ import annotations

_CERT_BOOLEANS = "presented verified revoked rfc9440_too_large chain_rfc9440_too_large"
_CERT_STRINGS = (
    "serial ski issuer_serial issuer_ski fingerprint_sha1 fingerprint_sha256 not_before not_after subject_dn"
    " subject_dn_legacy subject_dn_rfc2253 issuer_dn issuer_dn_legacy issuer_dn_rfc2253 rfc9440 chain_rfc9440"
)
_STRINGS = (
    "http.host http.cookie http.referer http.user_agent http.x_forwarded_for http.request.method"
    " http.request.uri http.request.uri.path http.request.uri.path.extension http.request.uri.query"
    " http.request.full_uri http.request.version http.request.body.raw raw.http.request.uri"
    " raw.http.request.uri.path raw.http.request.uri.query raw.http.request.full_uri cf.ray_id cf.zone.name"
    " ip.src.country ip.src.continent ip.geoip.country ip.src.region ip.src.city cf.bot_management.ja3_hash"
    " cf.bot_management.ja4 cf.tls_version cf.tls_cipher cf.hostname.metadata"
)
_INTEGERS = (
    "ip.src.asnum ip.geoip.asnum cf.threat_score cf.bot_management.score cf.waf.score cf.edge.server_port"
    " http.request.body.size http.request.timestamp.sec"
)

# Field -> bool, string, int, ip; a field with [] after it takes an index.
FIELDS: dict[str, str] = {
    **{f"cf.tls_client_auth.cert_{name}": "string" for name in _CERT_STRINGS.split()},
    **{f"cf.tls_client_auth.cert_{name}": "bool" for name in _CERT_BOOLEANS.split()},
    **dict.fromkeys(_STRINGS.split(), "string"),
    **dict.fromkeys(_INTEGERS.split(), "int"),
    **dict.fromkeys(("ip.src", "cf.edge.server_ip"), "ip"),
    **dict.fromkeys(("ssl", "cf.client.bot", "cf.bot_management.verified_bot", "http.request.body.truncated"), "bool"),
    **dict.fromkeys(("http.request.headers.names", "http.request.headers.values"), "string[]"),
    **dict.fromkeys(("http.request.headers", "http.request.uri.args", "http.request.cookies"), "string[][]"),
}

# Function -> type of its result.
FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(("starts_with", "ends_with", "any", "all", "has_key", "is_timed_hmac_valid_v0"), "bool"),
    **dict.fromkeys(("lower", "upper", "concat", "url_decode", "substring", "to_string", "remove_bytes"), "string"),
    **dict.fromkeys(("len", "to_int"), "int"),
}

_COMPARED = (("string", "int", "ip"), "same")

_TEXT = (("string",), "text")

# Operator -> (types on the left, what stands on the right).
OPERATORS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("eq", "ne", "==", "!="), _COMPARED),
    **dict.fromkeys(("lt", "le", "gt", "ge", "<", "<=", ">", ">="), _COMPARED),
    **dict.fromkeys(("contains", "matches", "~", "wildcard", "strict wildcard"), _TEXT),
    "in": (("string", "int", "ip"), "set"),
}
