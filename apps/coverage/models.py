"""Requests, the plans people saw, their approvals, and the approved state these lead to."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.authorities.models import CertificateAuthority
from apps.coverage.break_glass_models import BreakGlass as BreakGlass
from apps.coverage.states import HELD, RequestState
from apps.identity.models import Person, Team
from apps.inventory.models import Account, Zone


class Kind(models.TextChoices):
    """COVER puts hostnames under a CA, UNCOVER takes them off, ADOPT approves what is at the edge already.

    RESTORE sends once more what was approved and somebody changed at the edge: its own mode says nothing.
    ISSUERS changes who is known to sign a CA's clients, and with it the pins of its rules (`issuer_changes.py`).
    BREAK_GLASS and RETURN come from `break_glass.py` alone: block to log without an approver, and back.
    """

    COVER = "cover"
    UNCOVER = "uncover"
    ADOPT = "adopt"
    RESTORE = "restore"
    ISSUERS = "issuers", "Change issuers of"
    BREAK_GLASS = "break_glass", "Break-glass on"
    RETURN = "return", "Return to block of"


ASKABLE = (Kind.COVER.value, Kind.UNCOVER.value, Kind.ADOPT.value, Kind.RESTORE.value)


class ModeChoice(models.TextChoices):
    """VERIFY: the edge asks and checks. LOG and BLOCK add the enforcement rule."""

    VERIFY = "verify"
    LOG = "log"
    BLOCK = "block"


class CoverageRequest(models.Model):
    """What somebody asked for, and where it stands. Shown as REQ-<id>."""

    kind = models.CharField(max_length=16, choices=Kind.choices)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="requests")
    ca = models.ForeignKey(CertificateAuthority, on_delete=models.PROTECT, related_name="requests")
    mode = models.CharField(max_length=8, choices=ModeChoice.choices, default=ModeChoice.VERIFY)
    reason = models.TextField()
    override = models.TextField(blank=True, help_text="Why hostnames may go to block without a quiet period in log")
    issuers = models.JSONField(null=True, blank=True, help_text="Asked for by a request of kind issuers")
    issuers_before = models.JSONField(null=True, blank=True)
    ticket = models.CharField(max_length=120, blank=True)
    undo_of = models.UUIDField(null=True, blank=True, db_index=True, help_text="The change that this request undoes")
    waits_for = models.JSONField(default=list, help_text="Guards that wait for an override: zone, guard, message")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True)
    requested_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="requests")
    requested_by_label = models.CharField(max_length=200)
    state = models.CharField(
        max_length=16, choices=[(s.value, s.value) for s in RequestState], default=RequestState.PLANNING, db_index=True
    )
    state_reason = models.TextField(blank=True)
    plan_next_at = models.DateTimeField(null=True, blank=True, help_text="It could not be planned; not tried before")
    correlation_id = models.CharField(max_length=36, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"REQ-{self.pk}"


class RequestHostname(models.Model):
    """One hostname of a request and what became of it.

    A request for issuers names a hostname in two zones when a longer zone came after it was covered in a shorter one.
    """

    class Result(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        FAILED = "failed"

    request = models.ForeignKey(CoverageRequest, on_delete=models.CASCADE, related_name="hostnames")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT)
    hostname = models.CharField(max_length=253, db_index=True)
    note = models.TextField(blank=True)
    result = models.CharField(max_length=8, choices=Result.choices, default=Result.PENDING)

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["request", "zone", "hostname"], name="coverage_hostname_once"),)

    def __str__(self) -> str:
        return self.hostname


class RequestPlan(models.Model):
    """What a request would do, from one fresh read of the edge: this is what approvers see and approve.

    `document` holds per zone the lists before and after, the rules, and the calls in order (docs/plans.md);
    `revisions` the edge revisions it was built on; `digest` names exactly this plan.
    """

    request = models.ForeignKey(CoverageRequest, on_delete=models.CASCADE, related_name="plans")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    revisions = models.JSONField()
    digest = models.CharField(max_length=64)
    built_at = models.DateTimeField()
    outdated_at = models.DateTimeField(null=True, blank=True)
    outdated_reason = models.TextField(blank=True)

    class Meta:
        ordering = ("number",)
        constraints = (models.UniqueConstraint(fields=["request", "number"], name="coverage_plan_number_once"),)

    def __str__(self) -> str:
        return f"{self.request} plan {self.number}"


class Approval(models.Model):
    """One person's yes to one plan. The approver is never the requester: also by constraint and by trigger."""

    request = models.ForeignKey(CoverageRequest, on_delete=models.PROTECT, related_name="approvals")
    plan = models.ForeignKey(RequestPlan, on_delete=models.PROTECT, related_name="approvals")
    digest = models.CharField(max_length=64)
    requested_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="approvals")
    approved_by_label = models.CharField(max_length=200)
    comment = models.TextField(blank=True)
    confirmed = models.PositiveIntegerField(null=True, blank=True, help_text="How many removals, typed or by digest")
    approved_at = models.DateTimeField()
    void_at = models.DateTimeField(null=True, blank=True)
    void_reason = models.TextField(blank=True)

    class Meta:
        ordering = ("approved_at",)
        constraints = (
            models.CheckConstraint(condition=~Q(approved_by=F("requested_by")), name="coverage_four_eyes"),
            models.UniqueConstraint(fields=["plan", "approved_by"], name="coverage_one_approval_per_person"),
        )

    def __str__(self) -> str:
        return f"{self.request} approved by {self.approved_by_label}"


