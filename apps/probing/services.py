"""Writing of probing: switch it on, ask for a probe, find what is due, keep a result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Min, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.audit.services import record
from apps.coverage.models import Enforcement
from apps.errors import Conflict, Forbidden, NotFound
from apps.identity.actors import Actor
from apps.identity.permissions import Permission
from apps.inventory.models import Account, Zone
from apps.outbound.addresses import read_ranges
from apps.outbox.selectors import leased_count
from apps.outbox.services import Lease, claim, mark_due, settle
from apps.pki.free_text import free_text
from apps.probing.models import Probe, ProbeSetting, ProbeTarget
from apps.probing.reading import Reading, reading_of
from apps.probing.selectors import approved_associations, may_ask
from apps.probing.verdict import Agreement, Expected, Finding, Seen, judge
from apps.probing.visit import Visit

KIND = "probe"
LEASE_MARGIN_S = 30.0
# Hostnames without an approved block rule are probed less often: there is less to be wrong about.
CALM_FACTOR = 4
KEEP_FOR = timedelta(days=90)
KEEP_ROWS = 500
WORKER = Actor.portal("probe")


@transaction.atomic
def set_probing(
    *, by: Actor, account_id: UUID, enabled: bool, test_ranges: str | Sequence[str], reason: str
) -> ProbeSetting:
    """Switch probing of an account on or off, and say which address ranges are test ranges.

    Raises Forbidden, NotFound, or Invalid for a missing reason or a range that is none.
    """
    by.require(Permission.ACCOUNT_MANAGE)
    account = Account.objects.filter(pk=account_id).first()
    if account is None:
        raise NotFound("No such account. Pick one from the list of accounts.")
    reason = free_text(reason, "reason", "Say why. The reason is kept in the audit log.")
    ranges = read_ranges(test_ranges)
    row, _ = ProbeSetting.objects.select_for_update().get_or_create(account=account)
    before = {"enabled": row.enabled, "test_ranges": row.test_ranges}
    row.enabled, row.test_ranges = enabled, ranges
    row.save()
    record(
        by=by, action="probe:setting_changed", subject=("account", account.pk, account.name), account=account.pk,
        reason=reason, before=before, after={"enabled": enabled, "test_ranges": ranges},
    )  # fmt: skip
    if enabled:
        _add_targets(account)
        for target in ProbeTarget.objects.filter(zone__account=account):
            mark_due(kind=KIND, subject_id=target.pk, urgent=False)
    return row


@transaction.atomic
def ask_probe(*, by: Actor, zone: Zone, hostname: str) -> ProbeTarget:
    """Ask for a probe as soon as a worker is free. Asking twice costs one probe.

    Raises Forbidden, or Conflict when probing is off or the hostname has no approved coverage.
    """
    if not may_ask(by, zone, hostname):
        raise Forbidden(
            "Only its owners, security engineers and administrators may have a hostname probed. Ask one of them.",
            code=Permission.RUN_RETRY.value,
        )
    if not ProbeSetting.objects.filter(account=zone.account_id, enabled=True).exists():
        raise Conflict("Probing is off for this account. An administrator switches it on.", code="probing_off")
    if not approved_associations(zone.account).filter(zone=zone, hostname=hostname).exists():
        message = f"{hostname} has no approved coverage, and nothing else is ever contacted. Request coverage first."
        raise Conflict(message, code="not_covered")
    target, _ = ProbeTarget.objects.get_or_create(zone=zone, hostname=hostname)
    record(
        by=by, action="probe:asked", subject=("hostname", hostname, hostname), account=zone.account_id,
        zone=zone.name, hostnames=[hostname],
    )  # fmt: skip
    mark_due(kind=KIND, subject_id=target.pk)
    return target


def find_due(account: Account) -> None:
    """Make targets of newly approved hostnames, and have those probed at once of which the edge now says otherwise."""
    with transaction.atomic():
        for target in _add_targets(account):
            mark_due(kind=KIND, subject_id=target.pk, urgent=False)
    changed = Zone.objects.filter(account=account, vanished_at=None, probe_targets__isnull=False).annotate(
        lists_at=Max("edge_lists__changed_at"), rules_at=F("edge_rules__changed_at"),
        compared=Min("probe_targets__compared_at"),
    )  # fmt: skip
    for zone in changed.filter(Q(lists_at__gt=F("compared")) | Q(rules_at__gt=F("compared"))):
        _compare(zone)


def _add_targets(account: Account) -> list[ProbeTarget]:
    known = set(ProbeTarget.objects.filter(zone__account=account).values_list("zone_id", "hostname"))
    wanted = set(approved_associations(account).values_list("zone_id", "hostname"))
    fresh = [ProbeTarget(zone_id=zone_id, hostname=name) for zone_id, name in sorted(wanted - known, key=str)]
    ProbeTarget.objects.bulk_create(fresh, ignore_conflicts=True)
    return list(ProbeTarget.objects.filter(pk__in=[target.pk for target in fresh]))


@transaction.atomic
def _compare(zone: Zone) -> None:
    reading = reading_of(zone)
    for target in ProbeTarget.objects.select_for_update().filter(zone=zone, compared_at__lt=reading.changed_at):
        if _take_expectation(target, reading):
            mark_due(kind=KIND, subject_id=target.pk)


def _take_expectation(target: ProbeTarget, reading: Reading) -> bool:
    """Keep what the edge read says now. Returns whether that is news; a contradiction of what it said before ends."""
    now_says, news = reading.of(target.hostname), False
    if now_says != target.expected:
        news, target.expected, target.expected_since = True, now_says, reading.changed_at
        if target.contradicts:
            _end_contradiction(target, "The last read of the edge says something else now.")
    target.compared_at = reading.changed_at or timezone.now()
    target.save()
    return news


def _end_contradiction(target: ProbeTarget, why: str) -> None:
    target.contradicts, target.finding, target.found_at, target.sentence = False, "", timezone.now(), ""
    _tell(target, "probe:contradiction_ended", {"why": why})


def _tell(target: ProbeTarget, action: str, details: dict[str, object]) -> None:
    record(
        by=WORKER, action=action, subject=("hostname", target.hostname, target.hostname),
        account=target.zone.account_id, zone=target.zone.name, hostnames=[target.hostname], details=details,
    )  # fmt: skip


def take_probe(*, target_id: UUID, worker: str) -> tuple[Lease, ProbeTarget] | None:
    """Lease a due probe, unless enough are running or the account had its share of the last minute.

    What is turned away here stays due: the next tick asks again.
    """
    target = ProbeTarget.objects.select_related("zone__account").filter(pk=target_id).first()
    if target is None:
        return None
    with transaction.atomic():
        # The row of the account makes its workers queue here, so that they count one after the other.
        list(ProbeSetting.objects.select_for_update().filter(account=target.zone.account_id))
        recent = Probe.objects.filter(target__zone__account=target.zone.account_id, at__gt=Now() - timedelta(minutes=1))
        if leased_count(KIND) >= settings.BYOCA_PROBE_AT_ONCE or recent.count() >= settings.BYOCA_PROBE_RATE_PER_MIN:
            return None
        lease_s = settings.BYOCA_PROBE_DEADLINE_S + LEASE_MARGIN_S
        lease = claim(kind=KIND, subject_id=target_id, worker=worker, lease_s=lease_s)
    return (lease, target) if lease else None


@transaction.atomic
def store_probe(*, lease: Lease, target: ProbeTarget, visit: Visit) -> Probe | None:
    """Keep one result with how it fits the edge read, and settle the lease. None when the lease was lost meanwhile."""
    target = ProbeTarget.objects.select_for_update().select_related("zone__account").get(pk=target.pk)
    reading, now = reading_of(target.zone), timezone.now()
    _take_expectation(target, reading)
    finding = _finding(target, reading, visit)
    if not settle(lease, next_in_s=_next_in_s(target, finding)):
        transaction.set_rollback(True)
        return None
    probe = Probe.objects.create(
        target=target, at=now, address=visit.address, tls_version=visit.tls_version, asked=visit.asked.value,
        names=visit.names, name_count=visit.name_count, certificate_problem=visit.certificate_problem,
        turned_away=visit.turned_away, status=visit.status, status_line=visit.status_line, ray=visit.ray,
        error=visit.error, error_code=visit.error_code, took_ms=visit.took_ms, expected=target.expected,
        agreement=finding.agreement.value, code=finding.code, sentence=finding.sentence,
    )  # fmt: skip
    if finding.agreement is not Agreement.CANNOT_TELL:
        _keep_finding(target, finding, probe)
    _forget_old(target)
    return probe


def _finding(target: ProbeTarget, reading: Reading, visit: Visit) -> Finding:
    seen = Seen(visit.asked, visit.status, visit.turned_away, visit.certificate_problem, visit.error)
    rule = str(target.expected["rule"])
    expected = Expected(bool(target.expected["cas"]), rule, reading.read_at, target.expected_since)
    return judge(seen, expected, timezone.now(), timedelta(seconds=settings.BYOCA_PROBE_SETTLE_S))


def _next_in_s(target: ProbeTarget, finding: Finding) -> float:
    """With jitter, so that hostnames that were approved together are not probed together for ever."""
    if finding.code == "settling":
        return float(settings.BYOCA_PROBE_SETTLE_S) / 2
    enforced = Enforcement.objects.filter(zone=target.zone, hostname=target.hostname, mode="block").exists()
    interval = settings.BYOCA_PROBE_INTERVAL_S * (1 if enforced else CALM_FACTOR)
    return float(interval) * random.uniform(0.8, 1.0)


def _keep_finding(target: ProbeTarget, finding: Finding, probe: Probe) -> None:
    """The contradiction is an event once, not once per probe."""
    if finding.agreement is Agreement.CONTRADICTS and finding.code != target.finding:
        _tell(target, "probe:contradicts", {"code": finding.code, "sentence": finding.sentence, "probe": probe.pk})
    elif finding.agreement is Agreement.AGREES and target.contradicts:
        _end_contradiction(target, finding.sentence)
    target.contradicts = finding.agreement is Agreement.CONTRADICTS
    target.finding, target.sentence, target.found_at = finding.code, finding.sentence, probe.at
    target.save()


def _forget_old(target: ProbeTarget) -> None:
    """History is kept for 90 days and 500 probes, whichever ends first."""
    mine = Probe.objects.filter(target=target)
    mine.filter(at__lt=timezone.now() - KEEP_FOR).delete()
    kept = list(mine.order_by("-at", "-pk").values_list("pk", flat=True)[KEEP_ROWS - 1 : KEEP_ROWS + 1])
    if len(kept) > 1:
        mine.filter(pk__lt=kept[0]).delete()


def may_contact(target: ProbeTarget) -> bool:
    """Whether the hostname may be contacted now: probing is on, its zone is there, its coverage approved."""
    on = ProbeSetting.objects.filter(account=target.zone.account_id, enabled=True).exists()
    covered = approved_associations(target.zone.account).filter(zone=target.zone, hostname=target.hostname)
    return on and covered.exists()


def skip_probe(*, lease: Lease) -> None:
    """End a run without contact: looked at again after the longest interval, or when somebody asks."""
    settle(lease, next_in_s=settings.BYOCA_PROBE_INTERVAL_S * CALM_FACTOR)
