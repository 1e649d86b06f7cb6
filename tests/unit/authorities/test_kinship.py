"""A relative of a CA that has a slot is named before it takes another one."""

from __future__ import annotations

import pytest
from cryptography import x509
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.selectors import inspect_upload
from apps.authorities.services import admit_ca
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeCertificate
from apps.pki.findings import Finding, Severity
from tests.certs import Made, make_ca
from tests.factories import actor, make_account, make_live

pytestmark = pytest.mark.django_db

RELATIONS = {"same_key", "issued_by_slot", "issues_slot"}


def admit(account: Account, made: Made, name: str) -> CertificateAuthority:
    return admit_ca(by=actor(Role.ENGINEER), account=account, name=name, data=made.pem)


def relatives(account: Account, made: Made) -> list[Finding]:
    seen = inspect_upload(account=account, data=made.pem, name="", now=timezone.now())
    found = [finding for finding in seen.findings if finding.check in RELATIONS]
    assert all(finding.severity is Severity.CAUTION for finding in found)
    return found


def test_strangers_have_no_relatives() -> None:
    account = make_account()
    admit(account, make_ca("One"), "One")
    assert relatives(account, make_ca("Two")) == []


def test_a_re_issue_is_told_from_a_cross_sign() -> None:
    account, root = make_account(), make_ca("Root")
    ca = admit(account, root, "Partners")
    (again,) = relatives(account, make_ca("Root", key=root.key))
    assert (again.check, again.message, again.citation) == ("same_key", "Same key as Partners", f"/cas/{ca.pk}/")
    assert again.detail.startswith("A re-issue: valid until ")
    assert "SKI" not in again.detail
    (cross,) = relatives(account, make_ca("Root", key=root.key, issuer=make_ca("Other")))
    assert cross.detail.startswith("A cross-sign: ")


def test_the_same_key_under_another_ski_cannot_share_a_pin() -> None:
    account, root = make_account(), make_ca("Root")
    admit(account, root, "Partners")
    odd = make_ca("Root", key=root.key, ski=False, extensions=[(x509.SubjectKeyIdentifier(b"odd"), False)])
    (found,) = relatives(account, odd)
    assert "Their SKIs differ" in found.detail


def test_a_subordinate_of_a_slot_and_the_issuer_of_one() -> None:
    account, root = make_account(), make_ca("Root")
    below = make_ca("Issuing", issuer=root)
    ca = admit(account, root, "Above")
    (found,) = relatives(account, below)
    assert (found.check, found.message, found.citation) == ("issued_by_slot", "Issued by Above", f"/cas/{ca.pk}/")
    other = make_account()
    admit(other, below, "Below")
    (found,) = relatives(other, root)
    assert (found.check, found.message) == ("issues_slot", "It issued Below")
    assert "every CA below it" in found.detail


def test_what_only_the_edge_holds_counts_once_and_the_unreadable_not_at_all() -> None:
    account, root = make_account(), make_ca("Root")
    made = make_ca("Issuing", issuer=root)
    make_live(admit(account, make_ca("Ours", issuer=root), "Ours"))
    for number, pem in enumerate(
        (root.pem, root.pem, "", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----")
    ):
        EdgeCertificate.objects.create(account=account, cloudflare_id=f"id-{number}", name=f"Theirs {number}", pem=pem)
    found = relatives(account, made)
    assert [(one.check, one.message, one.citation) for one in found] == [
        ("issued_by_slot", "Issued by Theirs 0", "/cas/")
    ]


def test_relatives_are_listed_by_name() -> None:
    account, root = make_account(), make_ca("Root")
    for name in ("Second", "First"):
        admit(account, make_ca(name, issuer=root), name)
    assert [found.message for found in relatives(account, root)] == ["It issued First", "It issued Second"]


def test_the_caution_is_kept_with_the_ca_for_reviewers() -> None:
    account, root = make_account(), make_ca("Root")
    admit(account, root, "Above")
    ca = admit(account, make_ca("Issuing", issuer=root), "Below")
    assert "issued_by_slot" in [finding["check"] for finding in ca.findings]
