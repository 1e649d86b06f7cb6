"""Overrides, limits and undo as pages and API show them: the same rules as in the services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.coverage.models import Association, CoverageRequest
from apps.coverage.selectors import current_plan, request_by_id
from apps.identity.actors import Actor
from apps.identity.permissions import Role
from apps.identity.services import create_token
from apps.inventory.limits import set_limits
from apps.inventory.models import Zone
from apps.reconcile.models import Plan
from tests.factories import SETUP, actor
from tests.unit.reconcile.conftest import World

ZONE = "northwind.example"
NAMES = [f"p{n}.{ZONE}" for n in range(4)]


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    """WhiteNoise warns of a folder that only a deployment has."""
    settings.STATIC_ROOT = tmp_path


def browser(who: Actor) -> Client:
    assert who.person
    client = Client()
    client.force_login(who.person)
    return client


class Caller:
    """A person's programs."""

    def __init__(self, who: Actor) -> None:
        assert who.person
        _, token = create_token(by=Actor.of(who.person, via="cli"), name="test")
        self.client, self.headers = Client(), {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.client.generic(
            method, f"/api/v1{path}", json.dumps(body or {}), "application/json", headers=self.headers
        )


def removal(world: World, name: str) -> CoverageRequest:
    """A removal of three of four hostnames, which the zone's limits call big."""
    set_limits(by=SETUP, zone_id=world.zone().pk, limits={"few": 1}, reason="A small zone")
    ca = world.upload(name)
    assert world.approve(world.ask(ca, *NAMES, mode="verify")).state == "done"
    return world.ask(ca, *NAMES[:3], kind="uncover")


def digest(request: CoverageRequest) -> str:
    plan = current_plan(request_by_id(request.pk))
    assert plan is not None
    return plan.digest


def test_the_api_names_the_guards_and_takes_confirmation_and_override(world: World) -> None:
    request = removal(world, "By API")
    engineer, third = Caller(world.engineer), Caller(world.other_engineer)
    path, named = f"/requests/{request.pk}/", {"digest": digest(request)}
    seen = engineer.send("GET", path).json()
    assert seen["confirm"] == 3
    assert ("ratio", True) in {(row["guard"], row["overridable"]) for row in seen["guards"]}
    assert set(seen["guards"][0]) == {"zone", "guard", "message", "needs", "overridable"}
    refused = engineer.send("POST", f"{path}approve/", named)
    assert (refused.status_code, refused.json()["errors"]["confirm"]) == (
        400, ["This plan removes 3 associations. To approve it, send `confirm` with the number 3."],
    )  # fmt: skip
    approved = engineer.send("POST", f"{path}approve/", {**named, "confirm": 3})
    assert (approved.status_code, approved.json()["approvals"][0]["confirmed"]) == (200, 3)
    world.run()
    waiting = engineer.send("GET", path).json()
    assert (waiting["state"], [row["guard"] for row in waiting["needs_override"]]) == ("approved", ["ratio"])
    body = {**named, "guard": "ratio", "reason": "The partner left."}
    assert engineer.send("POST", f"{path}overrides/", body).status_code == 403
    assert third.send("POST", f"{path}overrides/", {**body, "guard": "emptied"}).status_code == 400
    assert third.send("POST", f"{path}overrides/", {**body, "digest": "0" * 64}).status_code == 409
    given = third.send("POST", f"{path}overrides/", body)
    assert (given.status_code, given.json()["needs_override"]) == (201, [])
    assert given.json()["overrides"][0]["given_by"] == str(world.other_engineer.person)
    world.run()
    done = engineer.send("GET", path).json()
    (change,) = [row["id"] for row in done["changes"] if row["state"] == "applied"]
    assert (done["state"], done["overrides"][0]["used_by"]) == ("done", change)
    refused_change = next(row["id"] for row in done["changes"] if row["state"] == "refused")
    assert engineer.send("GET", f"/changes/{refused_change}/").json()["refusals"][0]["guard"] == "ratio"


def test_an_ordinary_removal_needs_the_digest_alone_by_api_and_the_number_on_the_page(world: World) -> None:
    first, second = world.upload("Ordinary page"), world.upload("Ordinary API")
    assert world.approve(world.ask(first, *NAMES[:2], mode="verify")).state == "done"
    assert world.approve(world.ask(second, *NAMES[2:], mode="verify")).state == "done"
    by_page, by_api = world.ask(first, NAMES[0], kind="uncover"), world.ask(second, NAMES[2], kind="uncover")
    page = browser(world.engineer)
    shown = page.get(f"/requests/{by_page.pk}/").content.decode()
    assert "To approve, type" in shown
    values = {"decision": "approve", "digest": digest(by_page), "confirm": ""}
    refused = page.post(f"/requests/{by_page.pk}/review/", values)
    assert (refused.status_code, "type 1." in refused.content.decode()) == (400, True)
    assert page.post(f"/requests/{by_page.pk}/review/", {**values, "confirm": "1"}).status_code == 302
    named = {"digest": digest(by_api)}
    approved = Caller(world.engineer).send("POST", f"/requests/{by_api.pk}/approve/", named)
    assert (approved.status_code, approved.json()["approvals"][0]["confirmed"]) == (200, None)
    world.run()
    assert {request_by_id(row.pk).state for row in (by_page, by_api)} == {"done"}


def test_a_removal_names_the_owner_of_each_hostname_that_goes_in_the_plan_and_on_the_page(world: World) -> None:
    """F06."""
    ca = world.upload("Owned")
    assert world.approve(world.ask(ca, *NAMES[:2], mode="verify")).state == "done"
    Association.objects.filter(hostname=NAMES[1]).update(owner_team=None)
    request = world.ask(ca, *NAMES[:2], kind="uncover")
    wanted = [{"zone": ZONE, "hostname": NAMES[0], "owner": "Payments"},
              {"zone": ZONE, "hostname": NAMES[1], "owner": ""}]  # fmt: skip
    page = browser(world.engineer)
    assert page.get(f"/requests/{request.pk}/plan.json").json()["owners"] == wanted
    shown = Caller(world.engineer).send("GET", f"/requests/{request.pk}/").json()
    assert shown["plan"]["owners"] == wanted
    cells = page.get(f"/requests/{request.pk}/").content.decode().split('<td data-l="Team">')
    assert [cell.partition("<")[0] for cell in cells[1:]] == ["Payments", "No owner"]
    covering = world.ask(ca, NAMES[2], mode="verify")
    assert page.get(f"/requests/{covering.pk}/plan.json").json()["owners"] == []


def test_the_second_approvers_card_is_for_one_more_person(world: World) -> None:
    request = removal(world, "By page")
    values = {"decision": "approve", "digest": digest(request), "confirm": "3"}
    path = f"/requests/{request.pk}/"
    assert "Needs an override" in browser(world.engineer).get(path).content.decode()
    approved = browser(world.engineer).post(f"{path}review/", values, follow=True)
    assert "It waits for an override now." in approved.content.decode()
    world.run()
    mine = browser(world.engineer).get(path).content.decode()
    assert ("You approved this" in mine, "Let it pass once" in mine) == (True, False)
    third = browser(world.other_engineer)
    assert "Let it pass once" in third.get(path).content.decode()
    sent = {"digest": digest(request), "guard": "ratio", "reason": ""}
    refused = third.post(f"{path}override/", sent)
    assert (refused.status_code, "Say why so many" in refused.content.decode()) == (400, True)
    assert third.post(f"{path}override/", {**sent, "reason": "The partner left."}).status_code == 302
    world.run()
    assert request_by_id(request.pk).state == "done"
    assert "Used" in third.get(path).content.decode()
    change = Plan.objects.get(state="applied", request_ids=[request.pk])
    shown = third.get(f"/changes/{change.pk}/").content.decode()
    for words in ("Passed by override", "Resulting lists", "Calls in order", "Attempts", change.digest):
        assert words in shown, words
    assert "Undo this change" in shown


def test_limits_are_set_by_an_administrator_on_the_page_and_by_api(world: World) -> None:
    zone, admin = world.zone(), actor(Role.ADMIN)
    path = f"/zones/{zone.pk}/limits/"
    page = browser(admin)
    assert "Removal limits" in page.get("/accounts/").content.decode()
    wrong = page.post(path, {"percent": "0", "few": "x", "total": "", "reason": ""})
    assert wrong.status_code == 400
    for words in ("Use a number from 1 to 100.", "Use a number from 0 to 10,000.", "Say why."):
        assert words in wrong.content.decode(), words
    assert page.post(path, {"percent": "20", "few": "10", "total": "", "reason": "Many short lists"}).status_code == 302
    zone.refresh_from_db()
    assert zone.removal_limits == {"percent": 20}, "only what differs is kept"
    viewer = browser(actor(Role.VIEWER))
    assert "An administrator changes them." in viewer.get(path).content.decode()
    assert viewer.post(path, {"percent": "90", "reason": "x"}).status_code == 403
    api = Caller(admin)
    answer = api.send("PUT", path, {"few": 3, "window_hours": 48, "reason": "Slow zone"})
    assert answer.json()["removal_limits"] == {
        "percent": 10, "few": 3, "most_percent": 30, "total": 100, "pairs": 10, "window_hours": 48,
    }  # fmt: skip
    assert api.send("PUT", path, {"pairs": 0, "reason": "x"}).json()["errors"]["pairs"]
    assert api.send("PUT", "/zones/nowhere.example/limits/", {"reason": "x"}).status_code == 404
    assert Zone.objects.get(pk=zone.pk).removal_limits == {"few": 3, "window_hours": 48}


def test_a_change_is_undone_by_page_and_by_api(world: World) -> None:
    ca = world.upload("Back again")
    first = world.approve(world.ask(ca, *NAMES[:2], mode="verify"))
    change = Plan.objects.get(state="applied", request_ids=[first.pk])
    page = browser(world.owner)
    assert "Undo this change" in page.get(f"/changes/{change.pk}/").content.decode()
    empty = page.post(f"/changes/{change.pk}/undo/", {"reason": "", "list": ""})
    assert (empty.status_code, "Say why." in empty.content.decode()) == (400, True)
    sent = page.post(f"/changes/{change.pk}/undo/", {"reason": "Too early", "list": ""})
    request = CoverageRequest.objects.get(undo_of=change.pk)
    assert (sent.status_code, sent["Location"]) == (302, f"/requests/{request.pk}/")
    assert f'to undo <a href="/changes/{change.pk}/">' in page.get(f"/requests/{request.pk}/").content.decode()
    again = page.post(f"/changes/{change.pk}/undo/", {"reason": "Too early", "list": ""})
    assert (again.status_code, "already asks for a change" in again.content.decode()) == (400, True)
    assert world.approve(request).state == "done"
    removed = Plan.objects.get(state="applied", request_ids=[request.pk])
    api = Caller(world.owner)
    path = f"/changes/{removed.pk}/undo/"
    assert api.send("POST", path, {}).status_code == 400
    assert api.send("POST", path, {"reason": "x", "ca": ca.fingerprint, "as_of": str(removed.pk)}).status_code == 409
    made = api.send("POST", path, {"reason": "It was right"})
    assert made.status_code == 201
    (row,) = made.json()["requests"]
    assert (row["kind"], row["undo_of"], row["state"]) == ("cover", str(removed.pk), "waiting")
    assert api.send("GET", f"/changes/{removed.pk}/").json()["undone_by"] == [row["id"]]
