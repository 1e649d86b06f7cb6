"""The hash of one audit event. Format 1, documented in docs/audit-format.md so that anybody can verify an export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DOMAIN = b"byoca-audit\x001\x00"


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, no blanks, ASCII only: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def event_hash(seq: int, prev_hash: str, content: Mapping[str, Any]) -> str:
    """SHA-256 over domain tag, sequence number, previous hash and content, in lower-case hex."""
    return hashlib.sha256(DOMAIN + f"{seq}\x00{prev_hash}\x00".encode("ascii") + canonical(content)).hexdigest()
