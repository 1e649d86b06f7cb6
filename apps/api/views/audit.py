"""The audit log, to read."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.serializers.audit import AuditEventSerializer, AuditQuerySerializer
from apps.audit.selectors import events_matching
from apps.identity.permissions import Permission


class AuditView(ApiView):
    @operation(
        "audit_list", tag="audit", summary="Audit events, newest first", answer=AuditEventSerializer,
        many=True, query=AuditQuerySerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        self.actor(request).require(Permission.AUDIT_READ)
        query = self.query(request, AuditQuerySerializer)
        filters = {name: value for name, value in query.items() if name not in {"page", "page_size"}}
        return self.paged(request, events_matching(**filters), AuditEventSerializer)
