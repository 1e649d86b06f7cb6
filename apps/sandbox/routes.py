"""Which call is answered by whom, and what a token needs for it. Paths are below `/client/v4`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from apps.sandbox import associations, audit_log, certificates, errors, rules, rulesets, zones
from apps.sandbox.tokens import Permission
from apps.sandbox.wire import Call, Reply

P = Permission


@dataclass(frozen=True)
class Route:
    """`permission` None: the handler decides. `dry` marks the writes that take `?dry_run=true`."""

    method: str
    pattern: re.Pattern[str]
    handler: Callable[[Call], Reply]
    permission: Permission | None
    dry: bool


def _route(
    method: str,
    path: str,
    handler: Callable[[Call], Reply],
    permission: Permission | None,
    *,
    dry: bool = False,
) -> Route:
    return Route(method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), handler, permission, dry)


_CERTIFICATES = "/accounts/{account_id}/mtls_certificates"
_LISTS = "/zones/{zone_id}/certificate_authorities/hostname_associations"
_RULESETS = "/zones/{zone_id}/rulesets"
_RULESET = _RULESETS + "/{ruleset_id}"
_ENTRY_POINT = _RULESETS + "/phases/{phase}/entrypoint"
_RULES = _RULESET + "/rules"

ROUTES = (
    _route("GET", _CERTIFICATES, certificates.list_certificates, P.ACCOUNT_SSL_READ),
    _route("POST", _CERTIFICATES, certificates.create_certificate, P.ACCOUNT_SSL_WRITE),
    _route("GET", _CERTIFICATES + "/{certificate_id}", certificates.get_certificate, P.ACCOUNT_SSL_READ),
    _route("DELETE", _CERTIFICATES + "/{certificate_id}", certificates.delete_certificate, P.ACCOUNT_SSL_WRITE),
    _route("GET", _CERTIFICATES + "/{certificate_id}/associations", certificates.get_services, P.ACCOUNT_SSL_READ),
    _route("GET", _LISTS, associations.get_associations, P.ZONE_SSL_READ),
    _route("PUT", _LISTS, associations.put_associations, P.ZONE_SSL_WRITE),
    _route("GET", _ENTRY_POINT, rulesets.get_entry_point, P.ZONE_WAF_READ),
    _route("PUT", _ENTRY_POINT, rulesets.put_entry_point, P.ZONE_WAF_WRITE, dry=True),
    _route("GET", _ENTRY_POINT + "/versions", rulesets.list_versions, P.ZONE_WAF_READ),
    _route("GET", _ENTRY_POINT + "/versions/{version}", rulesets.get_version, P.ZONE_WAF_READ),
    _route("GET", _RULESETS, rulesets.list_rulesets, P.ZONE_WAF_READ),
    _route("POST", _RULESETS, rulesets.create_ruleset, P.ZONE_WAF_WRITE, dry=True),
    _route("GET", _RULESET, rulesets.get_ruleset, P.ZONE_WAF_READ),
    _route("PUT", _RULESET, rulesets.put_ruleset, P.ZONE_WAF_WRITE, dry=True),
    _route("DELETE", _RULESET, rulesets.delete_ruleset, P.ZONE_WAF_WRITE, dry=True),
    _route("POST", _RULES, rules.add_rule, P.ZONE_WAF_WRITE, dry=True),
    _route("PATCH", _RULES + "/{rule_id}", rules.edit_rule, P.ZONE_WAF_WRITE, dry=True),
    _route("DELETE", _RULES + "/{rule_id}", rules.delete_rule, P.ZONE_WAF_WRITE, dry=True),
    _route("GET", "/accounts/{account_id}/logs/audit", audit_log.list_items, P.ACCOUNT_SETTINGS_READ),
    _route("GET", "/zones", zones.list_zones, None),
    _route("GET", "/zones/{zone_id}", zones.get_zone, P.ZONE_READ),
    _route("GET", "/user/tokens/verify", zones.verify_user_token, None),
    _route("GET", "/accounts/{account_id}/tokens/verify", zones.verify_account_token, None),
)
VERIFY = re.compile(r"/(?:user|accounts/[^/]+)/tokens/verify")


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Raises ApiError 404 for a path nobody answers, 405 for a method it does not take."""
    known_path = False
    for route in ROUTES:
        match = route.pattern.fullmatch(path)
        if match and route.method == method:
            return route, match.groupdict()
        known_path = known_path or match is not None
    raise errors.method_not_allowed(method) if known_path else errors.no_route(path)


def authorise(route: Route, call: Call) -> None:
    """The account or zone must exist, be the token's, and the permission be granted. Raises ApiError."""
    account_id, zone_id = call.params.get("account_id"), call.params.get("zone_id")
    if account_id is not None:
        if not call.db.execute("SELECT 1 FROM accounts WHERE id = ?", (account_id,)).fetchone():
            raise errors.no_route(call.path)
        if route.permission and account_id != call.token.account_id:
            raise errors.authentication_failed()
    if zone_id is not None:
        zone = call.db.execute("SELECT * FROM zones WHERE id = ?", (zone_id,)).fetchone()
        if zone is None:
            raise errors.no_route(call.path)
        if not call.token.sees_zone(zone):
            raise errors.authentication_failed()
    if route.permission and not call.token.may(route.permission):
        raise errors.authentication_failed()
