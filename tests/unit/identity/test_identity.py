"""Who may do what, and tokens that only their holder knows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.audit.models import AuditEvent
from apps.errors import Forbidden, Invalid, NotFound
from apps.identity.actors import Actor
from apps.identity.models import ApiToken, HostnameGrant, Person, RoleGrant
from apps.identity.permissions import Permission, Role, allowed
from apps.identity.selectors import people_with, person_for_token, reserved_teams
from apps.identity.services import create_person, create_token, revoke_token, set_address
from tests.factories import SETUP, actor, make_person, make_team

pytestmark = pytest.mark.django_db


def test_permissions_are_in_alphabetical_order_and_no_role_both_manages_accounts_and_approves() -> None:
    values = [permission.value for permission in Permission]
    assert values == sorted(values)
    for role in Role:
        roles = frozenset({role})
        assert not (allowed(roles, Permission.ACCOUNT_MANAGE) and allowed(roles, Permission.REQUEST_APPROVE))


def test_a_role_taken_away_acts_at_once() -> None:
    engineer = actor(Role.ENGINEER)
    assert engineer.may(Permission.CA_UPLOAD)
    RoleGrant.objects.all().delete()
    assert not engineer.may(Permission.CA_UPLOAD)
    with pytest.raises(Forbidden, match="Ask a security engineer"):
        engineer.require(Permission.CA_UPLOAD)


def test_a_switched_off_person_and_the_portal_itself_may_nothing() -> None:
    engineer = actor(Role.ENGINEER)
    Person.objects.update(is_active=False)
    assert not engineer.may(Permission.CA_READ)
    assert not Actor.portal().may(Permission.CA_READ)
    assert Actor.portal().roles == frozenset()


def test_adding_a_person_needs_an_administrator_or_the_command_line() -> None:
    team = make_team("Payments")
    values = {"username": "mara", "password": "long enough words", "display_name": "Mara Okafor"}
    with pytest.raises(Forbidden):
        create_person(by=actor(Role.ENGINEER), roles=[Role.OWNER], **values)
    person = create_person(by=SETUP, roles=[Role.OWNER], teams=[team], **values)
    assert person.check_password("long enough words")
    assert (str(person), person.initials) == ("Mara Okafor", "MO")
    assert AuditEvent.objects.get(action="person:added").after == {"roles": ["owner"], "teams": [team.slug]}
    with pytest.raises(Invalid, match="exists already"):
        create_person(by=actor(Role.ADMIN), roles=[], **{**values, "username": "MARA"})


def test_an_address_is_a_mail_address_or_none_and_the_log_does_not_name_it() -> None:
    someone = actor(Role.OWNER)
    assert set_address(by=someone, email=" mara@pay.example ").email == "mara@pay.example"
    for refused in ("mara", "mara@pay.example\r\nBcc: x@evil.example", "m\x00@pay.example", "jörg@pay.example"):
        with pytest.raises(Invalid, match=r"no mail address|NUL"):
            set_address(by=someone, email=refused)
    with pytest.raises(Invalid, match="longer"):
        set_address(by=someone, email=f"mara@{'.'.join(['a' * 60] * 5)}.example")
    assert set_address(by=someone, email="").email == ""
    events = AuditEvent.objects.filter(action="person:address_set")
    assert [event.after for event in events] == [{"has_address": False}, {"has_address": True}]
    assert "mara@" not in str(list(events.values()))
    with pytest.raises(Forbidden):
        set_address(by=SETUP, email="x@pay.example")
    made = {"username": "tom", "password": "long enough words", "display_name": "Tom", "roles": []}
    assert create_person(by=SETUP, email="tom@pay.example", **made).email == "tom@pay.example"


def test_a_token_works_until_it_is_revoked_and_is_never_stored_in_clear() -> None:
    owner = actor(Role.OWNER)
    token, secret = create_token(by=owner, name="pipeline")
    assert person_for_token(secret) == owner.person
    assert person_for_token(secret + "x") is None
    row = ApiToken.objects.values().get(pk=token.pk)
    assert secret not in str(row)
    assert row["last_used_at"] is not None
    revoke_token(by=owner, token_id=token.pk)
    assert person_for_token(secret) is None
    assert not [event for event in AuditEvent.objects.all() if secret in str(event.__dict__)]


def test_an_expired_token_and_one_of_a_switched_off_person_do_not_work() -> None:
    owner = actor(Role.OWNER)
    _, expired = create_token(by=owner, name="old", expires_at=timezone.now() - timedelta(seconds=1))
    _, secret = create_token(by=owner, name="good")
    assert person_for_token(expired) is None
    Person.objects.update(is_active=False)
    assert person_for_token(secret) is None


def test_the_last_use_is_not_written_at_every_call() -> None:
    owner = actor(Role.OWNER)
    token, secret = create_token(by=owner, name="pipeline")
    person_for_token(secret)
    first = ApiToken.objects.get(pk=token.pk).last_used_at
    person_for_token(secret)
    assert ApiToken.objects.get(pk=token.pk).last_used_at == first


def test_a_token_needs_a_name_and_belongs_to_one_person() -> None:
    owner, other = actor(Role.OWNER), actor(Role.ENGINEER)
    with pytest.raises(Invalid, match="name"):
        create_token(by=owner, name=" ")
    token, _ = create_token(by=owner, name="mine")
    with pytest.raises(NotFound):
        revoke_token(by=other, token_id=token.pk)


def test_the_longest_reserved_suffix_wins_and_only_at_a_dot() -> None:
    fleet, pay = make_team("Fleet"), make_team("Pay")
    HostnameGrant.objects.create(team=fleet, suffix="shop.example")
    HostnameGrant.objects.create(team=pay, suffix="pay.shop.example")
    found = reserved_teams(["a.pay.shop.example", "b.shop.example", "shop.example", "workshop.example"])
    assert found == {"a.pay.shop.example": pay, "b.shop.example": fleet, "shop.example": fleet}


def test_people_with_a_permission_are_named() -> None:
    engineer = make_person(Role.ENGINEER, username="tom")
    make_person(Role.OWNER)
    assert list(people_with(Permission.REQUEST_APPROVE)) == [engineer]
    assert str(engineer) == "tom"
    assert engineer.initials == "TO"
