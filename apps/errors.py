"""The few ways a request can be refused, for every layer.

An error carries a category, which decides the HTTP status in `web/errors.py` and `api/errors.py`, and a
sentence fit for the person who asked: what happened, why, and what to do.
"""

from __future__ import annotations


class PortalError(Exception):
    """Base of every refusal. `field` names the form field at fault, `code` is stable for programs."""

    category = "error"

    def __init__(self, message: str, *, field: str | None = None, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code or self.category


class NotFound(PortalError):
    """It does not exist, or this person may not know that it does."""

    category = "not_found"


class Forbidden(PortalError):
    """The person is known and may not do this."""

    category = "forbidden"


class Invalid(PortalError):
    """What was sent cannot be accepted. Several reasons may be given at once, by field."""

    category = "invalid"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        code: str = "",
        details: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__(message, field=field, code=code)
        self.details = details or ({field: [message]} if field else {})


class Conflict(PortalError):
    """It was right when the page was drawn and is not any more."""

    category = "conflict"


class Unsafe(PortalError):
    """A guard refused: the act could lock clients out or open a protected hostname."""

    category = "unsafe"


class EdgeFault(PortalError):
    """Cloudflare did not answer, or answered in a way that cannot be used."""

    category = "edge"