class GuardOverride(models.Model):
    """One more person lets one guard pass, for one approved plan and one change of one zone.

    Neither the requester nor the approver may give it: also by constraint and by trigger. `used_by` is the change that
    it let pass; from then on it counts for nothing.
    """

    request = models.ForeignKey(CoverageRequest, on_delete=models.PROTECT, related_name="overrides")
    plan = models.ForeignKey(RequestPlan, on_delete=models.PROTECT, related_name="overrides")
    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="overrides")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="+")
    guard = models.CharField(max_length=16)
    digest = models.CharField(max_length=64)
    reason = models.TextField()
    given_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    given_by_label = models.CharField(max_length=200)
    requested_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    given_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.UUIDField(null=True, blank=True)
    void_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("given_at", "pk")
        constraints = (
            models.CheckConstraint(
                condition=~Q(given_by=F("requested_by")) & ~Q(given_by=F("approved_by")), name="coverage_six_eyes"
            ),
            models.UniqueConstraint(
                fields=["plan", "zone", "guard"], condition=Q(used_at=None, void_at=None),
                name="coverage_one_open_override",
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.request}: {self.guard} overridden by {self.given_by_label}"


class Association(models.Model):
    """Approved: this hostname under this CA. `releasing` is an approved removal that the edge has not shown yet.

    `live_at` is when a read first showed it at the edge; from then on its absence is drift, never re-added by itself.
    """

    class State(models.TextChoices):
        APPROVED = "approved"
        RELEASING = "releasing"

    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="associations")
    ca = models.ForeignKey(CertificateAuthority, on_delete=models.PROTECT, related_name="associations")
    hostname = models.CharField(max_length=253, db_index=True)
    owner_team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.APPROVED)
    request = models.ForeignKey(CoverageRequest, on_delete=models.PROTECT, related_name="associations")
    release_request = models.ForeignKey(
        CoverageRequest, on_delete=models.PROTECT, null=True, blank=True, related_name="releases"
    )
    approved_at = models.DateTimeField()
    approved_by_label = models.CharField(max_length=200)
    live_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["zone", "ca", "hostname"], name="coverage_association_once"),)

    def __str__(self) -> str:
        return f"{self.hostname} under {self.ca}"

    @property
    def is_held(self) -> bool:
        """Whether the request that wanted it at the edge waits for a person: planning leaves it out."""
        return self.state == self.State.APPROVED and self.live_at is None and self.request.state in HELD

    @property
    def release_is_held(self) -> bool:
        """Whether the request that was to take it off the edge waits for a person: until then it stays wanted."""
        asked = self.release_request
        return self.state == self.State.RELEASING and asked is not None and asked.state in HELD


class Enforcement(models.Model):
    """Approved mode of one hostname, whatever the number of its CAs. `live_at` as for associations.

    `settled_mode` is the last mode that was read at the edge: what holds while a change is held back or taken back.
    """

    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="enforcements")
    hostname = models.CharField(max_length=253)
    mode = models.CharField(max_length=8, choices=ModeChoice.choices, default=ModeChoice.VERIFY)
    settled_mode = models.CharField(max_length=8, blank=True)
    request = models.ForeignKey(CoverageRequest, on_delete=models.PROTECT, related_name="enforcements")
    live_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["zone", "hostname"], name="coverage_enforcement_once"),)

    def __str__(self) -> str:
        return f"{self.hostname}: {self.mode}"

    @property
    def is_held(self) -> bool:
        """Whether the request for this mode waits for a person: planning goes by `settled_mode`."""
        return self.live_at is None and self.request.state in HELD

    @property
    def mode_in_force(self) -> str:
        return (self.settled_mode or ModeChoice.VERIFY.value) if self.is_held else self.mode


class AssociationRecord(models.Model):
    """That a hostname was approved under a CA, from when to when and by whom. Outlives the association itself."""

    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="+")
    ca = models.ForeignKey(CertificateAuthority, on_delete=models.PROTECT, related_name="+")
    hostname = models.CharField(max_length=253, db_index=True)
    request = models.ForeignKey(CoverageRequest, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField()
    approved_by_label = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("approved_at",)

    def __str__(self) -> str:
        return f"{self.hostname} under {self.ca}"
