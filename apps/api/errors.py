"""Turns every error into one shape: `{"detail": sentence, "code": str, "errors": {field: [sentences]}}`.

`code` is stable for programs, `detail` is for people. What a caller sent is never repeated in an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.api.request_ids import request_id_of
from apps.errors import Invalid, PortalError

logger = structlog.get_logger(__name__)

STATUS_OF_CATEGORY = {
    "not_found": status.HTTP_404_NOT_FOUND,
    "forbidden": status.HTTP_403_FORBIDDEN,
    "invalid": status.HTTP_400_BAD_REQUEST,
    "conflict": status.HTTP_409_CONFLICT,
    "unsafe": status.HTTP_409_CONFLICT,
    "edge": status.HTTP_503_SERVICE_UNAVAILABLE,
}
SENTENCES: dict[type[exceptions.APIException], str] = {
    exceptions.NotAuthenticated: "Send a token as Authorization: Bearer byoca_... Make one under API tokens.",
    exceptions.NotFound: "No such path. Every path of the API ends with a slash.",
    exceptions.UnsupportedMediaType: "Send JSON, with the header Content-Type: application/json.",
    exceptions.NotAcceptable: "The API answers in JSON only. Accept application/json.",
}


def handle(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler. What nobody foresaw becomes a 500 with a reference and no inner detail."""
    set_rollback()
    if isinstance(exc, PortalError) and exc.category in STATUS_OF_CATEGORY:
        return _portal(exc)
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif isinstance(exc, RequestDataTooBig):
        return _body(413, "The body is too large. Send less at once.", "too_large")
    if isinstance(exc, exceptions.ValidationError):
        return _fields(exc)
    if isinstance(exc, exceptions.APIException):
        return _framework(exc)
    reference = request_id_of(context.get("request"))
    if isinstance(exc, OperationalError | InterfaceError):
        logger.error("api_database_away", reference=reference, error=type(exc).__name__)
        sentence = "The portal's database does not answer. Nothing was changed. Send it again in a minute."
        return _body(503, sentence, "database", reference=reference)
    logger.exception("api_request_failed", reference=reference, exc_info=exc)
    sentence = f"The portal failed to answer. Nothing is known to have changed. Name this reference: {reference}."
    return _body(500, sentence, "internal", reference=reference)


def _portal(exc: PortalError) -> Response:
    errors = exc.details if isinstance(exc, Invalid) else {exc.field: [exc.message]} if exc.field else {}
    return _body(STATUS_OF_CATEGORY[exc.category], exc.message, exc.code, errors)


def _framework(exc: exceptions.APIException) -> Response:
    sentence = SENTENCES.get(type(exc), str(exc.detail))
    codes = exc.get_codes()
    answer = _body(exc.status_code, sentence, codes if isinstance(codes, str) else "error")
    if header := getattr(exc, "auth_header", None):
        answer["WWW-Authenticate"] = header
    return answer


def _fields(exc: exceptions.ValidationError) -> Response:
    errors = dict(_flat(exc.detail)) if isinstance(exc.detail, dict) else {"body": [str(part) for part in exc.detail]}
    named = ", ".join(errors)
    first = next(iter(errors.values()))[0]
    sentence = f"{named}: {first}" if len(errors) == 1 else f"Mend these fields and send again: {named}."
    return _body(400, sentence, "invalid", errors)


def _flat(detail: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """One list of sentences per field; the items of a list are named by their place, counted from 1."""
    for field, reasons in detail.items():
        if isinstance(reasons, dict):
            yield field, [f"Item {int(at) + 1}: {reason}" for at, rows in reasons.items() for reason in rows]
        else:
            yield field, [str(reason) for reason in reasons]


def _body(code: int, sentence: str, name: str, errors: dict[str, list[str]] | None = None, **more: str) -> Response:
    return Response({"detail": sentence, "code": name, "errors": errors or {}, **more}, status=code)
