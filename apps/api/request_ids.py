"""The id that ties one HTTP request to its log lines and audit events."""

from __future__ import annotations

import re
import uuid
from typing import Any

import structlog

# What a caller may choose by X-Request-ID. Anything else would end up, unbounded, in the audit log.
ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_of(request: Any) -> str:
    """What django-structlog bound for this request; a new one when that is not plain and short."""
    held = getattr(request, "byoca_request_id", None)
    if held is None:
        bound = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        held = bound if ACCEPTABLE.fullmatch(bound) else str(uuid.uuid4())
        if request is not None:
            request.byoca_request_id = held
    return str(held)
