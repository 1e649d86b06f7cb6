"""Storing what an account reads with (INV-44), and what calls showed of its tokens.

With a read token stored, whatever only reads uses that one, so that the token that can write is in no sweep. The
portal never puts one in the other's place: `reconcile/edge.py` chooses.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.errors import Conflict, Invalid
from apps.identity.actors import Actor
from apps.inventory.credentials import encrypt
from apps.inventory.models import Account, TokenKind
from apps.inventory.selectors import token_row
from apps.inventory.services import make_all_due, require_manager
from apps.inventory.tokens import is_token
from apps.pki.free_text import free_text


@transaction.atomic
def store_read_token(*, by: Actor, account_id: UUID, token: str) -> Account:
    """Read with this token from now on. One that was there before is not readable afterwards.

    Raises Invalid for an empty one and for the very token that writes.
    """
    require_manager(by)
    token = free_text(token, "token", "Paste an API token that may only read this account.")
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    if is_token(account, TokenKind.WRITE, token):
        words = "This is the token that writes. Make another one at Cloudflare that may only read."
        raise Invalid(words, field="token")
    action = "account:read_token_replaced" if account.read_token_encrypted else "account:read_token_stored"
    _keep(account, encrypt(token, bound_to=token_row(account, TokenKind.READ)))
    _tell(by, account, action)
    return account


@transaction.atomic
def remove_read_token(*, by: Actor, account_id: UUID) -> Account:
    """Forget the read token: the one that is left reads and writes. Raises Conflict when there is none."""
    require_manager(by)
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    if not account.read_token_encrypted:
        raise Conflict(f"{account} has no read token. Nothing was changed.", code="no_read_token")
    _keep(account, "")
    _tell(by, account, "account:read_token_removed")
    return account


def _keep(account: Account, encrypted: str) -> None:
    account.read_token_encrypted, account.read_token_state = encrypted, Account.TokenState.UNKNOWN
    account.read_scope_check, account.read_scope_checked_at = [], None
    account.save(
        update_fields=["read_token_encrypted", "read_token_state", "read_scope_check", "read_scope_checked_at"]
    )


def _tell(by: Actor, account: Account, action: str) -> None:
    record(by=by, action=action, subject=("account", account.pk, account.name), account=account.pk)
    make_all_due(account)
