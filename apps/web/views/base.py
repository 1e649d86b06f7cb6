"""What the view modules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.errors import Invalid, NotFound
from apps.identity.models import Team
from apps.inventory.models import Account
from apps.web.context import current_account

PAGE_SIZE = 50


def account_of(request: HttpRequest) -> Account:
    """The account the page is about. Raises NotFound on an installation without any."""
    account = current_account(request)
    if account is None:
        raise NotFound("No Cloudflare account is set up yet. An administrator adds one under Accounts and zones.")
    return account


def page_of(request: HttpRequest, rows: QuerySet[Any] | Sequence[Any], size: int = PAGE_SIZE) -> Page[Any]:
    """The page the query asks for, the nearest one that exists when it asks for another."""
    return Paginator(rows, size).get_page(request.GET.get("page"))


def team_named(slug: str, field: str = "owner_team") -> Team | None:
    """The team of a form's select, None for the empty choice. Raises Invalid."""
    # Compared here and not by the database: PostgreSQL takes no text with a NUL character.
    team = next((team for team in Team.objects.all() if team.slug == slug), None) if slug else None
    if slug and team is None:
        raise Invalid("No such team. Choose one of the list.", field=field)
    return team


def pasted_or_chosen(request: HttpRequest) -> bytes | str:
    """What a form with the fields `pem` and `file` holds: the file if there is one, cut off above the gate's limit."""
    chosen = request.FILES.get("file")
    if chosen is not None and chosen.size:
        return chosen.read(70_000)
    # A browser sends text fields with CRLF, whatever was pasted.
    return request.POST.get("pem", "").replace("\r\n", "\n")


def back_to(request: HttpRequest, fallback: str) -> str:
    """Where a small form on many pages returns to: a path of our own, never another site."""
    target = request.POST.get("next", "")
    parts = urlsplit(target)
    safe = target.startswith("/") and not target.startswith("//") and not parts.netloc and "\\" not in target
    return target if safe else fallback
