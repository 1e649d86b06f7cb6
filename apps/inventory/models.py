"""Cloudflare accounts and zones the portal may touch, and what the account says it holds."""

from __future__ import annotations

import secrets
import uuid
from enum import Enum

from django.db import models


def new_installation_name() -> str:
    return secrets.token_hex(4)


class TokenKind(Enum):
    """An account's tokens: the one that writes, and reads where it is alone; and one that can only read (INV-44).

    The value is what the names of its fields begin with.
    """

    WRITE = ""
    READ = "read_"

    def field(self, name: str) -> str:
        """Of `token_encrypted`, `token_state`, `scope_check`, `scope_checked_at`: that of this token."""
        return self.value + name


class Account(models.Model):
    """One Cloudflare account with its API tokens, encrypted and bound to this row (`credentials.py`)."""

    class Mode(models.TextChoices):
        READ_ONLY = "read_only"
        READ_WRITE = "read_write"

    class TokenState(models.TextChoices):
        UNKNOWN = "unknown"
        WORKING = "working"
        BROKEN = "broken"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    cloudflare_id = models.CharField(max_length=36, unique=True)
    base_url = models.URLField(blank=True, help_text="Empty: CLOUDFLARE_API_BASE_URL")
    token_encrypted = models.TextField(blank=True)
    token_state = models.CharField(max_length=16, choices=TokenState.choices, default=TokenState.UNKNOWN)
    mode = models.CharField(max_length=16, choices=Mode.choices, default=Mode.READ_ONLY)
    slot_limit = models.PositiveSmallIntegerField(default=5)
    call_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: BYOCA_CALL_LIMIT")
    call_share_percent = models.PositiveSmallIntegerField(default=50)
    ca_writes_refused_at = models.DateTimeField(
        null=True, blank=True, help_text="Its token may read, and not write CAs"
    )
    scope_check = models.JSONField(default=list)
    scope_checked_at = models.DateTimeField(null=True, blank=True)
    quiet_hours = models.PositiveSmallIntegerField(default=24, help_text="In log, before block without an override")
    heal_missing = models.BooleanField(default=False, help_text="Sweeps put back what is approved and missing")
    read_token_encrypted = models.TextField(blank=True, help_text="Empty: the one token reads and writes")
    read_token_state = models.CharField(max_length=16, choices=TokenState.choices, default=TokenState.UNKNOWN)
    read_scope_check = models.JSONField(default=list)
    read_scope_checked_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def token_kinds(self) -> tuple[TokenKind, ...]:
        """Which tokens are stored."""
        return (TokenKind.WRITE, TokenKind.READ) if self.read_token_encrypted else (TokenKind.WRITE,)


class Zone(models.Model):
    """One zone of an account, as last listed. `vanished_at` is set when a complete listing lacks it.

    A zone that moves to another account may keep Cloudflare's id: then each account has a row of its own, and what was
    decided in one is no decision in the other.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="zones")
    cloudflare_id = models.CharField(max_length=36, db_index=True)
    name = models.CharField(max_length=253)
    status = models.CharField(max_length=20, default="active")
    paused = models.BooleanField(default=False)
    cloudflare_plan = models.CharField(max_length=120, blank=True, help_text="As Cloudflare names it")
    removal_limits = models.JSONField(default=dict, blank=True, help_text="What differs from the guards' defaults")
    vanished_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    writes_refused_at = models.DateTimeField(
        null=True, blank=True, help_text="The token may read here, and was refused when it had to write"
    )
    edge_revision = models.PositiveBigIntegerField(default=0, help_text="Rises with each known change of its edge")

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=["account", "cloudflare_id"], name="inventory_zone_once"),)

    def __str__(self) -> str:
        return self.name


class EdgeCertificate(models.Model):
    """One row of the account's certificate list, as last read: ours, somebody else's, or no CA at all."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="edge_certificates")
    cloudflare_id = models.CharField(max_length=36)
    name = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=32, default="custom")
    is_ca = models.BooleanField(default=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    pem = models.TextField(blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    uploaded_at = models.DateTimeField(null=True, blank=True)
    first_seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("uploaded_at",)
        constraints = (models.UniqueConstraint(fields=["account", "cloudflare_id"], name="inventory_edge_cert_once"),)

    def __str__(self) -> str:
        return self.name or self.cloudflare_id

    @property
    def takes_slot(self) -> bool:
        """Cloudflare counts custom CAs against the account's quota (docs/cloudflare.md, "Slots")."""
        return self.is_ca and self.kind == "custom"


class EdgeList(models.Model):
    """The hostnames of one (zone, CA) pair as last read from the edge.

    `foreign_revision` rises when a read shows a list that neither the last read nor a write of ours explains:
    somebody else changed it. Plans remember the number they were built on.
    """

    zone = models.ForeignKey(Zone, on_delete=models.CASCADE, related_name="edge_lists")
    ca_cloudflare_id = models.CharField(max_length=36)
    hostnames = models.JSONField(default=list)
    foreign_revision = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["zone", "ca_cloudflare_id"], name="inventory_edge_list_once"),)

    def __str__(self) -> str:
        return f"{self.zone} / {self.ca_cloudflare_id}: {len(self.hostnames)}"


