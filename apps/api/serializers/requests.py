"""Coverage requests, their plans and decisions."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.accounts import HoldSerializer
from apps.api.serializers.cas import IssuerSerializer
from apps.api.serializers.changes import ChangeSummarySerializer
from apps.api.serializers.common import (
    AccountQuerySerializer,
    AccountRefSerializer,
    CaRefSerializer,
    OneOf,
    StrictSerializer,
    TeamRefSerializer,
    ZoneRefSerializer,
)
from apps.coverage.models import ASKABLE, Approval, CoverageRequest, GuardOverride, Kind, ModeChoice, RequestHostname
from apps.coverage.overrides import needed_overrides
from apps.coverage.selectors import confirmation_of, current_plan, guards_of
from apps.coverage.states import RequestState
from apps.identity.models import Team
from apps.reconcile.selectors import changes_of, hold_on_request

# What the bulk field of the page splits at. In a list each item is one hostname.
SEPARATORS = re.compile(r"[\s,;]")


class HostnameField(serializers.CharField):
    """One hostname. Whether it is a good one is judged with the others, by the service."""

    def to_internal_value(self, data: Any) -> str:
        text: str = super().to_internal_value(data)
        if SEPARATORS.search(text):
            raise serializers.ValidationError("Send one hostname per item.")
        return text


class RequestBodySerializer(StrictSerializer):
    """What is asked for."""

    kind = OneOf([*ASKABLE, Kind.ISSUERS.value])
    ca = serializers.CharField(help_text="Portal's or Cloudflare's id.")
    hostnames = serializers.ListField(child=HostnameField(), required=False, default=list)
    issuers = serializers.ListField(
        child=serializers.CharField(max_length=65_536), required=False, default=list, max_length=40,
        help_text="Of kind issuers: `self`, or PEM of an intermediate or of a sample client. Empty: no pin.",
    )  # fmt: skip
    mode = OneOf(ModeChoice.values, required=False, default=ModeChoice.VERIFY.value)
    reason = serializers.CharField()
    override = serializers.CharField(
        required=False, allow_blank=True, default="",
        help_text="Why hostnames may go to block without the account's quiet period in log. Approvers see it.",
    )  # fmt: skip
    ticket = serializers.CharField(required=False, allow_blank=True, default="", max_length=120)
    team = serializers.SlugRelatedField(
        slug_field="slug",
        queryset=Team.objects.all(),
        required=False,
        allow_null=True,
        default=None,
        error_messages={
            "does_not_exist": "No such team. Use a team's slug.",
            "invalid": "Use a team's slug.",
        },
        help_text="A team's slug: who will own the hostnames.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Hostnames belong to coverage, issuers to a change of issuers."""
        named, wrong = ("issuers", "hostnames") if attrs["kind"] == Kind.ISSUERS else ("hostnames", "issuers")
        if attrs[wrong]:
            raise serializers.ValidationError({wrong: [f"Not with this kind. Send {named}."]})
        if named == "hostnames" and not attrs["hostnames"]:
            raise serializers.ValidationError({"hostnames": ["Name at least one hostname."]})
        return attrs


class ApproveBodySerializer(StrictSerializer):
    """The plan that was read, by its digest."""

    digest = serializers.CharField(max_length=64)
    comment = serializers.CharField(required=False, allow_blank=True, default="")
    confirm = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0,
        help_text=(
            "How many associations go, as `confirm` of the plan says. Needed when a list would be emptied (`emptied`), "
            "a zone left without any hostname (`last_of_zone`), more than the zone's share taken from a list, at once "
            "or within the window (`share`), or when a guard asks for an override. Else the digest is enough."
        ),
    )  # fmt: skip


class OverrideBodySerializer(StrictSerializer):
    """Lets one guard pass for the approved plan with this digest."""

    digest = serializers.CharField(max_length=64)
    guard = OneOf(["ratio", "window", "total", "pairs"])
    reason = serializers.CharField()


class RejectBodySerializer(StrictSerializer):
    """Why not."""

    comment = serializers.CharField()


class CancelBodySerializer(StrictSerializer):
    """Why it is stopped."""

    reason = serializers.CharField()


class RequestQuerySerializer(AccountQuerySerializer):
    """Filters of the list of requests."""

    state = OneOf([state.value for state in RequestState], required=False)
    kind = OneOf(Kind.values, required=False)


class RequestHostnameSerializer(serializers.ModelSerializer[RequestHostname]):
    """One hostname and what became of it."""

    zone = ZoneRefSerializer()

    class Meta:
        model = RequestHostname
        fields = ("hostname", "zone", "result", "note")
        read_only_fields = fields


class GuardSerializer(serializers.Serializer[Any]):
    """One guard that the plan would trip, and what lets it pass."""

    zone = serializers.CharField()
    guard = serializers.CharField()
    message = serializers.CharField()
    needs = serializers.CharField()
    overridable = serializers.BooleanField()


