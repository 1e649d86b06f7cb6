"""Changes: what the portal sent to the edge, call by call. Drift: where edge and approved state differ."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.api.serializers.common import AccountQuerySerializer, CaRefSerializer, OneOf, ZoneRefSerializer
from apps.reconcile.models import Drift, Plan, PlanStep


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


class ChangeSerializer(ChangeSummarySerializer):
    """One change of one zone. `refusals` are the guards' sentences when nothing was sent."""

    request_ids = serializers.ListField(child=serializers.IntegerField())
    refusals = serializers.ListField(child=serializers.CharField())
    document = serializers.DictField()
    steps = StepSerializer(many=True)

    class Meta(ChangeSummarySerializer.Meta):
        fields = (*ChangeSummarySerializer.Meta.fields, "request_ids", "refusals", "document", "steps")
        read_only_fields = fields


class DriftQuerySerializer(AccountQuerySerializer):
    """Filters of the list of differences. `ignored` gives those that were set aside instead."""

    kind = OneOf(Drift.Kind.values, required=False)
    ca = serializers.CharField(required=False, help_text="Portal's or Cloudflare's id.")
    zone = serializers.CharField(required=False, help_text="Portal's or Cloudflare's id, or its name.")
    ignored = serializers.BooleanField(required=False, default=False)


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
