"""Reading typed values out of a result. Whatever is not what the contract says makes the whole answer unreadable."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from apps.cloudflare.answers import Answer
from apps.cloudflare.errors import Unreadable

T = TypeVar("T")
PER_PAGE = 50
MAX_PAGES = 200
# Accounts, zones, rulesets and rules: 32 hexadecimal digits. Certificates: a UUID of 36 characters.
IDENTIFIER = re.compile(r"[0-9a-fA-F-]{32,36}")


class Caller(Protocol):
    """What a resource needs of the client."""

    def call(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Answer: ...


def segment(value: str, what: str) -> str:
    """An id that is about to become part of a path. Raises ValueError for what is no Cloudflare id."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise ValueError(f"the call needs the {what} id")
    return value


def unreadable(what: str) -> Unreadable:
    return Unreadable(f"Cloudflare's answer is not what its documentation says ({what}). Nothing of it was used.")


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unreadable(what)
    return value


def listing(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise unreadable(what)
    return value


def identifier(row: dict[str, Any]) -> str:
    value = row.get("id")
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise unreadable("id")
    return value


def text(row: dict[str, Any], name: str, default: str | None = None) -> str:
    """A string; an absent or null one is `default`, and unreadable without one. No NUL: PostgreSQL stores none."""
    value = row.get(name)
    if value is None:
        value = default
    if not isinstance(value, str) or "\x00" in value:
        raise unreadable(name)
    return value


def flag(row: dict[str, Any], name: str, *, default: bool) -> bool:
    value = row.get(name, default)
    if not isinstance(value, bool):
        raise unreadable(name)
    return value


def moment(row: dict[str, Any], name: str) -> datetime | None:
    """An RFC 3339 time, aware; None when absent."""
    value = row.get(name)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise unreadable(name) from None
    if at.tzinfo is None:
        raise unreadable(name)
    return at


def all_pages(
    client: Caller, path: str, query: dict[str, str], read: Callable[[dict[str, Any]], T], *, paged: bool
) -> tuple[T, ...]:
    """Every row of a collection. Without `paged`, page numbers are sent only once more than one page is seen.

    A page that fails fails the whole read, and so do a count that does not add up and a row that comes twice: a part
    is never taken for the whole. `Unreadable` when there are more than MAX_PAGES pages.
    """
    rows: dict[str, dict[str, Any]] = {}
    page, pages = 1, 1
    total: int | None = None
    while page <= pages:
        numbers = {"page": str(page), "per_page": str(PER_PAGE)} if paged else {}
        answer = client.call("GET", path, query=query | numbers)
        pages, total = _size(answer)
        if pages > 1 and not paged:
            # The size of an unnumbered page is not documented: start again with one that is known.
            return all_pages(client, path, query, read, paged=True)
        for item in listing(answer.result, "result"):
            row = mapping(item, "result")
            if rows.setdefault(identifier(row), row) is not row:
                raise unreadable("a row came twice")
        page += 1
    if total is None and len(rows) >= PER_PAGE:
        raise unreadable("a full page, and no word on whether it is the last")
    if total is not None and total != len(rows):
        raise unreadable("total_count")
    return tuple(read(row) for row in rows.values())


def _size(answer: Answer) -> tuple[int, int | None]:
    """How many pages, at least one, and how many rows, None if not said."""
    pages, total = answer.info.get("total_pages", 1), answer.info.get("total_count")
    if type(pages) is not int or pages > MAX_PAGES:
        raise unreadable("total_pages")
    if total is not None and type(total) is not int:
        raise unreadable("total_count")
    return max(pages, 1), total
