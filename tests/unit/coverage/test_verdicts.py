"""Every line of a request gets its own verdict, before anything is stored."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.coverage.models import Association, Enforcement
from apps.coverage.services import create_request
from apps.coverage.verdicts import Verdict, assess
from apps.identity.models import HostnameGrant
from apps.identity.permissions import Role
from apps.inventory.models import Zone
from tests.factories import actor, at_edge, make_account, make_ca, make_team

pytestmark = pytest.mark.django_db


class Desk:
    """One account, one live CA, an owner of a team and an engineer."""

    def __init__(self) -> None:
        self.account = make_account()
        self.team = make_team("Payments")
        self.owner = actor(Role.OWNER, teams=(self.team,))
        self.engineer = actor(Role.ENGINEER)
        self.ca = make_ca(self.account, name="Partners")
        self.zone = Zone.objects.get(account=self.account, name="pay.example")

    def one(
        self, text: str, *, kind: str = "cover", mode: str = "verify", by=None, ca=None, override: str = ""
    ) -> Verdict:  # type: ignore[no-untyped-def]
        (verdict,) = assess(by=by or self.owner, ca=ca or self.ca, kind=kind, mode=mode, text=text, override=override)
        return verdict

    def approved(self, hostname: str, *, ca=None, mode: str = "verify", team=None) -> Association:  # type: ignore[no-untyped-def]
        ca = ca or self.ca
        request = create_request(
            by=self.engineer, kind="cover", ca=ca, mode=mode, text=hostname, reason="x", override="x"
        )
        request.state = "done"
        request.save()
        Enforcement.objects.update_or_create(
            zone=self.zone, hostname=hostname, defaults={"mode": mode, "request": request, "live_at": timezone.now()}
        )
        return Association.objects.create(
            zone=self.zone, ca=ca, hostname=hostname, request=request, owner_team=team,
            approved_at=timezone.now(), approved_by_label="x", live_at=timezone.now(),
        )  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_new_hostname_is_ready_in_the_longest_zone(desk: Desk) -> None:
    verdict = desk.one("API.devices.shop.example.")
    assert (verdict.status, verdict.hostname) == ("ready", "api.devices.shop.example")
    assert verdict.zone and verdict.zone.name == "devices.shop.example"
    assert "Read as" in verdict.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("api.elsewhere.example", "outside_zones"),
        ("*.pay.example", "wildcard"),
        ("10.0.0.1", "ip_address"),
        ("a_b.pay.example", "underscore"),
    ],
)
def test_what_cannot_be_covered_says_which_way(desk: Desk, text: str, code: str) -> None:
    verdict = desk.one(text)
    assert (verdict.status, verdict.code) == ("fix", code)
    assert verdict.message.endswith(".")


def test_the_zones_own_name_and_a_repeated_line_are_worth_a_look(desk: Desk) -> None:
    first, second = assess(by=desk.owner, ca=desk.ca, kind="cover", mode="verify", text="pay.example\nPAY.example")
    assert (first.code, second.code) == ("apex", "duplicate")
    assert second.message == "Also on line 1. Counted once."


def test_another_teams_hostname_is_refused_to_owners_but_not_to_engineers(desk: Desk) -> None:
    fleet = make_team("Fleet")
    HostnameGrant.objects.create(team=fleet, suffix="fleet.pay.example")
    assert desk.one("a.fleet.pay.example").code == "other_team"
    assert desk.one("a.fleet.pay.example", by=desk.engineer).status == "ready"
    assert desk.one("a.fleet.pay.example", by=actor(Role.OWNER, teams=(fleet,))).status == "ready"
    desk.approved("b.pay.example", team=fleet)
    assert "Fleet owns" in desk.one("b.pay.example", kind="uncover").message


def test_a_pending_request_for_the_same_hostname_and_ca_is_named(desk: Desk) -> None:
    request = create_request(by=desk.owner, kind="cover", ca=desk.ca, mode="verify", text="a.pay.example", reason="x")
    verdict = desk.one("a.pay.example")
    assert verdict.code == "pending"
    assert f"REQ-{request.pk}" in verdict.message
    assert desk.one("a.pay.example", ca=make_ca(desk.account)).status == "ready"


def test_a_ca_that_cannot_serve_says_why(desk: Desk) -> None:
    assert desk.one("a.pay.example", ca=make_ca(desk.account, live=False)).code == "ca_not_live"
    desk.ca.not_after = timezone.now()
    assert desk.one("a.pay.example").code == "ca_expired"
    desk.ca.not_after = timezone.now() + timedelta(days=9)
    desk.ca.not_before = timezone.now() + timedelta(days=1)
    assert desk.one("a.pay.example").code == "ca_not_yet_valid"


def test_covering_again_changes_the_mode_or_nothing(desk: Desk) -> None:
    desk.approved("a.pay.example", mode="log")
    assert desk.one("a.pay.example", mode="log").code == "already_covered"
    verdict = desk.one("a.pay.example", mode="verify")
    assert (verdict.status, verdict.code) == ("check", "mode_change")
    assert "from log to verify" in verdict.message


def test_a_second_ca_never_weakens_the_mode(desk: Desk) -> None:
    desk.approved("a.pay.example", mode="block")
    second = make_ca(desk.account)
    assert "The mode stays block" in desk.one("a.pay.example", ca=second).message
    assert "Clients of both will pass" in desk.one("a.pay.example", ca=second, mode="block").message


def test_removal_says_what_remains(desk: Desk) -> None:
    assert desk.one("a.pay.example", kind="uncover").code == "not_covered"
    desk.approved("a.pay.example")
    assert desk.one("a.pay.example", kind="uncover").code == "loses_check"
    desk.approved("a.pay.example", ca=make_ca(desk.account, name="Second"))
    assert desk.one("a.pay.example", kind="uncover").message == "Stays on Second"


def test_adopting_needs_the_edge_to_hold_it_unapproved(desk: Desk) -> None:
    assert desk.one("a.pay.example", kind="adopt").code == "not_at_edge"
    at_edge(desk.ca, desk.zone, "a.pay.example", "b.pay.example")
    assert desk.one("a.pay.example", kind="adopt").code == "adopt"
    assert desk.one("a.pay.example").code == "unexpected"
    desk.approved("b.pay.example")
    assert desk.one("b.pay.example", kind="adopt").code == "already_approved"


def test_restoring_needs_an_approval_that_was_at_the_edge(desk: Desk) -> None:
    assert desk.one("a.pay.example", kind="restore").code == "not_covered"
    desk.approved("a.pay.example")
    Association.objects.update(live_at=None)
    assert desk.one("a.pay.example", kind="restore").code == "on_its_way"
    Association.objects.update(live_at=timezone.now())
    assert desk.one("a.pay.example", kind="restore").code == "restore"
    at_edge(desk.ca, desk.zone, "a.pay.example")
    assert desk.one("a.pay.example", kind="restore", mode="block").code == "restore_rule"


def test_an_expired_ca_takes_nothing_new_and_what_it_has_can_be_adopted(desk: Desk) -> None:
    type(desk.ca).objects.update(not_after=timezone.now() - timedelta(days=1))
    desk.ca.refresh_from_db()
    at_edge(desk.ca, desk.zone, "a.pay.example")
    assert desk.one("a.pay.example").code == "ca_expired"
    assert desk.one("a.pay.example", kind="adopt").code == "adopt"


def test_block_needs_a_quiet_period_in_log_or_somebody_who_says_why_not(desk: Desk) -> None:
    new = desk.one("new.pay.example", mode="block")
    assert (new.status, new.code) == ("fix", "needs_log")
    assert "never in log" in new.message
    for mode, words in (("verify", "it is in verify"), ("log", "in log since")):
        desk.approved(f"{mode}.pay.example", mode=mode)
        verdict = desk.one(f"{mode}.pay.example", mode="block")
        assert (verdict.status, verdict.code) == ("fix", "needs_log")
        assert words in verdict.message
    Enforcement.objects.filter(hostname="log.pay.example").update(live_at=None)
    assert "not reached the edge" in desk.one("log.pay.example", mode="block").message
    Enforcement.objects.filter(hostname="log.pay.example").update(live_at=timezone.now() - timedelta(hours=25))
    assert desk.one("log.pay.example", mode="block").code == "mode_change"
    by_override = desk.one("new.pay.example", mode="block", override="Tried in staging")
    assert (by_override.status, by_override.code) == ("check", "override")
    desk.account.quiet_hours = 0
    desk.account.save()
    desk.ca.refresh_from_db()
    Enforcement.objects.filter(hostname="log.pay.example").update(live_at=timezone.now())
    assert desk.one("log.pay.example", mode="block").code == "mode_change"


def test_a_hostname_in_block_stays_there_under_a_second_ca_without_an_override(desk: Desk) -> None:
    desk.approved("a.pay.example", mode="block")
    assert desk.one("a.pay.example", mode="block", ca=make_ca(desk.account)).code == "second_ca"


def test_a_name_belongs_to_the_longest_zone_of_all_accounts(desk: Desk) -> None:
    desk.approved("old.eu.pay.example")
    other = make_account(zones=("eu.pay.example", "only.example"))
    for kind in ("cover", "restore"):
        verdict = desk.one("api.eu.pay.example", kind=kind)
        assert (verdict.status, verdict.code) == ("fix", "other_account")
        assert f"eu.pay.example in {other} holds this name, not pay.example" in verdict.message
    assert desk.one("api.pay.example").status == "ready"
    assert f"only.example in {other}" in desk.one("api.only.example").message
    at_edge(desk.ca, desk.zone, "api.eu.pay.example")
    assert desk.one("api.eu.pay.example", kind="adopt").status == "ready", "else it could never be removed"
    assert desk.one("old.eu.pay.example", kind="uncover").status == "check"
    Zone.objects.filter(name="eu.pay.example").update(status="pending")
    assert desk.one("new.eu.pay.example").status == "ready"


def test_a_zone_that_is_gone_is_named_and_what_it_held_is_in_no_ones_way(desk: Desk) -> None:
    desk.approved("api.pay.example", mode="block")
    Zone.objects.filter(pk=desk.zone.pk).update(vanished_at=timezone.now())
    for kind in ("cover", "uncover"):
        verdict = desk.one("api.pay.example", kind=kind)
        assert (verdict.status, verdict.code) == ("fix", "zone_gone")
        assert "no longer lists pay.example" in verdict.message
    Zone.objects.create(account=desk.account, cloudflare_id="f" * 32, name="pay.example")
    assert desk.one("api.pay.example").status == "ready", "the same name in a zone of its own"
