"""From the bytes of a body to Cloudflare's envelope. https://developers.cloudflare.com/fundamentals/api/

    {"success": true, "errors": [], "messages": [], "result": ..., "result_info": {...}}

Strict where an answer is going to be believed, lenient where it only explains a failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from apps.cloudflare.errors import Unreadable
from apps.cloudflare.headers import plain


@dataclass(frozen=True)
class Complaint:
    """One entry of `errors`. `code` is 0 when there is none; texts are as sent, so not yet harmless."""

    code: int
    message: str
    pointer: str


@dataclass(frozen=True)
class Answer:
    """A parsed envelope. `understood` is False for a failure that came without one."""

    success: bool
    result: Any = None
    errors: tuple[Complaint, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    understood: bool = True

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(error.code for error in self.errors if error.code)


def parse(status: int, headers: httpx.Headers, content: bytes, ray: str) -> Answer:
    """Raises Unreadable for a success that is no envelope; a failure without one keeps its status."""
    if status == 204 and not content:
        return Answer(success=True)
    try:
        return _envelope(_json(content))
    except (ValueError, RecursionError):
        if status >= 300:
            return Answer(success=False, understood=False)
    kind = plain(headers.get("content-type", ""), 40) or "no content type"
    raise Unreadable(
        f"Cloudflare's answer could not be read ({kind}). Nothing of it was used. The portal reads again and goes on.",
        status=status,
        ray=ray,
    )


def _json(content: bytes) -> Any:
    value = json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    if b"\\ud" in content.lower():
        # Half of a surrogate pair is no text: it could be neither stored nor sent back.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _envelope(value: Any) -> Answer:
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        raise ValueError("no envelope")
    if value["success"] and "result" not in value:
        raise ValueError("no result")
    info = value.get("result_info")
    return Answer(
        success=value["success"],
        result=value.get("result"),
        errors=_complaints(value.get("errors")),
        info=info if isinstance(info, dict) else {},
    )


def _complaints(value: Any) -> tuple[Complaint, ...]:
    """The entries of `errors`, each followed by those of its `error_chain` (older authentication errors)."""
    found: list[Complaint] = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            code, source = item.get("code"), item.get("source")
            pointer = str(source.get("pointer", "")) if isinstance(source, dict) else ""
            found.append(Complaint(code if type(code) is int else 0, str(item.get("message", "")), pointer))
            found += _complaints(item.get("error_chain"))
    return tuple(found)
