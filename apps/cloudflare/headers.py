"""What the portal takes from Cloudflare's response headers, and how far-side text is made harmless.

https://developers.cloudflare.com/fundamentals/api/reference/limits/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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


def ratelimit(headers: httpx.Headers) -> tuple[int | None, int | None]:
    """Calls left and seconds until the window ends, from `Ratelimit: "default";r=50;t=30`."""
    value = headers.get("ratelimit", "")
    found = [re.search(rf";\s*{key}=([0-9]{{1,9}})\b", value) for key in ("r", "t")]
    left, seconds = (int(match.group(1)) if match else None for match in found)
    return left, seconds


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
