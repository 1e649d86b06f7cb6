"""Break-glass: block to log without an approver, back, and the review."""

from __future__ import annotations

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.break_glass import (
    BreakGlassBodySerializer,
    BreakGlassSerializer,
    ReviewBodySerializer,
)
from apps.api.serializers.common import AccountQuerySerializer, StrictSerializer
from apps.coverage.break_glass import break_glass_by_id, end_break_glass, review_break_glass, use_break_glass
from apps.coverage.models import BreakGlass

DECIDING = (400, 403, 404, 409)


class BreakGlassesView(ApiView):
    @operation(
        "break_glass_list", tag="break-glass", summary="Uses of an account, newest first", many=True,
        answer=BreakGlassSerializer, query=AccountQuerySerializer, errors=(400, 404),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        account = account_named(self.query(request, AccountQuerySerializer).get("account"))
        rows = BreakGlass.objects.filter(zone__account=account).select_related("zone")
        return self.paged(request, rows, BreakGlassSerializer)

    @operation(
        "break_glass_use", tag="break-glass", summary="Let one blocked hostname go to log for a time",
        body=BreakGlassBodySerializer, answer=BreakGlassSerializer, status=201, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, BreakGlassBodySerializer)
        account = account_named(body.pop("account", None))
        broken = use_break_glass(by=self.actor(request), account=account, **body)
        return Response(BreakGlassSerializer(broken).data, status=status.HTTP_201_CREATED)


class BreakGlassView(ApiView):
    @operation("break_glass_read", tag="break-glass", summary="One use", answer=BreakGlassSerializer, errors=(404,))
    def get(self, _request: Request, break_glass_id: int) -> Response:
        return Response(BreakGlassSerializer(break_glass_by_id(break_glass_id)).data)


class ReturnView(ApiView):
    @operation(
        "break_glass_return", tag="break-glass", summary="Return to block before the time is up",
        answer=BreakGlassSerializer, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request, break_glass_id: int) -> Response:
        self.body(request, StrictSerializer)
        broken = end_break_glass(by=self.actor(request), break_glass_id=break_glass_id)
        return Response(BreakGlassSerializer(broken).data)


class ReviewView(ApiView):
    @operation(
        "break_glass_review", tag="break-glass", summary="Close the review; never one's own",
        body=ReviewBodySerializer, answer=BreakGlassSerializer, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request, break_glass_id: int) -> Response:
        body = self.body(request, ReviewBodySerializer)
        broken = review_break_glass(by=self.actor(request), break_glass_id=break_glass_id, **body)
        return Response(BreakGlassSerializer(broken).data)
