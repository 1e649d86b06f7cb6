"""Several certificates in one upload: shown one by one, and the engineer chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apps.pki.candidates import Role
from apps.pki.findings import Severity
from apps.pki.inspection import inspect
from tests.certs import Made, make_ca, make_leaf
from tests.unit.pki import raw
from tests.unit.pki.conftest import Judge, finding, only

NOW = datetime.now(UTC)
REFUSE = Severity.REFUSE


def chain(root: Made) -> tuple[Made, Made]:
    below = make_ca("Issuing", issuer=root)
    return below, make_leaf("client", issuer=below)


def test_each_is_named_judged_and_tied_to_its_signer(root: Made, judge: Judge) -> None:
    below, leaf = chain(root)
    inspection = judge(leaf.pem + below.pem + root.pem)
    seen = [(one.position, one.role, one.signed_by, one.verdict, one.label) for one in inspection.candidates]
    assert seen == [
        (1, Role.LEAF, 2, "refuse", "client"),
        (2, Role.INTERMEDIATE, 3, "accept", "Issuing"),
        (3, Role.ROOT, 3, "accept", "Test Root"),
    ]


def test_none_is_chosen_silently(root: Made, judge: Judge) -> None:
    below, leaf = chain(root)
    inspection = judge(root.pem + below.pem + leaf.pem)
    assert (inspection.verdict, inspection.chosen, inspection.certificate) == ("caution", None, None)
    told = finding(inspection, "one_certificate")
    assert told.message == "The upload holds 3 certificates: 1 root, 1 intermediate, 1 leaf"
    assert told.detail == (
        "Choose the one that goes up: 1. Test Root (root); 2. Issuing (intermediate); 3. client (leaf)."
    )


def test_the_chosen_one_is_judged_as_if_it_were_alone(root: Made, judge: Judge) -> None:
    below, leaf = chain(root)
    data = leaf.pem + below.pem + root.pem
    alone = [(found.check, found.severity) for found in judge(below.pem).findings[1:]]
    for written in (below.fingerprint, below.fingerprint.upper(), f" {below.fingerprint[:2]}:{below.fingerprint[2:]}"):
        inspection = inspect(data, now=NOW, choose=written)
        assert inspection.certificate is not None
        assert (inspection.verdict, inspection.certificate.der) == ("accept", below.der)
        assert [(found.check, found.severity) for found in inspection.findings[1:]] == alone
        assert inspection.findings[0].message == "Certificate 2 of 3 was chosen"
    assert only(inspect(data, now=NOW, choose=leaf.fingerprint), REFUSE) == ["is_ca"]


def test_a_choice_that_is_not_there_is_refused(root: Made, rsa_root: Made) -> None:
    for data in (root.pem, root.pem + make_ca().pem):
        inspection = inspect(data, now=NOW, choose=rsa_root.fingerprint)
        assert (only(inspection, REFUSE), inspection.chosen) == (["chosen_certificate"], None)
    assert inspect(root.pem, now=NOW, choose=root.fingerprint).verdict == "accept"


def test_when_none_can_go_up_every_reason_is_said_with_its_position(root: Made, judge: Judge) -> None:
    bad = raw.raw_certificate(version=7)
    expired = make_ca(not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
    inspection = judge(make_leaf("client", issuer=root).pem + raw.armour(bad) + expired.pem)
    assert (inspection.verdict, inspection.chosen) == ("refuse", None)
    refusals = [found for found in inspection.findings if found.severity is REFUSE]
    reasons = [(found.check, found.position) for found in refusals]
    assert reasons == [("one_certificate", None), ("is_ca", 1), ("readable", 2), ("valid_now", 3)]
    assert "2. damaged certificate (unreadable)" in inspection.findings[0].detail


def test_a_damaged_neighbour_does_not_keep_a_good_one_from_being_chosen(root: Made, judge: Judge) -> None:
    bad = raw.raw_certificate(version=7)
    faulty = raw.raw_certificate(extensions=[raw.BASIC_CONSTRAINTS] * 2)
    data = root.pem + raw.armour(bad) + raw.armour(faulty)
    inspection = judge(data)
    assert [one.role for one in inspection.candidates] == [Role.ROOT, Role.UNREADABLE, Role.UNREADABLE]
    assert (inspection.verdict, len(inspection.certificates)) == ("caution", 2)
    assert inspect(data, now=NOW, choose=root.fingerprint).verdict == "accept"
    assert only(inspect(data, now=NOW, choose=inspection.candidates[1].fingerprint), REFUSE) == ["readable"]


def test_long_and_empty_names_stay_short_in_the_list(judge: Judge) -> None:
    long = raw.raw_certificate(subject=raw.name(("2.5.4.3", 0x0C, b"x" * 200)))
    empty = raw.raw_certificate(subject=raw.name())
    detail = finding(judge(raw.armour(long) + raw.armour(empty)), "one_certificate").detail
    assert "1. " + "x" * 79 + "… (root)" in detail
    assert "2. no subject (root)" in detail


def test_the_same_certificate_twice_is_refused_and_counted_once_among_others(root: Made, judge: Judge) -> None:
    twice = judge(root.pem * 2)
    assert (twice.verdict, only(twice, REFUSE)) == ("refuse", ["one_certificate"])
    assert finding(twice, "one_certificate").detail == "Paste Test Root once."
    among = judge(root.pem * 2 + make_ca("Other").pem)
    assert (among.verdict, len(among.candidates)) == ("caution", 2)
    assert "repeated" in only(among, Severity.NOTE)
    assert inspect(root.pem * 2, now=NOW, choose=root.fingerprint).verdict == "accept"


def test_a_signer_is_found_by_signature_where_names_repeat(root: Made, judge: Judge) -> None:
    namesake = make_ca("Test Root", organisation="Northwind", country="SE")
    below = make_ca("Issuing", issuer=root)
    signers = {one.label: one.signed_by for one in judge(below.pem + namesake.pem + root.pem).candidates}
    assert signers["Issuing"] == 3
    assert judge(below.pem + namesake.pem).candidates[0].signed_by is None


def test_a_signature_that_cannot_be_checked_falls_back_on_the_name(judge: Judge) -> None:
    root = make_ca("Edwards", key="ed25519")
    below = make_ca("Below", issuer=root)
    assert [one.signed_by for one in judge(below.pem + root.pem).candidates] == [2, 2]
