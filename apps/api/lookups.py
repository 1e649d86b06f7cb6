"""From the names a caller uses to the portal's records."""

from __future__ import annotations

from apps.errors import Invalid, NotFound
from apps.inventory.models import Account
from apps.inventory.selectors import account_by_id, accounts


def account_named(reference: str | None) -> Account:
    """The account by the portal's id or Cloudflare's, or the only one there is when none is named."""
    if reference:
        return account_by_id(reference)
    found = list(accounts()[:2])
    if not found:
        raise NotFound("No Cloudflare account is set up yet. Ask an administrator to add one.", code="no_account")
    if len(found) > 1:
        raise Invalid("There are several accounts. Say which one.", field="account", code="account_needed")
    return found[0]
