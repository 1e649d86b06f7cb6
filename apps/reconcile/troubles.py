"""What only a person can mend in an account, told in the audit log: once an hour and not once a call.

A token that is refused, and whoever answers in Cloudflare's place and cannot prove to be it.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.audit.services import record
from apps.cloudflare.errors import TlsFailure
from apps.errors import PortalError
from apps.inventory.models import Account, TokenKind
from apps.inventory.services import store_account_failure
from apps.reconcile.faults import Handling
from apps.reconcile.observe import WORKER

TOLD_EVERY = timedelta(hours=1)
REFUSALS = {TokenKind.WRITE: "account:token_refused", TokenKind.READ: "account:read_token_refused"}
ANOTHER_TOKEN = {
    "account:token_refused": "account:token_replaced",
    "account:read_token_refused": "account:read_token_replaced",
}


@transaction.atomic
def store_trouble(account: Account, error: PortalError, how: Handling) -> bool:
    """Keep a failure that only a person can mend, and tell it. Any other is left alone, and the answer is False.

    `account` as the run began with it: of a token that was replaced meanwhile it says nothing.
    """
    if not (how.refused or isinstance(error, TlsFailure)):
        return False
    field = (how.refused or TokenKind.WRITE).field("token_encrypted")
    same_token = Account.objects.filter(pk=account.pk, **{field: getattr(account, field)})
    if same_token.select_for_update(no_key=True).first() is None:
        return True
    store_account_failure(account=account, error=error.message, refused=how.refused)
    _tell(account, REFUSALS[how.refused] if how.refused else "account:impostor_met", error.message)
    return True


def _tell(account: Account, action: str, why: str) -> None:
    told = AuditEvent.objects.filter(
        action__in=(action, ANOTHER_TOKEN.get(action, "")),
        subject_id=str(account.pk),
        at__gt=timezone.now() - TOLD_EVERY,
    ).order_by("seq")
    # Another token is another matter.
    if (last := told.last()) and last.action == action:
        return
    subject = ("account", account.pk, account.name)
    record(by=WORKER, action=action, subject=subject, account=account.pk, reason=why)
