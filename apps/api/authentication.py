"""Who calls the API: a bearer token, and nothing else. A session cookie counts for nothing here."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.identity.models import Person
from apps.identity.selectors import person_for_token

SCHEME = "bearer"


class BearerAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer byoca_...`. Unknown, revoked and expired tokens get the same 401."""

    def authenticate(self, request: Request) -> tuple[Person, None] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, secret = header.partition(" ")
        if not header:
            return None
        if scheme.lower() != SCHEME or not secret.strip():
            raise AuthenticationFailed("Send the token as: Authorization: Bearer byoca_...", code="bad_header")
        person = person_for_token(secret.strip())
        if person is None:
            raise AuthenticationFailed("This token is not known, revoked or expired. Make a new one.", code="bad_token")
        return person, None

    def authenticate_header(self, request: Request) -> str:
        """Named so that a refusal is a 401; RFC 6750 section 3."""
        sent = bool(request.META.get("HTTP_AUTHORIZATION"))
        return 'Bearer realm="BYOCA Portal"' + (', error="invalid_token"' if sent else "")
