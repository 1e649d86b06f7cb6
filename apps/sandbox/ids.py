"""Identifiers and times as Cloudflare writes them."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime


def new_hex_id() -> str:
    """32 hex digits: accounts, zones, tokens, rulesets and rules."""
    return secrets.token_hex(16)


def new_certificate_id() -> str:
    """A dashed UUID of 36 characters."""
    return str(uuid.uuid4())


def new_ray() -> str:
    """The value of the `cf-ray` header."""
    return f"{secrets.token_hex(8)}-LOC"


def whole_seconds(moment: datetime) -> str:
    """`2122-10-29T16:59:47Z`, the form of `expires_on`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microseconds(moment: datetime) -> str:
    """`2022-11-22T17:32:30.467938Z`, the form of `uploaded_on` and `last_updated`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