class NeededOverrideSerializer(serializers.Serializer[Any]):
    """One guard that an approved request waits for."""

    zone = serializers.CharField()
    guard = serializers.CharField()
    message = serializers.CharField()


class OverrideSerializer(serializers.ModelSerializer[GuardOverride]):
    """One person let one guard pass. `used_by` is the change that passed by it; a void one counts no more."""

    zone = ZoneRefSerializer()
    given_by = serializers.CharField(source="given_by_label")

    class Meta:
        model = GuardOverride
        fields = ("guard", "zone", "digest", "given_by", "given_at", "reason", "used_at", "used_by", "void_at")
        read_only_fields = fields


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """One person's yes to one plan. A void one counts no more."""

    approved_by = serializers.CharField(source="approved_by_label")
    plan_number = serializers.IntegerField(source="plan.number")

    class Meta:
        model = Approval
        fields = (
            "approved_by", "approved_at", "comment", "confirmed", "digest", "plan_number", "void_at", "void_reason",
        )  # fmt: skip
        read_only_fields = fields


class RequestRowSerializer(serializers.ModelSerializer[CoverageRequest]):
    """A request in a list. `state` ends at done, partly_done, failed, rejected or withdrawn."""

    label = serializers.CharField(source="__str__")
    account = AccountRefSerializer()
    ca = CaRefSerializer()
    team = TeamRefSerializer(allow_null=True)
    requested_by = serializers.CharField(source="requested_by_label")
    issuers = IssuerSerializer(many=True, allow_null=True)

    class Meta:
        model = CoverageRequest
        fields: tuple[str, ...] = (
            "id", "label", "kind", "state", "state_reason", "account", "ca", "mode", "issuers", "reason",
            "override", "ticket", "team", "undo_of", "requested_by", "correlation_id", "created_at", "decided_at",
            "finished_at",
        )  # fmt: skip
        read_only_fields = fields


class RequestSerializer(RequestRowSerializer):
    """A request with its newest plan. Approving names `digest`; while there is no plan it is null."""

    hostnames = RequestHostnameSerializer(many=True)
    plan = serializers.SerializerMethodField()
    plan_number = serializers.SerializerMethodField()
    plan_outdated_reason = serializers.SerializerMethodField()
    digest = serializers.SerializerMethodField()
    approvals = ApprovalSerializer(many=True)
    guards = serializers.SerializerMethodField(help_text="What the newest plan would trip.")
    confirm = serializers.SerializerMethodField(help_text="How many removals an approval confirms, or null.")
    overrides = OverrideSerializer(many=True)
    needs_override = serializers.SerializerMethodField(help_text="What the approved request waits for.")
    changes = serializers.SerializerMethodField()
    hold = serializers.SerializerMethodField(help_text="What an open request waits for at the edge's door, or null.")

    class Meta(RequestRowSerializer.Meta):
        fields = (
            *RequestRowSerializer.Meta.fields, "hostnames", "plan", "plan_number", "plan_outdated_reason",
            "plan_next_at", "digest", "approvals", "guards",
            "confirm", "overrides", "needs_override", "changes", "hold",
        )  # fmt: skip
        read_only_fields = fields

    def get_plan(self, request: CoverageRequest) -> dict[str, Any] | None:
        plan = current_plan(request)
        return plan.document if plan else None

    def get_plan_number(self, request: CoverageRequest) -> int | None:
        plan = current_plan(request)
        return plan.number if plan else None

    def get_plan_outdated_reason(self, request: CoverageRequest) -> str:
        plan = current_plan(request)
        return plan.outdated_reason if plan else ""

    def get_digest(self, request: CoverageRequest) -> str | None:
        plan = current_plan(request)
        return plan.digest if plan else None

    @extend_schema_field(GuardSerializer(many=True))
    def get_guards(self, request: CoverageRequest) -> Any:
        plan = current_plan(request)
        return GuardSerializer(guards_of(plan) if plan else [], many=True).data

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_confirm(self, request: CoverageRequest) -> int | None:
        plan = current_plan(request)
        return confirmation_of(plan) if plan else None

    @extend_schema_field(NeededOverrideSerializer(many=True))
    def get_needs_override(self, request: CoverageRequest) -> Any:
        return NeededOverrideSerializer(needed_overrides(request), many=True).data

    @extend_schema_field(HoldSerializer(allow_null=True))
    def get_hold(self, request: CoverageRequest) -> Any:
        hold = hold_on_request(request)
        return HoldSerializer(hold).data if hold else None

    @extend_schema_field(ChangeSummarySerializer(many=True))
    def get_changes(self, request: CoverageRequest) -> list[dict[str, Any]]:
        return list(ChangeSummarySerializer(changes_of(request), many=True).data)


class UndoSerializer(serializers.Serializer[Any]):
    """The requests that lead back, one per kind, CA and mode. Somebody else approves each."""

    requests = RequestSerializer(many=True)


class RemovalsSerializer(serializers.Serializer[Any]):
    """The requests that remove it, one per CA. Somebody else approves each."""

    requests = RequestSerializer(many=True)
