"""Adding and removing receivers of webhooks. URL and secret are stored sealed and never shown again."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from uuid import UUID

import httpx
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.audit.services import record
from apps.errors import Conflict, Invalid, NotFound
from apps.identity.actors import Actor
from apps.inventory.credentials import decrypt, encrypt
from apps.inventory.services import require_manager
from apps.notify.cloudevent import key_of, new_secret
from apps.notify.models import Notice, Webhook
from apps.notify.selectors import waiting_of, webhooks
from apps.outbound.addresses import Policy
from apps.pki.free_text import text_faults

MOST_WEBHOOKS = 10
MOST_URL = 1000
# What DNS allows.
MOST_NAME = 253
PORTS = range(1, 65536)
NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True)
class Target:
    """Where to post, and what to sign with. Lives in memory only."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return "<Target>"


@transaction.atomic
def add_webhook(*, by: Actor, name: str, url: str, secret: str = "") -> tuple[Webhook, str]:
    """Add a receiver. Returns the row and the secret, which is made when none is given and never readable again.

    Raises Forbidden, Invalid by field, or Conflict for the eleventh.
    """
    require_manager(by)
    if faults := text_faults(name=name, url=url, secret=secret):
        raise Invalid("The webhook was not added.", details=faults)
    if not name.strip() or not name.isprintable():
        raise Invalid("Give it a name of one line, so that you know it again.", field="name")
    parsed = _checked_url(url.strip())
    secret = secret.strip() or new_secret()
    key_of(secret)
    if webhooks().count() >= MOST_WEBHOOKS:
        raise Conflict(f"There are {MOST_WEBHOOKS} webhooks already. Remove one first.", code="too_many")
    hook = Webhook(name=name.strip()[:80], origin=origin_of(parsed), created_by_label=by.label)
    hook.sealed = encrypt(json.dumps({"url": str(parsed), "secret": secret}), bound_to=_row(hook))
    hook.save(force_insert=True)
    after = {"name": hook.name, "origin": hook.origin}
    record(by=by, action="webhook:added", subject=("webhook", hook.pk, hook.name), after=after)
    return hook, secret


@transaction.atomic
def remove_webhook(*, by: Actor, webhook_id: UUID) -> Webhook:
    """Nothing is sent to it any more, and its secret is forgotten. Raises Forbidden or NotFound."""
    require_manager(by)
    hook = webhooks().select_for_update().filter(pk=webhook_id).first()
    if hook is None:
        raise NotFound("No such webhook. It may be removed already.")
    hook.removed_at, hook.sealed = timezone.now(), ""
    hook.save(update_fields=["removed_at", "sealed"])
    # What a worker is at right now it ends itself: waiting for its rows here, each might wait for the other.
    free = waiting_of(hook.pk).select_for_update(skip_locked=True)
    Notice.objects.filter(pk__in=free.values("pk")).update(
        state=Notice.State.NOT_DELIVERED, ended_at=timezone.now(), last_error="The webhook was removed."
    )
    before = {"name": hook.name, "origin": hook.origin}
    record(by=by, action="webhook:removed", subject=("webhook", hook.pk, hook.name), before=before)
    return hook


def target_of(hook: Webhook) -> Target:
    """Raises CredentialUnreadable."""
    return Target(**json.loads(decrypt(hook.sealed, bound_to=_row(hook))))


def policy() -> Policy:
    """Which addresses may be posted to: public ones, and those that whoever deploys the portal allowed."""
    return Policy(
        test_ranges=tuple(ipaddress.ip_network(text) for text in settings.BYOCA_WEBHOOK_RANGES),
        own_ranges=tuple(ipaddress.ip_network(text) for text in settings.BYOCA_PROBE_OWN_RANGES),
    )


def origin_of(url: httpx.URL) -> str:
    return f"https://{url.netloc.decode('ascii')}"


def _row(hook: Webhook) -> str:
    return f"webhook:{hook.pk}"


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme != "https" or not _is_host(url.raw_host.decode("ascii")) or len(text) > MOST_URL:
        message = (
            "Give the receiver's address as https://host/path. Plain http is refused: anybody on the way could read."
        )
        raise Invalid(message, field="url")
    if url.port is not None and url.port not in PORTS:
        raise Invalid("A port is a number from 1 to 65535. Leave it out for 443.", field="url")
    if url.userinfo or url.fragment:
        raise Invalid("Leave out name, password and # part: the signature says who sends.", field="url")
    if kind := _literal_refusal(url.host):
        message = (
            f"{url.host} is {kind}, and nothing is sent there. BYOCA_WEBHOOK_RANGES allows ranges of a deployment."
        )
        raise Invalid(message, field="url")
    return url


def _is_host(text: str) -> bool:
    """A name, or an IPv6 address; IPv4 looks like a name."""
    return bool(len(text) <= MOST_NAME and NAME.fullmatch(text)) or (":" in text and _is_address(text))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _literal_refusal(host: str) -> str:
    """For a host that is an address; a name is looked up, and judged, right before each connection."""
    return policy().refusal(host) if _is_address(host) else ""
