"""What every view of the API shares: strict bodies and queries, the actor, pages, and its OpenAPI words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.api.pagination import Pages
from apps.api.parsers import StrictJsonParser
from apps.api.request_ids import request_id_of
from apps.api.serializers.common import ErrorSerializer
from apps.errors import Invalid
from apps.identity.actors import Actor
from apps.identity.models import Person

Method = TypeVar("Method", bound=Callable[..., Response])
SerializerType = type[serializers.Serializer[Any]]

ALWAYS = (401,)
WHY = {
    400: "Refused: what was sent cannot be accepted. `errors` names the fields.",
    401: "No token, or one that is not known, revoked or expired.",
    403: "This person may not do this.",
    404: "It does not exist.",
    409: "The state has moved on, or a guard refused.",
    503: "Cloudflare did not answer.",
}


class ApiView(APIView):
    """A thin view: `body` or `query`, one service or selector, an answer."""

    parser_classes = (StrictJsonParser,)

    def actor(self, request: Request) -> Actor:
        """The caller, through the API."""
        return Actor.of(cast("Person", request.user), via="api", request_id=request_id_of(request))

    def body(self, request: Request, shape: SerializerType) -> dict[str, Any]:
        """The body, checked. Raises ValidationError naming every field at fault, unknown ones too."""
        data = request.data
        if not isinstance(data, dict):
            raise Invalid("Send one JSON object.", field="body")
        return _checked(shape, data)

    def query(self, request: Request, shape: SerializerType) -> dict[str, Any]:
        """The query string, checked like a body: a misspelt filter must not silently show everything."""
        given = request.query_params
        if twice := [name for name in given if len(given.getlist(name)) > 1]:
            raise Invalid("Give each parameter once.", details={name: ["Given more than once."] for name in twice})
        return _checked(shape, given.dict())

    def paged(self, request: Request, rows: QuerySet[Any] | Sequence[Any], shape: SerializerType) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(rows, request, view=self)
        return pages.get_paginated_response(shape(page, many=True).data)


def _checked(shape: SerializerType, data: dict[str, Any]) -> dict[str, Any]:
    serializer = shape(data=data)
    serializer.is_valid(raise_exception=True)
    checked: dict[str, Any] = serializer.validated_data
    return checked


def operation(
    name: str,
    *,
    tag: str,
    summary: str,
    answer: SerializerType,
    status: int = 200,
    body: SerializerType | None = None,
    query: SerializerType | None = None,
    errors: Sequence[int] = (),
    many: bool = False,
) -> Callable[[Method], Method]:
    """The OpenAPI words of one method. `many` means a page of `answer`."""
    responses: dict[int, Any] = {status: _page_of(answer) if many else answer}
    for code in sorted({*ALWAYS, *errors}):
        responses[code] = ErrorSerializer
    lines = [f"{code}: {WHY[code]}" for code in sorted({*ALWAYS, *errors})]
    return extend_schema(
        operation_id=name,
        tags=[tag],
        summary=summary,
        description="\n\n".join(lines),
        request=body,
        parameters=[query] if query else [],
        responses=responses,
    )


def _page_of(shape: SerializerType) -> serializers.Serializer[Any]:
    return inline_serializer(
        f"{shape.__name__.removesuffix('Serializer')}Page",
        {
            "count": serializers.IntegerField(),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            "results": shape(many=True),
        },
    )
