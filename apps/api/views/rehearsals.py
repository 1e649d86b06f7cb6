"""A client certificate rehearsed against an account. Nothing is stored."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView, operation
from apps.api.lookups import account_named
from apps.api.serializers.rehearsals import RehearsalBodySerializer, RehearsalSerializer
from apps.errors import Invalid
from apps.reconcile.rehearsals import rehearse_client


class RehearsalsView(ApiView):
    @operation(
        "rehearsals_create", tag="coverage", summary="Judge a client certificate without storing it",
        body=RehearsalBodySerializer, answer=RehearsalSerializer, errors=(400, 404),
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        body = self.body(request, RehearsalBodySerializer)
        account = account_named(body.get("account"))
        try:
            result = rehearse_client(
                account=account, data=body["certificate"], hostname=body["hostname"], now=timezone.now()
            )
        except Invalid as refused:
            raise _by_field(refused) from None
        return Response(RehearsalSerializer(result).data)


def _by_field(refused: Invalid) -> Invalid:
    """The gate calls its input `pem`; here it is `certificate`."""
    names = {"pem": "certificate"}
    details = {names.get(field, field): sentences for field, sentences in refused.details.items()}
    return Invalid(refused.message, code=refused.code, details=details)
