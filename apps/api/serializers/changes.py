"""Changes: what the portal sent to the edge, call by call. Drift: where edge and approved state differ."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.common import (
    AccountQuerySerializer,
    CaRefSerializer,
    OneOf,
    StrictSerializer,
    ZoneRefSerializer,
)
from apps.reconcile.models import Drift, DriftIgnore, Plan, PlanStep
from apps.reconcile.undo import undo_requests


class StepSerializer(serializers.ModelSerializer[PlanStep]):
    """One call. `ray` is Cloudflare's own id of it."""

    class Meta:
        model = PlanStep
        fields = ("position", "kind", "summary", "state", "started_at", "finished_at", "ray", "error")
        read_only_fields = fields


class ChangeSummarySerializer(serializers.ModelSerializer[Plan]):
    """A change without its calls."""

    zone = ZoneRefSerializer()

    class Meta:
        model = Plan
        fields: tuple[str, ...] = (
            "id",
            "number",
            "zone",
            "state",
            "digest",
            "error",
            "created_at",
            "finished_at",
        )
        read_only_fields = fields


class UndoBodySerializer(StrictSerializer):
    """Why. With `ca` and `as_of`: that CA's list as another change of the zone left it."""

    reason = serializers.CharField()
    ca = serializers.CharField(required=False, allow_blank=True, default="", help_text="The CA's fingerprint.")
    as_of = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="A change's id.")


class RefusalSerializer(serializers.Serializer[Any]):
    """One guard that said no, and what lets the change pass."""

    guard = serializers.CharField()
    message = serializers.CharField()
    needs = serializers.CharField()
    overridable = serializers.BooleanField(required=False)


class ChangeSerializer(ChangeSummarySerializer):
    """One change of one zone. `refusals` say which guards let nothing be sent; `undone_by` are request ids."""

    request_ids = serializers.ListField(child=serializers.IntegerField())
    refusals = RefusalSerializer(many=True)
    undone_by = serializers.SerializerMethodField()
    document = serializers.DictField()
    steps = StepSerializer(many=True)

    class Meta(ChangeSummarySerializer.Meta):
        fields = (*ChangeSummarySerializer.Meta.fields, "request_ids", "refusals", "undone_by", "document", "steps")
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.IntegerField()))
    def get_undone_by(self, change: Plan) -> list[int]:
        return [request.pk for request in undo_requests(change)]


class DriftQuerySerializer(AccountQuerySerializer):
    """Filters of the list of differences. `ignored` gives those that were set aside instead."""

    kind = OneOf(Drift.Kind.values, required=False)
    ca = serializers.CharField(required=False, help_text="Portal's or Cloudflare's id.")
    zone = serializers.CharField(required=False, help_text="Portal's or Cloudflare's id, or its name.")
    ignored = serializers.BooleanField(required=False, default=False)


class DriftPicksSerializer(StrictSerializer):
    """Differences of one account, by their ids in the list."""

    account = serializers.CharField(
        required=False,
        help_text="Portal's or Cloudflare's id. May be left out when there is only one account.",
    )
    picks = serializers.ListField(child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), max_length=1000)


class DriftIgnoreBodySerializer(DriftPicksSerializer):
    """What to set aside, and why."""

    reason = serializers.CharField()


class DriftSerializer(serializers.ModelSerializer[Drift]):
    """One difference. `ca` is null when the edge names a CA that the portal does not know."""

    zone = ZoneRefSerializer()
    ca = CaRefSerializer(allow_null=True)
    ca_cloudflare_id = serializers.SerializerMethodField()

    class Meta:
        model = Drift
        fields = (
            "id",
            "hostname",
            "kind",
            "detail",
            "zone",
            "ca",
            "ca_cloudflare_id",
            "first_seen_at",
            "last_seen_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_ca_cloudflare_id(self, drift: Drift) -> str | None:
        return drift.ca_cloudflare_id or None


class DriftIgnoreSerializer(serializers.ModelSerializer[DriftIgnore]):
    """A difference that is set aside `until` then, or until it changes."""

    drift = DriftSerializer()

    class Meta:
        model = DriftIgnore
        fields = ("drift", "until", "reason", "ignored_by_label")
        read_only_fields = fields


class DriftIgnoredSerializer(serializers.Serializer[Any]):
    """What was set aside. A pick that is not open any more is not among it."""

    ignored = DriftIgnoreSerializer(many=True)


class DriftShownSerializer(serializers.Serializer[Any]):
    """What is among the open differences again. A pick that was not set aside is not among it."""

    shown = DriftSerializer(many=True)
