"""The rotation of a CA: where it stands, and its overlap. The path names the old CA."""

from __future__ import annotations

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.serializers.requests import RequestSerializer
from apps.api.serializers.rotation import RotationBodySerializer, RotationSerializer
from apps.authorities.selectors import ca_by_id
from apps.coverage.models import Kind
from apps.coverage.rotation import rotation_of
from apps.coverage.rotation_services import confirm_clients_moved
from apps.coverage.selectors import request_by_id
from apps.reconcile.services import submit_rotation

DECIDING = (400, 403, 404, 409)


class RotationView(ApiView):
    @operation("rotation_read", tag="cas", summary="Where a rotation stands", answer=RotationSerializer, errors=(404,))
    def get(self, _request: Request, ca_id: str) -> Response:
        return Response(RotationSerializer(rotation_of(ca_by_id(ca_id))).data)

    @operation(
        "rotation_cover", tag="cas", summary="Ask for the new CA on every hostname of the old one",
        body=RotationBodySerializer, answer=RequestSerializer, status=201, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request, ca_id: str) -> Response:
        return _submitted(self, request, ca_id, Kind.COVER)


class RotationConfirmView(ApiView):
    @operation(
        "rotation_confirm", tag="cas", summary="Say that the clients present certificates of the new CA",
        body=RotationBodySerializer, answer=RotationSerializer, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request, ca_id: str) -> Response:
        old, body = ca_by_id(ca_id), self.body(request, RotationBodySerializer)
        confirm_clients_moved(by=self.actor(request), ca_id=old.pk, reason=body["reason"])
        return Response(RotationSerializer(rotation_of(old)).data)


class RotationReleaseView(ApiView):
    @operation(
        "rotation_release", tag="cas", summary="Ask for the hostnames to leave the old CA",
        body=RotationBodySerializer, answer=RequestSerializer, status=201, errors=DECIDING,
    )  # fmt: skip
    def post(self, request: Request, ca_id: str) -> Response:
        return _submitted(self, request, ca_id, Kind.UNCOVER)


def _submitted(view: ApiView, request: Request, ca_id: str, kind: Kind) -> Response:
    body = view.body(request, RotationBodySerializer)
    made = submit_rotation(by=view.actor(request), ca_id=ca_by_id(ca_id).pk, kind=kind, **body)
    return Response(RequestSerializer(request_by_id(made.pk)).data, status=status.HTTP_201_CREATED)
