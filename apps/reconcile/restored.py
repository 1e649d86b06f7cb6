"""After a restored backup: nobody can say what became of an approval that the backup shows as not sent yet.

It may have been carried out since, and undone by a later approval that is lost: sent once more it would open or lock
out hostnames, and Drift would show nothing of it. So a person looks at a new plan first.
"""

from __future__ import annotations

from apps.coverage.selectors import current_plan, in_flight_requests
from apps.inventory.models import Zone
from apps.inventory.watermark import last_restore
from apps.reconcile.carried import pending_in
from apps.reconcile.observe import WORKER
from apps.reconcile.sent import put_out_of_date

WHY = "The database was restored from a backup after this was approved. It may have been sent, and undone, before."


def void_approvals_before_restore(zone: Zone) -> None:
    """Put out of date what was approved before the last restore and is not at the edge. A glass returns by itself."""
    if (stop := last_restore()) is None:
        return
    for request in in_flight_requests(zone):
        plan = current_plan(request)
        older = request.decided_at is not None and request.decided_at < stop.stopped_at
        if plan and older and pending_in(zone, request):
            put_out_of_date(by=WORKER, plan=plan, reason=WHY)
