"""What is covered: by hostname, as a table, where it drifts, and what each change sent."""

from __future__ import annotations

from uuid import UUID

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.changes import (
    ChangeSerializer,
    DriftIgnoreBodySerializer,
    DriftIgnoredSerializer,
    DriftPicksSerializer,
    DriftQuerySerializer,
    DriftSerializer,
    DriftShownSerializer,
    UndoBodySerializer,
)
from apps.api.serializers.coverage import (
    AsOfQuerySerializer,
    AsOfSerializer,
    AssociationQuerySerializer,
    AssociationRowSerializer,
    HostnameQuerySerializer,
    HostnameSerializer,
)
from apps.api.serializers.requests import UndoSerializer
from apps.reconcile.drift_services import ignore_drift, show_drift
from apps.reconcile.history import as_of
from apps.reconcile.selectors import change_by_id, drift_open, hostname_detail, hostname_rows
from apps.reconcile.undo import undo_change

PAGING = {"page", "page_size", "account"}


class HostnameView(ApiView):
    @operation(
        "hostnames_read", tag="coverage", summary="One hostname: its answer, its CAs and its rule",
        answer=HostnameSerializer, query=HostnameQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request, fqdn: str) -> Response:
        account = account_named(self.query(request, HostnameQuerySerializer).get("account"))
        return Response(HostnameSerializer(hostname_detail(account, fqdn)).data)


class AsOfView(ApiView):
    @operation(
        "hostnames_as_of", tag="coverage", summary="Which CAs were trusted for a hostname at an instant, and by whom",
        answer=AsOfSerializer, query=AsOfQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request, fqdn: str) -> Response:
        query = self.query(request, AsOfQuerySerializer)
        account = account_named(query.get("account"))
        row = hostname_detail(account, fqdn).row
        return Response(AsOfSerializer(as_of(account, row.zone, row.hostname, query["at"])).data)


class AssociationsView(ApiView):
    @operation(
        "associations_list", tag="coverage", summary="Every hostname with its CAs, approved against the edge",
        answer=AssociationRowSerializer, query=AssociationQuerySerializer, many=True, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = self.query(request, AssociationQuerySerializer)
        account = account_named(query.get("account"))
        filters = {name: value for name, value in query.items() if name not in PAGING}
        return self.paged(request, hostname_rows(account, **filters), AssociationRowSerializer)


class DriftView(ApiView):
    @operation(
        "drift_list", tag="coverage", summary="Differences between approved and edge, newest first",
        many=True, answer=DriftSerializer, query=DriftQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = self.query(request, DriftQuerySerializer)
        account = account_named(query.get("account"))
        rows = drift_open(account, **{name: value for name, value in query.items() if name not in PAGING})
        return self.paged(request, rows, DriftSerializer)


class DriftIgnoreView(ApiView):
    @operation(
        "drift_ignore", tag="coverage", summary="Set differences aside for seven days",
        body=DriftIgnoreBodySerializer, answer=DriftIgnoredSerializer, status=201, errors=(400, 403, 404),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, DriftIgnoreBodySerializer)
        account = account_named(body.get("account"))
        made = ignore_drift(by=self.actor(request), account=account, drift_ids=body["picks"], reason=body["reason"])
        return Response(DriftIgnoredSerializer({"ignored": made}).data, status=status.HTTP_201_CREATED)


class DriftShowView(ApiView):
    @operation(
        "drift_show", tag="coverage", summary="Put differences that were set aside back among the others",
        body=DriftPicksSerializer, answer=DriftShownSerializer, errors=(400, 403, 404),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, DriftPicksSerializer)
        account = account_named(body.get("account"))
        shown = show_drift(by=self.actor(request), account=account, drift_ids=body["picks"])
        return Response(DriftShownSerializer({"shown": shown}).data)


class ChangeView(ApiView):
    @operation(
        "changes_read",
        tag="coverage",
        summary="One change, call by call",
        answer=ChangeSerializer,
        errors=(404,),
    )
    def get(self, _request: Request, change_id: UUID) -> Response:
        return Response(ChangeSerializer(change_by_id(change_id)).data)


class UndoView(ApiView):
    @operation(
        "changes_undo", tag="coverage", summary="Ask for what was before a change, or for an earlier applied list",
        body=UndoBodySerializer, answer=UndoSerializer, status=201, errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request, change_id: UUID) -> Response:
        body = self.body(request, UndoBodySerializer)
        made = undo_change(by=self.actor(request), change_id=change_id, **body)
        return Response(UndoSerializer({"requests": made}).data, status=status.HTTP_201_CREATED)
