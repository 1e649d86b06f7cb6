"""What an account's tokens may do, found out by harmless calls: reads, and one rehearsed rule that is never kept.

Cloudflare tells no token its own permissions, so each is tried. Of a read token the rehearsal has to be refused
(INV-44). Not to be proved without writing: the right to upload a CA and to replace a list.
https://developers.cloudflare.com/fundamentals/api/reference/permissions/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.cloudflare.client import Client
from apps.cloudflare.errors import (
    CloudflareError,
    NotFoundAtEdge,
    PermissionMissing,
    RateLimited,
    Rejected,
    Unauthorized,
)
from apps.cloudflare.rules import Ruleset, RuleWrite
from apps.cloudflare.zones import Zone
from apps.identity.actors import Actor
from apps.inventory.holds import hold_on_account
from apps.inventory.models import Account, TokenKind
from apps.inventory.services import store_token_state

# At most this many calls, for whoever has to set them aside.
CALLS = 18
# A certificate that no account has: with the permission it is not found, without it nothing is said of it.
NOBODYS_CERTIFICATE = "00000000-0000-4000-8000-000000000000"
REHEARSAL = RuleWrite(
    ref="byoca-permission-check",
    description="Rehearsed by the BYOCA portal to see whether its token may write rules. Never kept.",
    action="log",
    expression='(http.host eq "permission-check.invalid")',
    enabled=False,
)

TOKEN = "API token"  # noqa: S105  (the name of a row)
ACCOUNT_SSL_READ = "Account: SSL and Certificates, Read"
ACCOUNT_SSL_EDIT = "Account: SSL and Certificates, Edit"
ZONE_READ = "Zone: Zone, Read"
ZONE_SSL_READ = "Zone: SSL and Certificates, Read"
ZONE_SSL_EDIT = "Zone: SSL and Certificates, Edit"
ZONE_WAF_READ = "Zone: Zone WAF, Read"
ZONE_WAF_EDIT = "Zone: Zone WAF, Edit"
NEEDED_FOR = {
    ACCOUNT_SSL_READ: "Without it the account's CAs cannot be read.",
    ZONE_READ: "Without it no zone is found.",
    ZONE_SSL_READ: "Without it the hostnames of a CA cannot be read.",
    ZONE_WAF_READ: "Without it nobody can tell whether a hostname is enforced.",
    ZONE_WAF_EDIT: "Without it the block rule cannot be written.",
}
# Rights the portal never uses that one read each shows. Of writing, and of every other right, a read shows nothing.
EXCESS = {
    "Zone: DNS, Read": "/zones/{zone}/dns_records",
    "Zone: Zone Settings, Read": "/zones/{zone}/settings/ssl",
    "Zone: Workers Routes, Read": "/zones/{zone}/workers/routes",
    "Account: Account Settings, Read": "/accounts/{account}/members",
    "Account: Workers Scripts, Read": "/accounts/{account}/workers/scripts",
    "Account: Workers KV Storage, Read": "/accounts/{account}/storage/kv/namespaces",
    "Account: API Tokens, Read": "/accounts/{account}/tokens",
    "User: API Tokens, Read": "/user/tokens",
}
EXCESS_WORDS = (
    f"Rights that a token does not need are looked for by one read each: {'; '.join(EXCESS)}. Not looked for is every "
    "other right, and whether the token may write there: compare it with what its page at Cloudflare lists."
)
FIRST_WRITE = "Cannot be proved without writing. The first upload or change shows it."
NO_RULES = "Writing rules is refused"
NO_CAS_NO_LISTS = "Uploading CAs and changing lists is refused"
NEVER_WRITES = "Cannot be proved without writing. Give the read token no more than Read."


@dataclass(frozen=True)
class ScopeResult:
    """`result`: passed, failed, unproven (only a write shows it), excess (not needed) or unknown (no clear answer)."""

    scope: str
    result: str
    detail: str = ""


TOO_FEW_CALLS = "Not tried: the account's share of calls in five minutes is less than that takes."
EXCESS_UNTRIED = ScopeResult("Rights that are not needed", "unknown", TOO_FEW_CALLS)


def check_token(
    client: Client, account: Account, kind: TokenKind = TokenKind.WRITE, *, excess: bool = True
) -> list[ScopeResult]:
    """Try each permission that a token of this kind needs, and some that it must not have (not without `excess`). The
    first result is the token's own: one that is refused is a result. Raises RateLimited, or whatever holds the calls
    back."""
    results: list[ScopeResult] = []
    try:
        status = client.tokens.verify(account.cloudflare_id)
    except (Unauthorized, PermissionMissing, NotFoundAtEdge) as error:
        return [ScopeResult(TOKEN, "failed", error.message)]
    except CloudflareError as error:
        return [ScopeResult(TOKEN, _unclear(error), error.message)]
    if status.status != "active":
        return [ScopeResult(TOKEN, "failed", f"Cloudflare says that it is {status.status}.")]
    ends = f"Ends on {status.expires_on:%d %b %Y}." if status.expires_on else "Has no end date."
    results.append(ScopeResult(TOKEN, "passed", ends))
    results.append(_tried(ACCOUNT_SSL_READ, lambda: client.certificates.list(account.cloudflare_id)))
    if kind is TokenKind.WRITE:
        results.append(ScopeResult(ACCOUNT_SSL_EDIT, "unproven", FIRST_WRITE))
    zones: list[Zone] = []
    results.append(_tried(ZONE_READ, lambda: zones.extend(client.zones.list(account.cloudflare_id))))
    if not zones:
        if results[-1].result == "passed":
            seen_none = "The token sees no zone of this account: it lacks the permission, or no zone is in its scope."
            results[-1] = ScopeResult(ZONE_READ, "failed", seen_none)
        return results
    zone = next((zone for zone in zones if zone.status == "active"), zones[0])
    results += _zone_results(client, account, zone, kind)
    return results + (_excess(client, account, zone) if excess else [EXCESS_UNTRIED])


def _zone_results(client: Client, account: Account, zone: Zone, kind: TokenKind) -> list[ScopeResult]:
    """Tried in one zone; a permission that lacks in another shows when that one is read."""
    rulesets: list[Ruleset | None] = []
    read_list = lambda: client.associations.read(zone.id, mtls_certificate_id=NOBODYS_CERTIFICATE)  # noqa: E731
    results = [_tried(ZONE_SSL_READ, read_list, missing_is_fine=True, where=zone.name)]
    if kind is TokenKind.WRITE:
        results.append(ScopeResult(ZONE_SSL_EDIT, "unproven", FIRST_WRITE))
    else:
        results.append(ScopeResult(NO_CAS_NO_LISTS, "unproven", NEVER_WRITES))
    results.append(_tried(ZONE_WAF_READ, lambda: rulesets.append(client.rules.entrypoint(zone.id)), where=zone.name))
    hold = hold_on_account(account.pk)
    scope = ZONE_WAF_EDIT if kind is TokenKind.WRITE else NO_RULES
    if not rulesets:
        results.append(ScopeResult(scope, "unknown", "Not tried, because the rules cannot be read."))
    elif hold and hold.kind == "stop":
        results.append(ScopeResult(scope, "unknown", "Not tried while writes are stopped."))
    else:
        found = _tried(ZONE_WAF_EDIT, lambda: _rehearse(client, zone, rulesets[0]), where=zone.name)
        results.append(found if kind is TokenKind.WRITE else _of_a_read_token(found, zone))
    return results


def _of_a_read_token(found: ScopeResult, zone: Zone) -> ScopeResult:
    """What a rehearsed rule means for a token that must not write."""
    if found.result == "passed":
        return ScopeResult(ZONE_WAF_EDIT, "excess", "A read token must not write. Take it off the token.")
    if found.result == "failed":
        return ScopeResult(NO_RULES, "passed", f"Tried in {zone.name}.")
    return ScopeResult(NO_RULES, found.result, found.detail)


def _rehearse(client: Client, zone: Zone, ruleset: Ruleset | None) -> None:
    if ruleset is None:
        client.rules.create_ruleset(zone.id, rules=[REHEARSAL], dry_run=True)
    else:
        client.rules.add(zone.id, ruleset.id, REHEARSAL, first=False, dry_run=True)


def _excess(client: Client, account: Account, zone: Zone) -> list[ScopeResult]:
    """Rights the portal never uses, as far as reading shows them: a leaked token should not open more than it must."""
    found = []
    for scope, form in EXCESS.items():
        path = form.format(zone=zone.id, account=account.cloudflare_id)
        # A call that was refused for what it asked is no proof here: nobody is told to take off what they never gave.
        tried = _tried(scope, lambda path=path: client.call("GET", path, query={"per_page": "5"}))  # type: ignore[misc]
        if tried == ScopeResult(scope, "passed"):
            found.append(ScopeResult(scope, "excess", "Not needed. Take it off the token."))
    return found


def _tried(scope: str, call: Callable[[], Any], *, missing_is_fine: bool = False, where: str = "") -> ScopeResult:
    place = f"Tried in {where}." if where else ""
    try:
        call()
    except PermissionMissing:
        return ScopeResult(scope, "failed", f"{NEEDED_FOR.get(scope, '')} {place}".strip())
    except Rejected as error:
        # The permission let the call through; what was asked for was refused.
        return ScopeResult(scope, "passed", f"{place} {error.message}".strip())
    except NotFoundAtEdge as error:
        return ScopeResult(scope, "passed", place) if missing_is_fine else ScopeResult(scope, "unknown", error.message)
    except CloudflareError as error:
        return ScopeResult(scope, _unclear(error), error.message)
    return ScopeResult(scope, "passed", place)


def _unclear(error: CloudflareError) -> str:
    """A token that is refused altogether has failed; a call that was not answered has not."""
    if isinstance(error, RateLimited):
        raise error
    return "failed" if isinstance(error, Unauthorized) else "unknown"


@transaction.atomic
def store_scope_check(
    *, by: Actor, account: Account, results: list[ScopeResult], kind: TokenKind = TokenKind.WRITE
) -> None:
    """Keep what was found, and whether the token works. The log tells of it when a result is another than before.

    `account` as the check was made with: of a token that was replaced meanwhile it says nothing.
    """
    before = {row["scope"]: row["result"] for row in getattr(account, kind.field("scope_check"))}
    after = {row.scope: row.result for row in results}
    found = {
        kind.field("scope_check"): [asdict(result) for result in results],
        kind.field("scope_checked_at"): timezone.now(),
    }
    encrypted = kind.field("token_encrypted")
    if not Account.objects.filter(pk=account.pk, **{encrypted: getattr(account, encrypted)}).update(**found):
        return
    for field, value in found.items():
        setattr(account, field, value)
    if results[0].result in {"passed", "failed"}:
        store_token_state(account=account, kind=kind, works=results[0].result == "passed")
    if before != after:
        action = f"account:{kind.field('token_checked')}"
        subject = ("account", account.pk, account.name)
        record(by=by, action=action, subject=subject, account=account.pk, before=before, after=after)
