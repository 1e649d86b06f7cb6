"""Break-glass."""

from __future__ import annotations

from rest_framework import serializers

from apps.api.serializers.common import StrictSerializer, ZoneRefSerializer
from apps.coverage.models import BreakGlass


class BreakGlassBodySerializer(StrictSerializer):
    """Which hostname, why, and for how long."""

    account = serializers.CharField(required=False)
    hostname = serializers.CharField(max_length=300)
    reason = serializers.CharField(max_length=4000)
    minutes = serializers.IntegerField(required=False, default=60, help_text="5 to 1440; then it returns by itself.")


class ReviewBodySerializer(StrictSerializer):
    """What the review found."""

    comment = serializers.CharField(max_length=4000)


class BreakGlassSerializer(serializers.ModelSerializer[BreakGlass]):
    """One use. `ended_at` is null while it lasts, `reviewed_at` until somebody else has closed the review."""

    zone = ZoneRefSerializer()
    used_by = serializers.CharField(source="used_by_label")
    reviewed_by = serializers.CharField(source="reviewed_by_label")
    request = serializers.IntegerField(source="request_id")
    return_request = serializers.IntegerField(source="return_request_id", allow_null=True)

    class Meta:
        model = BreakGlass
        fields = (
            "id", "hostname", "zone", "reason", "used_by", "started_at", "until", "ended_at", "request",
            "return_request", "reviewed_by", "reviewed_at", "review_comment",
        )  # fmt: skip
        read_only_fields = fields
