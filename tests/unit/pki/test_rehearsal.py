"""What a rehearsal answers: which CA, through which path, until when, pinned to what, or why not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from apps.errors import Invalid
from apps.pki.certificate import read_certificate
from apps.pki.rehearsal import Rehearsal, TrustedCa, Verdict, rehearse
from tests.certs import CLIENT_AUTH, SERVER_AUTH, Made, make_ca, make_csr, make_key, make_leaf
from tests.unit.pki import raw

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ANY_USAGE = x509.ObjectIdentifier("2.5.29.37.0")


def trusted(made: Made, *issuers: Made, name: str = "") -> TrustedCa:
    facts = read_certificate(made.der)
    known = tuple(read_certificate(issuer.der) for issuer in issuers)
    return TrustedCa(made.fingerprint, name or facts.subject_cn, facts, known)


def paste(*made: Made) -> str:
    return "".join(one.pem for one in made)


def judged(pasted: str | bytes, *cas: TrustedCa, now: datetime = NOW) -> Rehearsal:
    return rehearse(pasted, cas, now=now)


def only(pasted: str, *cas: TrustedCa, now: datetime = NOW) -> Verdict:
    return judged(pasted, *cas, now=now).verdicts[0]


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def shown(path: Sequence[object]) -> list[str]:
    return [one.subject_cn for one in path]  # type: ignore[attr-defined]


def test_a_client_of_a_ca_is_accepted_until_the_earlier_end(root: Made) -> None:
    leaf = make_leaf(issuer=root, not_after=NOW + 30 * DAY)
    verdict = only(leaf.pem, trusted(root))
    assert verdict.accepted
    assert (shown(verdict.path), verdict.sends) == (["client", "Test Root"], ())
    assert (verdict.until, verdict.issuer_ski) == (NOW + 30 * DAY, root.ski)
    brief = make_ca("Brief", not_after=NOW + DAY)
    assert only(make_leaf(issuer=brief).pem, trusted(brief)).until == NOW + DAY


def test_a_der_client_is_read_too(root: Made) -> None:
    assert judged(make_leaf(issuer=root).der, trusted(root)).accepting


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_pin_is_the_direct_issuer_and_the_order_of_the_paste_does_not_matter(
    root: Made, order: tuple[int, int]
) -> None:
    below = make_ca("Issuing", issuer=root)
    both = [make_leaf(issuer=below), below]
    verdict = only(paste(*(both[at] for at in order)), trusted(root))
    assert verdict.accepted
    assert (verdict.issuer_ski, shown(verdict.sends), verdict.cautions) == (below.ski, ["Issuing"], ())


def test_a_known_issuer_completes_the_path_and_has_to_be_sent(root: Made) -> None:
    below = make_ca("Issuing", issuer=root)
    verdict = only(make_leaf(issuer=below).pem, trusted(root, below))
    assert verdict.accepted
    assert [(caution.code, caution.needed_ski) for caution in verdict.cautions] == [("not_sent", below.ski)]
    assert "Issuing" in verdict.cautions[0].message


def test_an_uploaded_intermediate_is_a_ca_of_its_own(root: Made) -> None:
    below = make_ca("Issuing", issuer=root)
    result = judged(make_leaf(issuer=below).pem, trusted(below), trusted(make_ca("Other")))
    assert [verdict.accepted for verdict in result.verdicts] == [True, False]


def test_an_issuer_without_a_key_identifier_cannot_be_pinned() -> None:
    bare = make_ca("Bare", ski=False)
    verdict = only(make_leaf(issuer=bare).pem, trusted(bare))
    assert (verdict.accepted, verdict.issuer_ski) == (True, "")


def test_expired_and_not_yet_valid(root: Made) -> None:
    over = make_leaf(issuer=root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    early = make_leaf(issuer=root, not_before=NOW + DAY)
    assert codes(only(over.pem, trusted(root))) == ["expired"]
    assert codes(only(early.pem, trusted(root))) == ["not_yet_valid"]
    assert only(over.pem, trusted(root), now=NOW - 2 * DAY).accepted is False  # the root is a day old
    assert "expired on" in only(over.pem, trusted(root)).reasons[0].sentence
    assert shown(only(over.pem, trusted(root)).path) == ["client", "Test Root"]


def test_an_expired_ca_or_intermediate_is_named(root: Made) -> None:
    old = make_ca("Old Root", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert "The CA Old Root expired" in only(make_leaf(issuer=old).pem, trusted(old)).reasons[0].message
    below = make_ca("Old Issuing", issuer=root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    pasted = paste(make_leaf(issuer=below), below)
    assert "The intermediate Old Issuing expired" in only(pasted, trusted(root)).reasons[0].message


def test_the_wrong_ca_learns_which_one_is_right(root: Made) -> None:
    other = make_ca("Other Root")
    result = judged(make_leaf(issuer=root).pem, trusted(other), trusted(root, name="Partners"))
    assert codes(result.verdicts[0]) == ["wrong_ca"]
    assert "Partners" in result.verdicts[0].reasons[0].message
    assert (result.reason, [verdict.ca.name for verdict in result.accepting]) == (None, ["Partners"])


def test_another_generation_of_a_ca_is_told_by_its_key(root: Made) -> None:
    newer = make_ca("Test Root", organisation="Northwind", country="SE")
    verdict = only(make_leaf(issuer=newer).pem, trusted(root))
    assert (codes(verdict), verdict.reasons[0].needed_ski) == (["wrong_ca"], newer.ski)
    assert newer.ski in verdict.reasons[0].detail
    assert root.ski in verdict.reasons[0].detail


def test_a_generation_told_by_serial_number_only() -> None:
    named = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Numbered")]))
    authority = x509.AuthorityKeyIdentifier(None, [named], 77)
    issuer = make_ca("Numbered", serial=78)
    verdict = only(make_leaf(issuer=issuer, ski=False, extensions=[(authority, False)]).pem, trusted(issuer))
    assert (codes(verdict), verdict.reasons[0].needed_ski) == (["wrong_ca"], "")


def test_an_unknown_issuer_says_which_key_is_needed(root: Made) -> None:
    stranger = make_ca("Stranger", organisation="Elsewhere")
    result = judged(make_leaf(issuer=stranger).pem, trusted(root))
    assert codes(result.verdicts[0]) == ["unknown_issuer"]
    assert result.reason is not None
    assert (result.reason.code, result.reason.needed_ski) == ("unknown_issuer", stranger.ski)
    assert stranger.ski in result.reason.detail


def test_a_chain_that_ends_at_a_root_of_others(root: Made) -> None:
    stranger = make_ca("Stranger")
    verdict = only(paste(make_leaf(issuer=stranger), stranger), trusted(root))
    assert codes(verdict) == ["unknown_issuer"]
    assert "ends at CN=Stranger" in verdict.reasons[0].message


def test_a_missing_intermediate_is_told_from_a_stranger(root: Made) -> None:
    below = make_ca("Issuing", issuer=root, organisation="Northwind")
    by_organisation = only(make_leaf(issuer=below).pem, trusted(root))
    middle = make_ca("Middle", issuer=root)
    low = make_ca("Low", issuer=middle)
    by_the_rest = only(paste(make_leaf(issuer=low), middle), trusted(root))
    renewed = make_ca("Low", issuer=middle)
    by_another_generation = only(paste(make_leaf(issuer=low), renewed, middle), trusted(root))
    for verdict, needed in ((by_organisation, below), (by_the_rest, low), (by_another_generation, low)):
        assert (codes(verdict), verdict.reasons[0].needed_ski) == (["missing_intermediate"], needed.ski)
        assert needed.ski in verdict.reasons[0].detail


def test_a_missing_intermediate_that_the_client_names_by_its_own_issuer() -> None:
    root = make_ca("Root")
    below = make_ca("Issuing", issuer=root)
    named = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(root.cert.subject)], below.cert.serial_number)
    leaf = make_leaf(issuer=below, ski=False, extensions=[(named, False)])
    verdict = only(leaf.pem, trusted(root))
    assert (codes(verdict), verdict.reasons[0].needed_ski) == (["missing_intermediate"], "")
    assert only(paste(leaf, below), trusted(root)).accepted


def test_a_signature_that_does_not_fit(root: Made) -> None:
    twin = make_ca("Test Root", organisation="Northwind", country="SE", ski=False)
    result = judged(make_leaf(issuer=root).pem, trusted(twin), trusted(make_ca("Other")))
    assert codes(result.verdicts[0]) == ["bad_signature"]
    assert codes(result.verdicts[1]) == ["bad_signature"]
    assert result.reason is not None
    assert result.reason.code == "bad_signature"


def test_a_signature_that_cannot_be_checked() -> None:
    named = raw.name(("2.5.4.3", 0x0C, b"Odd"))
    issuer = read_certificate(raw.raw_certificate(subject=named))
    leaf = raw.armour(raw.raw_certificate(signature_oid="1.2.3.4", issuer=named, extensions=()))
    verdict = only(leaf, TrustedCa("odd", "Odd", issuer))
    assert codes(verdict) == ["signature_unchecked"]
    assert "1.2.3.4" in verdict.reasons[0].message


def test_a_self_signed_client(root: Made) -> None:
    assert codes(only(make_ca("Me", ca=False).pem, trusted(root))) == ["self_signed"]


def test_path_length(root: Made) -> None:
    strict = make_ca("Strict", path_length=0)
    below = make_ca("Issuing", issuer=strict)
    verdict = only(paste(make_leaf(issuer=below), below), trusted(strict))
    assert codes(verdict) == ["path_length"]
    assert "allows no intermediate below it" in verdict.reasons[0].message
    one = make_ca("One", path_length=1)
    first = make_ca("First", issuer=one)
    second = make_ca("Second", issuer=first)
    verdict = only(paste(make_leaf(issuer=second), second, first), trusted(one))
    assert "allows 1 intermediate below it" in verdict.reasons[0].message
    two = make_ca("Two", path_length=2)
    assert only(paste(make_leaf(issuer=two)), trusted(two)).accepted


def test_name_constraints() -> None:
    limits = x509.NameConstraints([x509.DNSName("a.example")], None)
    root = make_ca("Limiting", extensions=[(limits, True)])
    san = x509.SubjectAlternativeName([x509.DNSName("b.example")])
    verdict = only(make_leaf(issuer=root, extensions=[(san, False)]).pem, trusted(root))
    assert codes(verdict) == ["name_constraints"]
    assert "DNS:b.example" in verdict.reasons[0].message


def test_usages_on_the_chain_and_on_the_client(root: Made) -> None:
    servers = make_ca("Servers", extended_key_usage=(SERVER_AUTH,))
    assert codes(only(make_leaf(issuer=servers).pem, trusted(servers))) == ["eku"]
    assert codes(only(make_leaf(issuer=root, server=True).pem, trusted(root))) == ["not_a_client"]
    assert codes(only(make_leaf(issuer=root, key_usage=()).pem, trusted(root))) == ["key_usage"]
    plain = make_leaf(issuer=root, extended_key_usage=(), key_usage=None)
    assert only(plain.pem, trusted(root)).accepted
    no_sign = make_ca("No", key_usage=("crl_sign",))
    assert codes(only(make_leaf(issuer=no_sign).pem, trusted(no_sign))) == ["cert_sign"]
    no_ca = make_ca("Leafy", ca=None, key_usage=None)
    assert codes(only(make_leaf(issuer=no_ca).pem, trusted(no_ca))) == ["not_a_ca"]
    critical = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b""), True)
    assert codes(only(make_leaf(issuer=root, extensions=[critical]).pem, trusted(root))) == ["critical_extension"]


def test_any_usage_is_accepted_with_a_caution(root: Made) -> None:
    verdict = only(make_leaf(issuer=root, extended_key_usage=(ANY_USAGE,)).pem, trusted(root))
    assert verdict.accepted
    assert [caution.code for caution in verdict.cautions] == ["any_usage"]
    both = make_leaf(issuer=root, extended_key_usage=(ANY_USAGE, CLIENT_AUTH))
    assert not only(both.pem, trusted(root)).cautions


def test_every_fault_of_a_path_is_given_at_once(root: Made) -> None:
    leaf = make_leaf(issuer=root, server=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    result = judged(leaf.pem, trusted(root), trusted(make_ca("Other")))
    assert set(codes(result.verdicts[0])) == {"not_a_client", "expired"}
    assert codes(result.verdicts[1]) == ["wrong_ca"]
    assert result.reason == result.verdicts[0].reasons[0]


def test_a_ca_instead_of_a_client(root: Made) -> None:
    result = judged(root.pem, trusted(root, name="Partners"))
    assert result.reason is not None
    assert (result.reason.code, result.reason.message) == ("ca_given", "This is the CA Partners itself")
    below = make_ca("Issuing", issuer=root)
    assert "CN=Issuing" in only(below.pem, trusted(root)).reasons[0].message


def test_an_account_without_cas_still_gets_an_answer(root: Made) -> None:
    result = judged(make_leaf(issuer=root).pem)
    assert (result.verdicts, result.reason.code if result.reason else "") == ((), "unknown_issuer")


def test_cross_signed_issuers_lead_to_both_cas_and_same_names_do_no_harm() -> None:
    key = make_key()
    first, second = make_ca("First"), make_ca("Second", not_after=NOW + 5 * DAY)
    one, two = make_ca("Issuing", issuer=first, key=key), make_ca("Issuing", issuer=second, key=key)
    stranger = make_ca("Issuing", issuer=second)
    pasted = paste(make_leaf(issuer=one), one, two, stranger)
    result = judged(pasted, trusted(second), trusted(first))
    assert [verdict.accepted for verdict in result.verdicts] == [True, True]
    assert result.verdicts[0].until == NOW + 5 * DAY


def test_a_valid_path_is_preferred_to_an_expired_one_and_then_the_longer_lasting() -> None:
    root, key = make_ca("Root"), make_key()
    over = make_ca("Issuing", issuer=root, key=key, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    soon = make_ca("Issuing", issuer=root, key=key, not_after=NOW + DAY)
    later = make_ca("Issuing", issuer=root, key=key, not_after=NOW + 9 * DAY)
    leaf = make_leaf(issuer=over)
    assert only(paste(leaf, over, soon, later), trusted(root)).until == NOW + 9 * DAY
    assert only(paste(leaf, over), trusted(root, soon)).until == NOW + DAY


def test_loops_and_thickets_end_in_an_answer(root: Made) -> None:
    a, b = make_ca("A"), make_ca("B")
    ab, ba = make_ca("A", key=a.key, issuer=b), make_ca("B", key=b.key, issuer=a)
    looped = judged(paste(make_leaf(issuer=a), ab, ba), trusted(root))
    assert looped.reason is not None
    keys = [make_key() for _ in range(9)]
    selves = [make_ca(f"CA {number}", key=key) for number, key in enumerate(keys)]
    mesh = [
        read_certificate(make_ca(f"CA {n}", key=keys[n], issuer=other).der)
        for n in range(9)
        for m, other in enumerate(selves)
        if m != n
    ]
    thicket = TrustedCa("root", "Root", read_certificate(root.der), tuple(mesh))
    assert codes(only(make_leaf(issuer=selves[0]).pem, thicket)) == ["too_complex"]
    old = make_leaf(issuer=selves[0], not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    within = TrustedCa("0", "CA 0", read_certificate(selves[0].der), tuple(mesh))
    assert codes(only(old.pem, within)) == ["expired", "too_complex"]


def test_an_issuer_on_the_loop_itself() -> None:
    """The top was issued by a CA whose name and key stand in the path already, under another key identifier."""
    a, b = make_ca("A"), make_ca("B")
    ab, ba = make_ca("A", key=a.key, issuer=b), make_ca("B", key=b.key, issuer=a, ski=False)
    odd = x509.SubjectKeyIdentifier(b"other")
    renamed = make_ca("A", key=a.key, ski=False, extensions=[(odd, False)])
    result = judged(paste(make_leaf(issuer=a), ab, ba), trusted(renamed))
    assert result.reason is not None
    assert not result.accepting


def test_a_private_key_is_refused_and_not_repeated(root: Made) -> None:
    leaf = make_leaf(issuer=root)
    for pasted in (leaf.pem + leaf.key_pem, leaf.key_pem):
        with pytest.raises(Invalid) as refused:
            judged(pasted, trusted(root))
        assert refused.value.code == "private_key"
        assert leaf.key_pem.splitlines()[1] not in refused.value.message


def test_what_is_no_certificate_or_several_clients_is_refused(root: Made) -> None:
    twice = paste(make_leaf("one", issuer=root), make_leaf("two", issuer=root))
    damaged = raw.armour(raw.raw_certificate(extensions=[raw.BASIC_CONSTRAINTS] * 2))
    for pasted, code in (("", "empty"), ("hello", "no_certificate"), (twice, "several_clients"), (damaged, "readable")):
        with pytest.raises(Invalid) as refused:
            judged(pasted, trusted(root))
        assert refused.value.code == code
    leaf = make_leaf(issuer=root)
    assert judged(paste(leaf, leaf, root), trusted(root)).accepting


def test_refusals_ask_for_a_client_certificate_not_for_a_ca(root: Made) -> None:
    leaf = make_leaf(issuer=root)
    requests = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"
    for pasted in ("", "x" * 70_000, leaf.pem * 11, requests, make_csr(), leaf.key_pem, "PK\x03\x04", requests * 2):
        with pytest.raises(Invalid) as refused:
            judged(pasted, trusted(root))
        sentences = " ".join(refused.value.details["pem"])
        assert "CA certificate" not in sentences
        assert "upload" not in sentences.lower()


def test_long_and_empty_subjects_are_shown_short(root: Made) -> None:
    nobody = raw.raw_certificate(subject=raw.name(), issuer=raw.name(("2.5.4.3", 0x0C, b"S")), extensions=())
    assert "a certificate without subject" in only(raw.armour(nobody), trusted(root)).reasons[0].message
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n" * 64), x509.NameAttribute(NameOID.TITLE, "t" * 64)])
    long = make_leaf(issuer=make_ca("S"), subject=name)
    assert "…" in only(long.pem, trusted(root)).reasons[0].message
