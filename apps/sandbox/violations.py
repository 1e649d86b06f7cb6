"""What a careful client never sends, whatever it is answered. Checkers ask the request log for these."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs

NO_ID = "hostname_associations without mtls_certificate_id addresses the Managed CA"
NO_HOSTNAMES = "a PUT of hostname_associations without a list of hostnames"
LISTS = re.compile(r"/zones/[^/]+/certificate_authorities/hostname_associations")
CERTIFICATES = re.compile(r"/accounts/[^/]+/mtls_certificates")


def found_in(method: str, path: str, query: str, body: bytes) -> list[str]:
    """Sentences, none for a careful call. `path` is below `/client/v4`."""
    if CERTIFICATES.fullmatch(path) and method == "POST":
        return ["private_key was sent"] if "private_key" in _document(body) else []
    if not LISTS.fullmatch(path):
        return []
    if method != "PUT":
        return [] if parse_qs(query).get("mtls_certificate_id") else [NO_ID]
    sent = _document(body)
    found = [] if isinstance(sent.get("mtls_certificate_id"), str) and sent["mtls_certificate_id"] else [NO_ID]
    return found if isinstance(sent.get("hostnames"), list) else [*found, NO_HOSTNAMES]


def _document(body: bytes) -> dict[str, object]:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return sent if isinstance(sent, dict) else {}
