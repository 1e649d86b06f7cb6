"""Rules for every page: signed in unless the page is public, and nothing kept in caches."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers

# Deny by default: every other path needs a session (the API has its own bearer check).
PUBLIC_PREFIXES = ("/accounts/login/", "/static/", "/api/", "/healthz", "/readyz")


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


class NoStoreMiddleware:
    """Pages hold what only this person may see: no cache keeps them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path.startswith(settings.STATIC_URL) and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response
