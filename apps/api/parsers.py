"""Strict JSON bodies: one meaning or a refusal.

Python's reader keeps the last of two equal keys, takes NaN, and lets half characters through that no database
stores. Each of these would let the body that was reviewed differ from the one that is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import structlog
from django.conf import settings
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from apps.pki.free_text import without_private_key

log = structlog.get_logger(__name__)
SHOWN_KEY_LENGTH = 40


class TooLarge(APIException):
    """The body is longer than DATA_UPLOAD_MAX_MEMORY_SIZE, which DRF's stream reading does not enforce."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class StrictJsonParser(BaseParser):
    """`application/json` in UTF-8, each key once."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise TooLarge(f"The body is longer than {limit // 1024} KiB. Send less at once.")
        try:
            data = json.loads(raw.decode("utf-8"), object_pairs_hook=_each_key_once, parse_constant=_no_constant)
            json.dumps(data, ensure_ascii=False).encode("utf-8")
            if _holds_nul(data):
                raise ParseError("The body holds a NUL character, which no field takes. Leave it out.")
            clean = _without_private_keys(data)
            holds_key = clean != data
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except UnicodeError:
            raise ParseError("The body is not valid UTF-8 text. Send JSON in UTF-8.") from None
        except ValueError as fault:
            raise ParseError(f"The body is not valid JSON{_place(fault)}.") from None
        if holds_key:
            log.warning("private_key_refused", via="api")
        return clean


def shown(key: str) -> str:
    """A key as it may be named in an answer: short, because people paste secrets into the wrong place."""
    key = without_private_key(key)
    return key if len(key) <= SHOWN_KEY_LENGTH else key[:SHOWN_KEY_LENGTH] + "…"


def _holds_nul(value: Any) -> bool:
    """PostgreSQL stores no NUL, and some fields look it up before they check it."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(_holds_nul, value.keys())) or any(map(_holds_nul, value.values()))
    return isinstance(value, list) and any(map(_holds_nul, value))


def _without_private_keys(value: Any) -> Any:
    """What stands instead is refused like a key by whatever service reads it (INV-35)."""
    if isinstance(value, str):
        return without_private_key(value)
    if isinstance(value, dict):
        return {without_private_key(key): _without_private_keys(one) for key, one in value.items()}
    return [_without_private_keys(one) for one in value] if isinstance(value, list) else value


def _place(fault: ValueError) -> str:
    return f": line {fault.lineno}, column {fault.colno}" if isinstance(fault, json.JSONDecodeError) else ""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            name = shown(key).encode("ascii", "replace").decode()
            raise ParseError(f"The key {name} is given twice. Send each key once.", code="duplicate_key")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is not JSON. Leave the value out or send a number.")
