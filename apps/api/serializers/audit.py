"""Audit events, as they are stored and hashed."""

from __future__ import annotations

from rest_framework import serializers

from apps.api.serializers.common import PageQuerySerializer
from apps.audit.models import AuditEvent


class AuditQuerySerializer(PageQuerySerializer):
    """Filters of the audit log. `since` and `until` are days in UTC, both included."""

    q = serializers.CharField(required=False, allow_blank=True)
    action = serializers.CharField(required=False, allow_blank=True)
    actor = serializers.CharField(required=False, allow_blank=True, help_text="An id, or a part of a name.")
    subject_type = serializers.CharField(required=False, allow_blank=True)
    subject_id = serializers.CharField(required=False, allow_blank=True)
    correlation_id = serializers.CharField(required=False, allow_blank=True)
    since = serializers.DateField(required=False)
    until = serializers.DateField(required=False)


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    """One event, with everything its hash covers."""

    hostnames = serializers.ListField(child=serializers.CharField())
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)
    details = serializers.DictField()

    class Meta:
        model = AuditEvent
        fields = (
            "seq", "at", "actor_kind", "actor_id", "actor_label", "via", "action", "subject_type",
            "subject_id", "subject_label", "account", "zone", "hostnames", "reason", "before", "after",
            "details", "correlation_id", "request_id", "prev_hash", "hash",
        )  # fmt: skip
        read_only_fields = fields
