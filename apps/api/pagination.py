"""Every list is paged the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.paginator import InvalidPage
from django.db.models import QuerySet
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request

from apps.errors import NotFound

MOST_PER_PAGE = 500


class Pages(PageNumberPagination):
    """`?page=2&page_size=50`; answers `count`, `next`, `previous` and `results`."""

    page_size_query_param = "page_size"
    max_page_size = MOST_PER_PAGE

    def paginate_queryset(
        self,
        queryset: QuerySet[Any] | Sequence[Any],
        request: Request,
        view: Any = None,  # noqa: ARG002
    ) -> list[Any] | None:
        self.request = request
        size = self.get_page_size(request) or self.page_size
        paginator = self.django_paginator_class(queryset, size)
        number = request.query_params.get(self.page_query_param) or 1
        try:
            self.page = paginator.page(number)
        except InvalidPage:
            raise NotFound(f"No such page. The last one is {paginator.num_pages}.", field="page") from None
        return list(self.page)
