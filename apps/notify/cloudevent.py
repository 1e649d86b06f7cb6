"""An audit event as a CloudEvents 1.0 body (structured mode), signed as Standard Webhooks describes.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets

from django.conf import settings

from apps.audit.models import AuditEvent
from apps.errors import Invalid
from apps.notify.kinds import KINDS, why_of

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def body_of(event: AuditEvent) -> bytes:
    """`source` and `id` together name the event, the same on every attempt and for every receiver."""
    kind = KINDS[event.action]
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id(event),
            "source": settings.BYOCA_PUBLIC_URL,
            "type": f"byoca.{event.action.replace(':', '.')}",
            "subject": event.subject_label,
            "time": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {
                "headline": kind.headline_of([event]),
                "hostnames": event.hostnames,
                "zone": event.zone,
                "account": event.account,
                "why": why_of(event),
                "url": f"{settings.BYOCA_PUBLIC_URL}{kind.path_of([event])}",
            },
        }
    ).encode()


def event_id(event: AuditEvent) -> str:
    return f"audit-{event.seq}"


def signed_headers(body: bytes, *, message_id: str, at: int, secret: str) -> dict[str, str]:
    """`at` is in seconds since 1970. The HMAC-SHA256 covers id, time and body, so none of them can be exchanged."""
    signed = b".".join([message_id.encode(), str(at).encode(), body])
    digest = hmac.digest(key_of(secret), signed, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises Invalid for text that is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        message = "A secret is whsec_ and the base64 of 24 to 64 bytes. Leave it empty, and one is made."
        raise Invalid(message, field="secret")
    return key
