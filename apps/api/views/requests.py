"""Coverage requests: ask, read, decide. Each method is one service."""

from __future__ import annotations

from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.common import StrictSerializer
from apps.api.serializers.requests import (
    ApproveBodySerializer,
    CancelBodySerializer,
    OverrideBodySerializer,
    RejectBodySerializer,
    RemovalsSerializer,
    RequestBodySerializer,
    RequestQuerySerializer,
    RequestRowSerializer,
    RequestSerializer,
)
from apps.authorities.selectors import ca_by_id
from apps.coverage.closing_services import reject_request
from apps.coverage.models import Kind
from apps.coverage.overrides import override_guard
from apps.coverage.selectors import request_by_id, requests_in
from apps.coverage.services import approve_request
from apps.inventory.selectors import zone_by_reference
from apps.reconcile.passed_over_services import ask_removal
from apps.reconcile.services import cancel, rebuild_plan, submit_issuers, submit_request, withdraw

DECIDING = (400, 403, 404, 409)


def _answer(request_id: int, code: int = status.HTTP_200_OK) -> Response:
    """The request as it is now, read again after the service has written it."""
    return Response(RequestSerializer(request_by_id(request_id)).data, status=code)


class RequestsView(ApiView):
    @operation(
        "requests_list", tag="requests", summary="Requests of an account, newest first", many=True,
        answer=RequestRowSerializer, query=RequestQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        query = self.query(request, RequestQuerySerializer)
        wanted = {name: query[name] for name in ("state", "kind") if name in query}
        rows = requests_in(account_named(query.get("account"))).filter(**wanted)
        return self.paged(request, rows, RequestRowSerializer)

    @operation(
        "requests_create", tag="requests", summary="Ask for a change of coverage", body=RequestBodySerializer,
        answer=RequestSerializer, status=201, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, RequestBodySerializer)
        if body["kind"] == Kind.ISSUERS:
            return self._issuers(request, body)
        made = submit_request(
            by=self.actor(request),
            kind=body["kind"],
            ca=ca_by_id(body["ca"]),
            mode=body["mode"],
            hostnames=body["hostnames"],
            reason=body["reason"],
            override=body["override"],
            ticket=body["ticket"],
            team=body["team"],
        )
        return _answer(made.pk, status.HTTP_201_CREATED)

    def _issuers(self, request: Request, body: dict[str, Any]) -> Response:
        made = submit_issuers(
            by=self.actor(request),
            ca=ca_by_id(body["ca"]),
            entries=body["issuers"],
            reason=body["reason"],
            override=body["override"],
            ticket=body["ticket"],
        )
        return _answer(made.pk, status.HTTP_201_CREATED)


class RemoveServedElsewhereView(ApiView):
    @operation(
        "zones_remove_served_elsewhere", tag="requests", answer=RemovalsSerializer, status=201, errors=DECIDING,
        summary="Ask that what a longer zone serves is removed from this zone's lists",
    )  # fmt: skip
    def post(self, request: Request, zone_id: str) -> Response:
        self.body(request, StrictSerializer)
        made = ask_removal(by=self.actor(request), zone_id=zone_by_reference(zone_id).pk)
        return Response(RemovalsSerializer({"requests": made}).data, status=status.HTTP_201_CREATED)


class RequestView(ApiView):
    @operation("requests_read", tag="requests", summary="One request", answer=RequestSerializer, errors=(404,))
    def get(self, _request: Request, request_id: int) -> Response:
        return _answer(request_id)


class ApproveView(ApiView):
    @operation(
        "requests_approve", tag="requests", summary="Approve the plan with this digest", errors=DECIDING,
        body=ApproveBodySerializer, answer=RequestSerializer,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        body = self.body(request, ApproveBodySerializer)
        approve_request(by=self.actor(request), request_id=request_id, **body)
        return _answer(request_id)


class OverridesView(ApiView):
    @operation(
        "requests_override", tag="requests", summary="Let one guard pass for the approved plan", errors=DECIDING,
        body=OverrideBodySerializer, answer=RequestSerializer, status=201,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        body = self.body(request, OverrideBodySerializer)
        override_guard(by=self.actor(request), request_id=request_id, **body)
        return _answer(request_id, status.HTTP_201_CREATED)


class RejectView(ApiView):
    @operation(
        "requests_reject", tag="requests", summary="Reject a request", errors=DECIDING,
        body=RejectBodySerializer, answer=RequestSerializer,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        body = self.body(request, RejectBodySerializer)
        reject_request(by=self.actor(request), request_id=request_id, comment=body["comment"])
        return _answer(request_id)


class WithdrawView(ApiView):
    @operation(
        "requests_withdraw", tag="requests", summary="Take back one's own request", errors=DECIDING,
        answer=RequestSerializer,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        self.body(request, StrictSerializer)
        withdraw(by=self.actor(request), request_id=request_id)
        return _answer(request_id)


class CancelView(ApiView):
    @operation(
        "requests_cancel", tag="requests", summary="Stop an approved request before anything of it is sent",
        errors=DECIDING, body=CancelBodySerializer, answer=RequestSerializer,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        body = self.body(request, CancelBodySerializer)
        cancel(by=self.actor(request), request_id=request_id, **body)
        return _answer(request_id)


class RebuildView(ApiView):
    @operation(
        "requests_rebuild", tag="requests", summary="Plan again from a fresh read of the edge",
        errors=(*DECIDING, 503), answer=RequestSerializer,
    )  # fmt: skip
    def post(self, request: Request, request_id: int) -> Response:
        self.body(request, StrictSerializer)
        rebuild_plan(by=self.actor(request), request_id=request_id)
        return _answer(request_id)