class EdgeRules(models.Model):
    """The custom rules of one zone as last read, in order. Other people's rules are kept to show what runs ahead."""

    zone = models.OneToOneField(Zone, on_delete=models.CASCADE, related_name="edge_rules")
    ruleset_id = models.CharField(max_length=36, blank=True)
    version = models.CharField(max_length=20, blank=True)
    rules = models.JSONField(default=list)
    foreign_revision = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.zone}: {len(self.rules)} rules"


class CallBudget(models.Model):
    """What is left of one Cloudflare token's request budget, for every process of the portal (`budget.py`).

    The key is a keyed hash of the token. The pause lives here so that no loss of Redis can end it early; `counts`
    (calls per slot of time) is used only while Redis does not answer. Times are the database's own.
    """

    token_hash = models.CharField(max_length=64, primary_key=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    pause_reason = models.TextField(blank=True)
    published_limit = models.PositiveIntegerField(null=True, blank=True)
    counts = models.JSONField(default=dict)
    # The circuit breaker (`budget/breaker.py`).
    faults = models.PositiveIntegerField(default=0, help_text="Calls in a row without an answer")
    faults_of = models.CharField(max_length=32, blank=True, help_text="The one zone they were about, or *")
    open_since = models.DateTimeField(null=True, blank=True)
    failed_trials = models.PositiveIntegerField(default=0)
    trial_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Budget {self.token_hash[:8]}"


class Installation(models.Model):
    """One row: the name this database has among others. A restored backup has it too, a second portal has not.

    `is_marked`: the log's end was kept outside the database (watermark.py).
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=32, default=new_installation_name)
    is_marked = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class Stop(models.Model):
    """Somebody stopped all writes: everywhere, in one account, or in one zone. Kept after it was lifted.

    `cause` names what the portal itself stopped for (`alarms.py`); whoever lifts that stop has decided about it.
    """

    class Scope(models.TextChoices):
        EVERYTHING = "everything"
        ACCOUNT = "account"
        ZONE = "zone"

    scope = models.CharField(max_length=12, choices=Scope.choices)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="stops")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, null=True, blank=True, related_name="stops")
    reason = models.TextField()
    cause = models.CharField(max_length=120, blank=True, db_index=True)
    stopped_by_label = models.CharField(max_length=200)
    stopped_at = models.DateTimeField(auto_now_add=True)
    lifted_by_label = models.CharField(max_length=200, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("-stopped_at",)

    def __str__(self) -> str:
        return f"Writes are stopped {self.where}"

    @property
    def where(self) -> str:
        """`everywhere`, or `in <name>`."""
        return f"in {self.zone or self.account}" if self.zone or self.account else "everywhere"

    @property
    def why(self) -> str:
        """The reason as a sentence."""
        return self.reason if self.reason.endswith((".", "!", "?")) else f"{self.reason}."


class FreezeWindow(models.Model):
    """When approved changes may or may not be sent, in the wall clock of a time zone (`windows.py`).

    Weekly: `weekdays` (0 is Monday) with `opens` and `closes`, past midnight when `closes` is not later. Once:
    `starts_at` to `ends_at`. Without a zone it holds for the whole account.
    """

    class Effect(models.TextChoices):
        DENY = "deny"
        ALLOW = "allow"

    class Repeats(models.TextChoices):
        WEEKLY = "weekly"
        ONCE = "once"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="freeze_windows")
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, null=True, blank=True, related_name="freeze_windows")
    name = models.CharField(max_length=120)
    effect = models.CharField(max_length=8, choices=Effect.choices, default=Effect.DENY)
    repeats = models.CharField(max_length=8, choices=Repeats.choices)
    timezone = models.CharField(max_length=64)
    weekdays = models.JSONField(default=list)
    opens = models.TimeField(null=True, blank=True)
    closes = models.TimeField(null=True, blank=True)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    created_by_label = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ("created_at", "pk")

    def __str__(self) -> str:
        return self.name
