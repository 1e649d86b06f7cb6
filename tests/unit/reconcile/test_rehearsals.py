"""A client certificate against an account: every status a hostname can have, from the edge as it was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.authorities.models import CertificateAuthority
from apps.authorities.services import admit_ca
from apps.coverage.models import Association, CoverageRequest
from apps.errors import Invalid
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeCertificate, EdgeRules, Zone
from apps.planning.rule import make_rule
from apps.reconcile.rehearsals import AccountRehearsal, HostnameVerdict, Status, rehearse_client
from tests.certs import Made, make_leaf
from tests.certs import make_ca as make_certificate
from tests.factories import actor, at_edge, make_account, make_ca, make_live, make_person

pytestmark = pytest.mark.django_db

API, WEB = "api.pay.example", "www.shop.example"


class Stage:
    """An account with two live CAs, A and B, and their certificates with keys."""

    def __init__(self) -> None:
        self.account: Account = make_account()
        self.pay, self.shop = (Zone.objects.get(account=self.account, name=f"{n}.example") for n in ("pay", "shop"))
        self.made = {name: make_certificate(f"Root {name}") for name in "AB"}
        self.cas = {name: make_live(self.admit(name, made)) for name, made in self.made.items()}

    def admit(self, name: str, made: Made) -> CertificateAuthority:
        return admit_ca(by=actor(Role.ENGINEER), account=self.account, name=name, data=made.pem)

    def client(self, of: str = "A", **options: object) -> str:
        return make_leaf(issuer=self.made[of], **options).pem

    def rule(self, *hostnames: str, action: str = "block", pins: str | None = None, enabled: bool = True) -> None:
        wanted = None if pins is None else frozenset(self.made[name].ski for name in pins)
        rule = make_rule("byoca-1-0", action, hostnames, wanted)
        now = timezone.now()
        row, _ = EdgeRules.objects.get_or_create(zone=self.pay, defaults={"read_at": now, "changed_at": now})
        found = {
            "id": "1",
            "position": 0,
            "description": "",
            "ref": rule.ref,
            "action": action,
            "expression": rule.expression,
            "enabled": enabled,
        }
        row.rules = [*row.rules, {**found, "description": ""}]
        row.save()

    def ask(self, pasted: str, hostname: str = "") -> AccountRehearsal:
        return rehearse_client(account=self.account, data=pasted, hostname=hostname, now=datetime.now(UTC))

    def row(self, pasted: str, hostname: str = API) -> HostnameVerdict:
        (row,) = self.ask(pasted, hostname).hostnames
        return row


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_accepted_under_a_rule_pinned_to_its_issuer(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, pins="A")
    row = stage.row(stage.client())
    assert (row.status, row.accepted, row.rule, row.pins) == ("accepted", True, "enforced", (stage.made["A"].ski,))
    assert row.by and row.by.ca == stage.cas["A"]
    assert row.issuer_ski == stage.made["A"].ski
    assert row.until and row.until < timezone.now() + timedelta(days=366)
    assert row.sentence.startswith("A accepts it until ")
    assert row.caution == ""


def test_accepted_though_the_rule_is_not_pinned(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API)
    row = stage.row(stage.client())
    assert (row.status, row.pins) == (Status.ACCEPTED_NOT_PINNED, None)
    assert "clients of any CA" in row.sentence


def test_refused_when_the_rule_is_pinned_to_another_issuer(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, pins="B")
    row = stage.row(stage.client())
    assert (row.status, row.accepted, row.until) == (Status.REFUSED_ISSUER_NOT_PINNED, False, None)
    assert stage.made["A"].ski in row.sentence


def test_every_rule_of_a_hostname_has_its_say(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, pins="AB")
    stage.rule(API)
    assert stage.row(stage.client()).status is Status.ACCEPTED
    stage.rule(API, pins="B")
    row = stage.row(stage.client())
    assert (row.status, row.pins) == (
        Status.REFUSED_ISSUER_NOT_PINNED,
        tuple(sorted(made.ski for made in stage.made.values())),
    )


def test_an_intermediate_is_what_the_rule_needs(stage: Stage) -> None:
    below = make_certificate("Issuing", issuer=stage.made["A"])
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, pins="A")
    row = stage.row(make_leaf(issuer=below).pem + below.pem)
    assert (row.status, row.issuer_ski) == (Status.REFUSED_ISSUER_NOT_PINNED, below.ski)


def test_an_issuer_without_ski_fits_no_pin(stage: Stage) -> None:
    bare = make_certificate("Bare", ski=False)
    at_edge(make_live(stage.admit("Bare", bare)), stage.pay, API)
    stage.rule(API, pins="A")
    row = stage.row(make_leaf(issuer=bare).pem)
    assert row.status is Status.REFUSED_ISSUER_NOT_PINNED
    assert "has no SKI" in row.sentence


@pytest.mark.parametrize(
    ("action", "enabled", "rule", "words"),
    [
        (None, True, "no_rule", "No block rule is in effect"),
        ("log", True, "logging", "only logs"),
        ("block", False, "paused", "switched off"),
    ],
)
def test_without_a_block_rule_it_is_accepted_but_nobody_is_refused(
    stage: Stage, action: str | None, enabled: bool, rule: str, words: str
) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    if action:
        stage.rule(API, action=action, enabled=enabled, pins="A")
    row = stage.row(stage.client())
    assert (row.status, row.rule) == (Status.ACCEPTED_NOT_ENFORCED, rule)
    assert words in row.sentence
    other = stage.row(stage.client("B"))
    assert other.status is Status.REFUSED_NO_ASSOCIATION
    assert "gets through all the same" in other.caution
    assert words in other.caution


def test_a_log_rule_pinned_elsewhere_warns_of_block_mode(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, action="log", pins="B")
    row = stage.row(stage.client())
    assert row.status is Status.ACCEPTED_NOT_ENFORCED
    assert "in block mode it would be refused" in row.caution


def test_a_client_of_another_ca_is_refused_for_lack_of_an_association(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API, pins="A")
    row = stage.row(stage.client("B"))
    assert (row.status, row.caution) == (Status.REFUSED_NO_ASSOCIATION, "")
    assert row.by and row.by.label == "B"
    assert "not associated with this hostname" in row.sentence


def test_an_unpinned_rule_may_let_a_client_of_another_ca_through(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    stage.rule(API)
    row = stage.row(stage.client("B"))
    assert row.status is Status.REFUSED_NO_ASSOCIATION
    assert "may let it through" in row.caution


def test_a_hostname_that_nothing_covers(stage: Stage) -> None:
    row = stage.row(stage.client(), "new.shop.example")
    assert (row.status, row.rule, row.zone) == (Status.REFUSED_NO_ASSOCIATION, "no_rule", stage.shop)
    assert "no CA is associated" in row.sentence
    stage.rule(API)
    locked = stage.row(stage.client(), API)
    assert (locked.status, locked.caution) == (Status.REFUSED_NO_ASSOCIATION, "")


def test_approved_and_not_at_the_edge_yet(stage: Stage) -> None:
    request = CoverageRequest.objects.create(
        account=stage.account, ca=stage.cas["B"], kind="cover", mode="block", reason="x",
        requested_by=make_person(), requested_by_label="x",
    )  # fmt: skip
    Association.objects.create(
        zone=stage.pay, ca=stage.cas["B"], hostname=API, request=request, approved_at=timezone.now()
    )
    row = stage.row(stage.client("B"))
    assert row.status is Status.REFUSED_NO_ASSOCIATION
    assert "approved for this hostname, but not at the edge yet" in row.sentence
    assert [found.hostname for found in stage.ask(stage.client("B")).hostnames] == [API]


def test_a_ca_that_is_not_at_the_edge_accepts_for_nobody(stage: Stage) -> None:
    stage.made["C"] = make_certificate("Root C")
    stage.admit("C", stage.made["C"])
    result = stage.ask(stage.client("C"), API)
    assert [(ca.label, ca.at_edge, ca.verdict.accepted) for ca in result.cas][-1] == ("C", False, True)
    assert "not at the edge yet" in result.hostnames[0].sentence


def test_a_ca_that_only_the_edge_knows_counts(stage: Stage) -> None:
    foreign = make_certificate("Foreign")
    EdgeCertificate.objects.create(
        account=stage.account, cloudflare_id="foreign", name="Theirs", pem=foreign.pem, fingerprint=foreign.fingerprint
    )
    now = timezone.now()
    stage.pay.edge_lists.create(ca_cloudflare_id="foreign", hostnames=[API], read_at=now, changed_at=now)
    row = stage.row(make_leaf(issuer=foreign).pem)
    assert row.status is Status.ACCEPTED_NOT_ENFORCED
    assert row.by and (row.by.ca, row.by.label) == (None, "Theirs")


def test_an_unreadable_ca_at_the_edge_is_said_to_be_unjudged(stage: Stage) -> None:
    EdgeCertificate.objects.create(account=stage.account, cloudflare_id="odd", name="Odd", pem="")
    now = timezone.now()
    stage.pay.edge_lists.create(ca_cloudflare_id="odd", hostnames=[API], read_at=now, changed_at=now)
    result = stage.ask(stage.client(), API)
    assert result.unjudged == ("Odd",)
    assert "Odd cannot be read" in result.hostnames[0].caution


def test_a_refused_certificate_gives_its_reasons_at_every_hostname(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    at_edge(stage.cas["B"], stage.shop, WEB)
    stage.rule(API, pins="A")
    now = datetime.now(UTC)
    over = stage.client(not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    result = stage.ask(over)
    assert [(row.hostname, row.status) for row in result.hostnames] == [
        (API, Status.REFUSED_CERTIFICATE),
        (WEB, Status.REFUSED_CERTIFICATE),
    ]
    assert [reason.code for reason in result.hostnames[0].reasons] == ["expired"]
    assert (result.hostnames[0].caution, result.accepting, len(result.refusing)) == ("", (), 2)
    assert "gets through all the same" in result.hostnames[1].caution


def test_a_stranger_is_refused_everywhere(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API)
    result = stage.ask(make_leaf(issuer=make_certificate("Stranger")).pem)
    assert result.reason and result.reason.code == "unknown_issuer"
    assert result.hostnames[0].by is None
    assert (result.hostnames[0].issuer_ski, result.hostnames[0].until) == ("", None)


def test_accepting_hostnames_come_first(stage: Stage) -> None:
    at_edge(stage.cas["A"], stage.pay, API, "b.pay.example")
    at_edge(stage.cas["B"], stage.pay, "a.pay.example")
    rows = stage.ask(stage.client()).hostnames
    assert [row.hostname for row in rows] == [API, "b.pay.example", "a.pay.example"]


def test_of_two_cas_of_one_hostname_the_one_that_the_rule_names_decides(stage: Stage) -> None:
    """A re-issued CA: the same key accepts the same clients; only a cross-signed path has another direct issuer."""
    key = stage.made["A"].key
    again = make_certificate("Root A", key=key, not_after=datetime.now(UTC) + timedelta(days=9))
    at_edge(stage.cas["A"], stage.pay, API)
    at_edge(make_live(stage.admit("A again", again)), stage.pay, API)
    row = stage.row(stage.client())
    assert row.by and row.by.label == "A"


def test_names_outside_the_account_and_private_keys_are_refused(stage: Stage) -> None:
    for hostname, code in (
        ("www.elsewhere.example", "outside_zones"),
        ("not a name", "not_idna"),
        ("*.pay.example", "wildcard"),
    ):
        with pytest.raises(Invalid) as refused:
            stage.ask(stage.client(), hostname)
        assert (refused.value.field, refused.value.code) == ("hostname", code)
    with pytest.raises(Invalid) as refused:
        stage.ask(make_leaf(issuer=stage.made["A"]).key_pem)
    assert refused.value.code == "private_key"


def test_the_work_does_not_grow_with_queries(stage: Stage, django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def]
    at_edge(stage.cas["A"], stage.pay, *(f"h{number}.pay.example" for number in range(200)))
    pasted = stage.client()
    with django_assert_max_num_queries(8):
        assert len(stage.ask(pasted).accepting) == 200


def test_another_account_is_not_looked_at(stage: Stage) -> None:
    other = make_ca(make_account(zones=("other.example",)))
    at_edge(other, Zone.objects.get(name="other.example"), "x.other.example")
    assert stage.ask(stage.client()).hostnames == ()
