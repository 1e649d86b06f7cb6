"""Zones that Cloudflare no longer lists: what is under way there ends with a reason. A zone that comes back goes on."""

from __future__ import annotations

from django.db.models import Exists, OuterRef

from apps.coverage.models import CoverageRequest, RequestHostname
from apps.coverage.progress_services import fail_requests
from apps.coverage.states import IN_FLIGHT
from apps.inventory.models import Account, Zone
from apps.reconcile.models import Plan
from apps.reconcile.observe import WORKER
from apps.reconcile.plans import end_plan


def end_vanished(account: Account) -> None:
    """End what waits for vanished zones alone. What has a part left in a listed zone goes on there first."""
    for plan in Plan.objects.filter(zone__account=account, zone__vanished_at__isnull=False, state__in=Plan.OPEN):
        end_plan(plan, Plan.State.FAILED, error=f"Cloudflare no longer lists {plan.zone.name}.")
    pending = RequestHostname.objects.filter(request=OuterRef("pk"), result=RequestHostname.Result.PENDING)
    stranded = CoverageRequest.objects.filter(
        Exists(pending.filter(zone__vanished_at__isnull=False)),
        ~Exists(pending.filter(zone__vanished_at=None)),
        account=account,
        state__in=IN_FLIGHT,
    )
    for request in stranded:
        zones = Zone.objects.filter(requesthostname__request=request, vanished_at__isnull=False).distinct()
        names = ", ".join(zones.order_by("name").values_list("name", flat=True))
        why = (
            f"Cloudflare no longer lists {names} in {account}, so nothing can be sent there. Its hostnames hold no CA "
            "any more, and need no removal. If the zone comes back, retry this request."
        )
        fail_requests(by=WORKER, request_ids=[request.pk], why=why, rest_is_gone=True)
