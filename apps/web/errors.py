"""Turns refusals into pages. The sentence of a PortalError is fit for the reader; anything else gets a reference."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable

import structlog
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from apps.errors import PortalError

log = structlog.get_logger(__name__)

STATUS = {"not_found": 404, "forbidden": 403, "invalid": 400, "conflict": 409, "unsafe": 409, "edge": 503}
TITLES = {
    400: "That cannot be accepted",
    403: "Not allowed",
    404: "Not found",
    409: "It has changed meanwhile",
    503: "Cloudflare does not answer",
    500: "The portal has a fault",
}


class PortalErrorMiddleware:
    """Renders what a service refused and no form caught."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, OperationalError | InterfaceError):
            return database_away()
        if isinstance(error, DataError | ValueError) and "NUL" in str(error):
            return error_page(request, 400, "A field holds a NUL character. Go back and type it anew.")
        if not isinstance(error, PortalError):
            return None
        return error_page(request, STATUS.get(error.category, 400), error.message)


def database_away() -> HttpResponse:
    """Without the shell, which would ask the database again. What was committed stays; nothing else happened."""
    log.error("page_database_away")
    words = "The portal's database does not answer. Nothing was changed. Go back and try again in a minute."
    values = {"status": 503, "title": "The database does not answer", "message": words}
    return HttpResponse(render_to_string("error.html", values), status=503)


def error_page(request: HttpRequest, status: int, message: str, reference: str = "") -> HttpResponse:
    """One page for every refusal."""
    values = {"status": status, "title": TITLES[status], "message": message, "reference": reference}
    return render(request, "error.html", values, status=status)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    return error_page(request, 400, "The request could not be read. Go back, reload the page and try again.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    return error_page(request, 403, "Your role does not allow this. Ask an administrator.")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    return error_page(request, 404, "There is no such page. Look the hostname up, or pick a section on the left.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    words = "The form was open for too long, or came from another site. Go back, reload the page and send it again."
    return error_page(request, 403, words)


def server_error(request: HttpRequest) -> HttpResponse:
    """The traceback went to the log with the same reference. Sessions are read outside of any view."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return database_away()
    reference = uuid.uuid4().hex[:12]
    log.error("page_failed", reference=reference, path=request.path)
    words = "Nothing you sent was lost on purpose: go back and try again, or quote the reference to the platform team."
    return error_page(request, 500, words, reference)
