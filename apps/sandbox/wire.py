"""A call as the handlers see it, and an answer as it leaves: the envelope of API v4."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.sandbox import errors
from apps.sandbox.errors import ApiError
from apps.sandbox.switches import Switches
from apps.sandbox.tokens import Token

Query = dict[str, list[str]]


@dataclass
class Call:
    """One authenticated call inside its transaction. `before` and `after` tell the request log what a write changed."""

    db: sqlite3.Connection
    method: str
    path: str
    query: Query
    body: bytes
    token: Token
    switches: Switches
    now: datetime
    params: dict[str, str] = field(default_factory=dict)
    before: list[Any] | None = None
    after: list[Any] | None = None

    def json_object(self) -> dict[str, Any]:
        """The body as an object. Raises ApiError 400."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            raise errors.bad_json() from None
        if not isinstance(value, dict):
            raise errors.bad_json()
        return value

    def first(self, name: str, default: str = "") -> str:
        """The last value given for a query parameter."""
        return self.query.get(name, [default])[-1]

    def whole_number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A paging parameter. Raises ApiError 400 outside lowest..highest."""
        text = self.first(name, str(default))
        if not text.isascii() or not text.isdigit() or not lowest <= int(text[:9]) <= highest:
            raise errors.bad_value(f"{name} must be a whole number from {lowest} to {highest}")
        return int(text)


@dataclass(frozen=True)
class Reply:
    """What a handler answers. Status 204 has no body at all."""

    result: Any
    status: int = 200
    result_info: dict[str, Any] | None = None
    messages: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Delivery:
    """How an answer leaves when a fault is played on its way: `delivery.py` knows the kinds."""

    kind: str
    seconds: float = 0.0
    bytes_per_s: int = 1
    size: int = 0


@dataclass(frozen=True)
class Answer:
    """What goes over the wire. `delivery` None: as it stands. `seq` is its line in the request log, 0 without one."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delivery: Delivery | None = None
    seq: int = 0


def paged(items: Sequence[Any], page: int, per_page: int) -> Reply:
    """One page of a collection with its `result_info`."""
    chosen = list(items[(page - 1) * per_page : page * per_page])
    info = {
        "page": page,
        "per_page": per_page,
        "count": len(chosen),
        "total_count": len(items),
        "total_pages": -(-len(items) // per_page),
    }
    return Reply(chosen, result_info=info)


def success(reply: Reply) -> Answer:
    if reply.status == 204:
        return Answer(204, b"")
    document: dict[str, Any] = {
        "result": reply.result,
        "success": True,
        "errors": [],
        "messages": list(reply.messages),
    }
    if reply.result_info is not None:
        document["result_info"] = reply.result_info
    return Answer(reply.status, json.dumps(document).encode())


def failure(error: ApiError) -> Answer:
    item: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.pointer is not None:
        item["source"] = {"pointer": error.pointer}
    messages = []
    if error.assumed:
        text = "Sandbox: this status, code and text are an assumption. Do not decide anything by them."
        messages.append({"code": 1000, "message": text})
    document = {"result": None, "success": False, "errors": [item], "messages": messages}
    return Answer(error.status, json.dumps(document).encode())
