"""A notice as one signed POST. No redirect is followed, no body is read, and one deadline covers the whole call.

Any answer of 2xx is a delivery. The address is judged right before the connection, and the connection goes to exactly
that address (`apps/outbound`).
"""

from __future__ import annotations

import functools
import ssl
import time

import httpcore
import httpx
from django.conf import settings

from apps.inventory.credentials import CredentialUnreadable
from apps.notify.cloudevent import CONTENT_TYPE, body_of, event_id, signed_headers
from apps.notify.kinds import one_line
from apps.notify.models import Notice
from apps.notify.outcome import SENT, Outcome, later, never
from apps.notify.selectors import events_of, webhooks
from apps.notify.webhooks import Target, policy, target_of
from apps.outbound.transport import DEADLINE, DeadlineTransport

GONE = 410
# It answers, and says that it cannot take anything now.
BUSY = frozenset({429, 502, 503, 504})
UNREADABLE = (
    "Its URL and secret cannot be decrypted: the encryption key is missing or was changed. Restore "
    "BYOCA_ENCRYPTION_KEYS, or remove the webhook and add it again."
)


class AddressRefused(Exception):
    """The name leads to an address that is never connected to."""


def post(notices: list[Notice]) -> Outcome:
    """Deliver the one notice. Never raises for what the far side does."""
    notice = notices[0]
    hook = webhooks().filter(pk=notice.recipient).first()
    if hook is None:
        return never("The webhook was removed.")
    try:
        target = target_of(hook)
    except CredentialUnreadable:
        return later(UNREADABLE, receiver_down=True)
    event = events_of(notices)[0]
    return _outcome(target, body_of(event), event_id(event))


def _outcome(target: Target, body: bytes, message_id: str) -> Outcome:
    deadline_s = settings.BYOCA_WEBHOOK_DEADLINE_S
    try:
        status = _status(target, body, message_id, deadline_s)
    except AddressRefused as refused:
        return never(str(refused))
    except (httpx.TimeoutException, httpcore.TimeoutException):
        return later(f"No answer within {deadline_s:g} s.", receiver_down=True)
    except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError) as error:
        return later(one_line(f"The connection failed: {error}".rstrip(": ")), receiver_down=True)
    if 200 <= status < 300:
        return SENT
    if 300 <= status < 400:
        return never(f"It answered {status}, and redirects are not followed. Add the webhook with its final address.")
    if status == GONE:
        return never("It answered 410: it wants nothing any more. Remove the webhook.")
    return later(f"It answered {status}.", receiver_down=status in BUSY)


def _status(target: Target, body: bytes, message_id: str, deadline_s: float) -> int:
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "byoca-portal-webhook",
        **signed_headers(body, message_id=message_id, at=int(time.time()), secret=target.secret),
    }
    limits = {"timeout": httpx.Timeout(deadline_s).as_dict(), DEADLINE: time.monotonic() + deadline_s}
    request = httpx.Request("POST", target.url, headers=headers, content=body, extensions=limits)
    transport = DeadlineTransport(_trust_store(), check=_check)
    try:
        response = transport.handle_request(request)
        response.close()
        return response.status_code
    finally:
        transport.close()


def _check(address: str) -> None:
    if kind := policy().refusal(address):
        raise AddressRefused(
            f"Its name leads to {address}, {kind}, so nothing was sent. BYOCA_WEBHOOK_RANGES allows ranges."
        )


@functools.cache
def _trust_store() -> ssl.SSLContext:
    """The system's roots; SSL_CERT_FILE adds those of a company."""
    return ssl.create_default_context()
