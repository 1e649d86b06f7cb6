"""Rules for every page: signed in unless the page is public, no private key gets in, and nothing kept in caches."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers

from apps.pki.free_text import without_private_key

log = structlog.get_logger(__name__)

# Deny by default: every other path needs a session (the API has its own bearer check).
API_PREFIX = "/api/"
PUBLIC_PREFIXES = ("/accounts/login/", "/static/", API_PREFIX, "/healthz", "/readyz")


class SignInRequiredMiddleware:
    """Sends whoever is not signed in to the sign-in page, whatever the view forgot."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> HttpResponse | None:
        if request.user.is_authenticated or request.path.startswith(PUBLIC_PREFIXES):
            return None
        return redirect_to_login(request.get_full_path(), login_url=str(settings.LOGIN_URL))


class PrivateKeyMiddleware:
    """Takes private keys out of every text field of every form before a view, or a log of sign-ins, reads it.

    What stands there instead is refused like a key, so each form says so at its field and keeps the others (INV-35).
    Files go to the gate as they are, and the API has a door of its own (api/parsers.py).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> None:
        if request.method != "POST" or request.path.startswith(API_PREFIX):
            return
        clean = {field: [without_private_key(text) for text in texts] for field, texts in request.POST.lists()}
        if clean != dict(request.POST.lists()):
            log.warning("private_key_refused", path=request.path)
            form = request.POST.copy()
            for field, texts in clean.items():
                form.setlist(field, texts)
            request.POST = form  # type: ignore[assignment]


class NoStoreMiddleware:
    """Pages hold what only this person may see: no cache keeps them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path.startswith(settings.STATIC_URL) and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response
