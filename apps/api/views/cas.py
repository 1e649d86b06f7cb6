"""Certificate authorities: inspect, upload, read, retry, delete."""

from __future__ import annotations

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.cas import (
    AdoptBodySerializer,
    CaBodySerializer,
    CaQuerySerializer,
    CaSerializer,
    DeleteBodySerializer,
    InspectBodySerializer,
    InspectionSerializer,
)
from apps.api.serializers.common import StrictSerializer
from apps.authorities.intake import PeopleSay
from apps.authorities.selectors import ca_by_id, cas_of, inspect_upload
from apps.authorities.services import admit_ca, retry_ca
from apps.authorities.states import CaState
from apps.coverage.services import retire_ca
from apps.errors import Invalid
from apps.reconcile.drift_services import adopt_ca

# A deletion keeps a reason for ever. Where the caller gave none, the record says exactly that.
NO_REASON = "(no reason given; deleted through the API)"


class InspectView(ApiView):
    @operation(
        "cas_inspect", tag="cas", summary="Judge an upload without storing it", body=InspectBodySerializer,
        answer=InspectionSerializer, errors=(400, 404),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, InspectBodySerializer)
        account = account_named(body.get("account"))
        inspection = inspect_upload(
            account=account, data=body["pem"], name=body["name"], now=timezone.now(),
            choose=body["choose"], accept_expired=body["accept_expired"],
        )  # fmt: skip
        return Response(InspectionSerializer(inspection).data)


class CasView(ApiView):
    @operation(
        "cas_list", tag="cas", summary="CAs of an account", answer=CaSerializer, many=True,
        query=CaQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = self.query(request, CaQuerySerializer)
        rows = cas_of(account_named(query.get("account"))).select_related("account", "owner_team", "replaces")
        rows = rows.prefetch_related("expiry_notices")
        wanted = query.get("state")
        rows = rows.filter(state=wanted) if wanted else rows.exclude(state=CaState.DELETED)
        return self.paged(request, rows, CaSerializer)

    @operation(
        "cas_create", tag="cas", summary="Upload a CA", body=CaBodySerializer, answer=CaSerializer,
        status=201, errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, CaBodySerializer)
        ca = admit_ca(
            by=self.actor(request),
            account=account_named(body.get("account")),
            name=body["name"],
            data=body["pem"],
            client_issuers=body["client_issuers"] or "",
            owner_team=body["owner_team"],
            reason=body["reason"],
            replaces=ca_by_id(body["replaces"]) if body["replaces"] else None,
            choose=body["choose"],
            accept_expired=body["accept_expired"],
        )
        return Response(CaSerializer(ca).data, status=status.HTTP_201_CREATED)


class CaAdoptView(ApiView):
    @operation(
        "cas_adopt", tag="cas", summary="Make the record of a CA that is at the edge already",
        body=AdoptBodySerializer, answer=CaSerializer, status=201, errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, AdoptBodySerializer)
        ca = adopt_ca(
            by=self.actor(request),
            account=account_named(body.get("account")),
            cloudflare_id=body["cloudflare_id"],
            people=PeopleSay(body["name"], body["reason"], body["client_issuers"] or "", body["owner_team"]),
        )
        return Response(CaSerializer(ca).data, status=status.HTTP_201_CREATED)


class CaView(ApiView):
    @operation("cas_read", tag="cas", summary="One CA", answer=CaSerializer, errors=(404,))
    def get(self, _request: Request, ca_id: str) -> Response:
        return Response(CaSerializer(ca_by_id(ca_id)).data)

    @operation(
        "cas_delete", tag="cas", summary="Ask for a CA to leave the edge", query=DeleteBodySerializer,
        answer=CaSerializer, status=202, errors=(400, 403, 404, 409),
    )  # fmt: skip
    def delete(self, request: Request, ca_id: str) -> Response:
        reasons = {
            self.query(request, DeleteBodySerializer)["reason"],
            self.body(request, DeleteBodySerializer)["reason"],
        } - {""}
        if len(reasons) > 1:
            raise Invalid("The query and the body give different reasons. Give one.", field="reason")
        ca = ca_by_id(ca_id)
        retire_ca(by=self.actor(request), ca_id=ca.pk, reason=next(iter(reasons), NO_REASON), confirm_name=None)
        return Response(CaSerializer(ca_by_id(str(ca.pk))).data, status=status.HTTP_202_ACCEPTED)


class CaRetryView(ApiView):
    @operation(
        "cas_retry", tag="cas", summary="Queue a failed upload again", answer=CaSerializer, status=202,
        errors=(400, 403, 404, 409),
    )  # fmt: skip
    def post(self, request: Request, ca_id: str) -> Response:
        self.body(request, StrictSerializer)
        ca = retry_ca(by=self.actor(request), ca_id=ca_by_id(ca_id).pk)
        return Response(CaSerializer(ca).data, status=status.HTTP_202_ACCEPTED)
