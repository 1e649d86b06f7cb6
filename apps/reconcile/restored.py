"""After a restored backup, and in a copy of the database, nobody can say what became of an approval that it shows as
not sent yet.

It may have been carried out since, and undone by a later approval that is lost: sent once more it would open or lock
out hostnames, and Drift would show nothing of it. So a person looks at a new plan first.
"""

from __future__ import annotations

from apps.audit.models import AuditEvent
from apps.authorities.services import move_ca
from apps.authorities.states import CaState
from apps.coverage.selectors import current_plan, in_flight_requests
from apps.inventory.models import Account, Zone
from apps.inventory.watermark import last_restore
from apps.reconcile.carried import pending_in
from apps.reconcile.observe import WORKER
from apps.reconcile.sent import put_out_of_date

WHY = "The database was restored from a backup, or copied, after this was approved. It may have been sent, and undone."
WHY_CA = "The database was restored from a backup, or copied, after this was asked for."
DECIDED = ("ca:admitted", "ca:retried", "ca:deletion_requested")


def void_approvals_before_restore(zone: Zone) -> None:
    """Put out of date what was approved before the last restore and is not at the edge. A glass returns by itself."""
    if (stop := last_restore()) is None:
        return
    for request in in_flight_requests(zone):
        plan = current_plan(request)
        older = request.decided_at is not None and request.decided_at < stop.stopped_at
        if plan and older and pending_in(zone, request):
            put_out_of_date(by=WORKER, plan=plan, reason=WHY)


def park_cas_from_before_restore(account: Account) -> None:
    """The same of CAs, after the account was listed: one that it lacks may have been there since, and was deleted; one
    that was to be deleted may have been kept. Whoever uploads, retries or deletes it after the restore decides anew."""
    if (stop := last_restore()) is None:
        return
    since = AuditEvent.objects.filter(subject_type="ca", action__in=DECIDED, at__gt=stop.stopped_at)
    decided = set(since.values_list("subject_id", flat=True))
    listed = set(account.edge_certificates.values_list("cloudflare_id", flat=True))
    for ca in account.cas.filter(state__in=(CaState.QUEUED, CaState.PUSHING, CaState.DELETING)):
        if str(ca.pk) in decided:
            continue
        if ca.state != CaState.DELETING:
            why = f"{WHY_CA} Retry if it is wanted still."
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.FAILED, action="ca:push_failed", why=why)
        elif ca.cloudflare_id in listed:
            why = f"{WHY_CA} Delete it again if it is to go."
            move_ca(by=WORKER, ca_id=ca.pk, target=CaState.LIVE, action="ca:deletion_parked", why=why)
