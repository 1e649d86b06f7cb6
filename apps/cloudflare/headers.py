"""What the portal takes from Cloudflare's response headers, and how far-side text is made harmless.

https://developers.cloudflare.com/fundamentals/api/reference/limits/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

DEFAULT_PAUSE_S = 300.0
MIN_PAUSE_S = 1.0
MAX_PAUSE_S = 900.0


def plain(text: str, length: int = 300) -> str:
    """Far-side text made fit for a page or a log line: printable characters only, and not too many."""
    return "".join(char if char.isprintable() else " " for char in text[:length]).strip()


def ray_of(headers: httpx.Headers) -> str:
    """Cloudflare's own number of the call; empty when the answer did not come from Cloudflare."""
    return plain(headers.get("cf-ray", ""), 64)


class Ratelimit(NamedTuple):
    """Calls left, seconds until the window ends, and the policy's calls per window; None for what is not said."""

    left: int | None
    reset_s: int | None
    quota: int | None
    window_s: int | None


def ratelimit(headers: httpx.Headers) -> Ratelimit:
    """From `Ratelimit: "default";r=50;t=30` and `Ratelimit-Policy: "default";q=1200;w=300`."""
    state, policy = headers.get("ratelimit", ""), headers.get("ratelimit-policy", "")
    return Ratelimit(_number(state, "r"), _number(state, "t"), _number(policy, "q"), _number(policy, "w"))


def _number(value: str, key: str) -> int | None:
    match = re.search(rf";\s*{key}=([0-9]{{1,9}})\b", value)
    return int(match.group(1)) if match else None


def retry_after_s(headers: httpx.Headers) -> float:
    """Seconds to pause after a 429, within [1, 900]; five minutes when the header is absent or makes no sense."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        seconds = float(text)
    else:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return DEFAULT_PAUSE_S
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, MIN_PAUSE_S), MAX_PAUSE_S)
