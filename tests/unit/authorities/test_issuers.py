"""Who signs a CA's clients is read from certificates, checked up to the CA, and never guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.authorities.issuers import read_issuers, skis_of
from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.errors import Invalid
from apps.identity.permissions import Role
from apps.pki.certificate import read_certificate
from tests.certs import Made, make_ca, make_leaf
from tests.factories import actor, make_account

pytestmark = pytest.mark.django_db


def admitted(made: Made, *, client_issuers: str = "") -> CertificateAuthority:
    return admit_ca(
        by=actor(Role.ENGINEER), account=make_account(), name="Root", data=made.pem, client_issuers=client_issuers
    )


def ski(made: Made) -> str:
    return read_certificate(made.der).ski


def refusals(ca: CertificateAuthority, *entries: str) -> str:
    with pytest.raises(Invalid) as refused:
        read_issuers(ca, entries)
    return " ".join(refused.value.details["issuers"])


def test_what_is_said_at_the_upload_is_the_first_set() -> None:
    assert admitted(make_ca("Root"), client_issuers="self").issuer_skis is not None
    unknown = admitted(make_ca("Root"))
    assert (unknown.issuers, unknown.issuer_skis) == ([], None)


def test_the_ca_itself_and_intermediates_of_any_depth() -> None:
    root = make_ca("Root")
    ca = admitted(root)
    first = make_ca("First", issuer=root)
    second = make_ca("Second", issuer=first)
    assert skis_of(read_issuers(ca, ["self"])) == {ski(root)} == skis_of(read_issuers(ca, [root.pem]))
    found = read_issuers(ca, ["self", first.pem + second.pem])
    assert skis_of(found) == {ski(root), ski(first), ski(second)}
    assert {issuer["source"] for issuer in found} == {"self", "intermediate"}
    assert read_issuers(ca, []) == []


def test_an_intermediate_that_does_not_lead_to_the_ca_is_refused() -> None:
    root = make_ca("Root")
    ca = admitted(root)
    stranger = make_ca("Stranger", issuer=make_ca("Other root"))
    assert "does not lead to Root" in refusals(ca, stranger.pem)
    middle = make_ca("Middle", issuer=root)
    assert "Paste the intermediates between" in refusals(ca, make_ca("Below", issuer=middle).pem)
    now = timezone.now()
    late = make_ca("Late", issuer=root, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    assert "expired" in refusals(ca, late.pem)


def test_a_sample_teaches_its_issuer() -> None:
    root = make_ca("Root")
    ca = admitted(root)
    middle = make_ca("Middle", issuer=root)
    assert skis_of(read_issuers(ca, [make_leaf("client", issuer=root).pem])) == {ski(root)}
    sample = make_leaf("client", issuer=middle)
    (learned,) = read_issuers(ca, [sample.pem])
    assert (learned["source"], learned["ski"]) == ("sample", ski(middle))
    assert "not proven" in learned["note"]
    (proven,) = read_issuers(ca, [sample.pem, middle.pem])
    assert (proven["source"], proven["ski"]) == ("intermediate", ski(middle))
    forged = make_leaf("client", issuer=make_ca("Root"))
    assert "did not sign it" in refusals(ca, forged.pem)


def test_what_cannot_be_pinned_or_read_says_so() -> None:
    root = make_ca("Root", ski=False)
    ca = admitted(root)
    assert "no Subject Key Identifier" in refusals(ca, "self")
    other = admitted(make_ca("Other"))
    assert "private key" in refusals(other, make_ca("Key").key_pem).lower()
    assert refusals(other, "garbage")


def test_more_issuers_than_fit_are_refused() -> None:
    root = make_ca("Root")
    ca = admitted(root)
    many = [make_ca(f"Middle {n}", issuer=root).pem for n in range(21)]
    assert "At most 20" in refusals(ca, *many)
