"""Paths that do not exist answer in the API's own words, not with a page."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.base import ApiView


@extend_schema(exclude=True)
class UnknownPathView(ApiView):
    """Also keeps Django from redirecting `POST /cas` to `GET /cas/`, which would silently drop the body."""

    def _refuse(self, _request: Request, *_path: str) -> Response:
        raise NotFound

    get = post = put = patch = delete = _refuse
