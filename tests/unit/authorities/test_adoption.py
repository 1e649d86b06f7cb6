"""A CA that somebody uploaded outside the portal gets a record here, and Cloudflare hears nothing of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.authorities.adoption import adopt_ca, inspect_adoption
from apps.authorities.intake import PeopleSay
from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import slots_of
from apps.errors import Conflict, Forbidden, Invalid, NotFound
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeCertificate
from tests.certs import Made, make_leaf
from tests.certs import make_ca as make_certificate
from tests.factories import actor, make_account, make_ca, make_team
from tests.private_keys import private_keys

pytestmark = pytest.mark.django_db
UPLOADED = datetime(2024, 3, 1, tzinfo=UTC)


def outside(account: Account, made: Made, number: int = 7, **values: Any) -> EdgeCertificate:
    """As if the account's listing had returned a CA that nobody here uploaded."""
    return EdgeCertificate.objects.create(
        **{
            "account": account,
            "cloudflare_id": f"00000000-0000-4000-9000-{number:012x}",
            "name": "Legacy",
            "fingerprint": made.fingerprint,
            "pem": made.pem,
            "uploaded_at": UPLOADED,
            **values,
        }
    )


def adopt(account: Account, row: EdgeCertificate, **more: Any) -> CertificateAuthority:
    by, cloudflare_id = more.pop("by", actor(Role.ENGINEER)), more.pop("cloudflare_id", row.cloudflare_id)
    people = PeopleSay(**{"name": "Legacy", "reason": "Partners of 2023", **more})
    return adopt_ca(by=by, account=account, cloudflare_id=cloudflare_id, people=people)


def test_it_is_live_at_once_under_its_id_and_takes_no_further_slot() -> None:
    account, made, team = make_account(slot_limit=1), make_certificate("Legacy Root"), make_team()
    row = outside(account, made)
    ca = adopt(account, row, client_issuers="self", owner_team=team)
    ca.refresh_from_db()
    assert (ca.state, ca.cloudflare_id, ca.fingerprint) == ("live", row.cloudflare_id, made.fingerprint)
    assert (ca.adopted, ca.live_at, ca.owner_team) == (True, UPLOADED, team)
    assert ca.issuer_skis == frozenset({made.ski})
    slots = slots_of(account)
    assert [(holder.ca, holder.label) for holder in slots.holders] == [(ca, "Legacy")]
    event = AuditEvent.objects.get(action="ca:adopted")
    assert event.after is not None
    assert (event.reason, event.after["cloudflare_id"], event.after["owner_team"]) == (
        "Partners of 2023", row.cloudflare_id, team.slug,
    )  # fmt: skip


def test_who_signs_the_clients_is_not_guessed() -> None:
    account = make_account()
    ca = adopt(account, outside(account, make_certificate("Root")))
    assert (ca.issuer_skis, ca.client_issuers) == (None, "")
    event = AuditEvent.objects.get(action="ca:adopted")
    assert event.after and event.after["client_issuers"] == "not known"


def test_what_an_upload_would_be_refused_for_is_a_caution() -> None:
    account = make_account()
    expired = make_certificate(
        "Old", not_before=datetime(2010, 1, 1, tzinfo=UTC), not_after=datetime(2020, 1, 1, tzinfo=UTC)
    )
    leaf = make_leaf(issuer=make_certificate("Issuer"))
    assert adopt(account, outside(account, expired)).findings[0]["check"] == "valid_now"
    ca = adopt(account, outside(account, leaf, 8), name="Odd")
    assert {finding["check"] for finding in ca.findings} >= {"is_ca"}
    events = AuditEvent.objects.filter(action="ca:adopted").order_by("seq")
    assert [event.after["expired"] for event in events if event.after] == [True, False]


def test_what_would_make_a_wrong_record_is_refused_with_every_reason() -> None:
    account, made = make_account(), make_certificate("Root")
    row = outside(account, made)
    make_ca(account, name="Taken", live=False)
    with pytest.raises(Invalid) as refused:
        adopt(account, row, name="Taken", reason=" ", client_issuers="both")
    assert set(refused.value.details) == {"name", "reason", "client_issuers"}
    with pytest.raises(Invalid) as refused:
        adopt(account, row, name="", reason=str(private_keys()["PKCS#1"], "ascii"))
    assert set(refused.value.details) == {"name", "reason"}
    assert "BEGIN" not in str(refused.value.details)
    with pytest.raises(Invalid) as refused:
        adopt(account, row, reason="a\0b")
    assert "NUL" in refused.value.details["reason"][0]
    assert CertificateAuthority.objects.count() == 1


def test_what_cannot_be_read_is_not_adopted() -> None:
    account = make_account()
    row = outside(
        account,
        make_certificate("Root"),
        pem="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        fingerprint="",
    )
    seen = inspect_adoption(account=account, row=row, name="", now=timezone.now())
    assert (seen.certificate, seen.verdict) == (None, "refuse")
    with pytest.raises(Invalid) as refused:
        adopt(account, row)
    assert refused.value.details["pem"]


def test_only_a_listed_slot_without_a_record_and_only_by_an_engineer() -> None:
    account, made = make_account(), make_certificate("Root")
    row = outside(account, made)
    leaf = outside(account, make_certificate("Leaf"), 8, is_ca=False)
    for gone in (leaf, EdgeCertificate(cloudflare_id="nobody")):
        with pytest.raises(NotFound):
            adopt(account, gone)
    with pytest.raises(NotFound):
        adopt(make_account(), row)
    with pytest.raises(Forbidden):
        adopt(account, row, by=actor(Role.OWNER))
    adopt(account, row)
    with pytest.raises(Conflict, match="here already as Legacy"):
        adopt(account, row, name="Again")
