"""Asking for a plan while Cloudflare does not answer: the page of the request stays, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.inventory.models import Account
from tests.unit.reconcile.conftest import World


@pytest.fixture
def page(world: World, settings: Any, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path
    assert world.owner.person
    client = Client()
    client.force_login(world.owner.person)
    return client


def test_one_without_a_plan_was_tried_again(world: World, page: Client) -> None:
    ca = world.upload("No plan")
    world.edge.switch(down=True)
    request = world.ask(ca, "api.northwind.example")
    answer = page.post(f"/requests/{request.pk}/rebuild/", follow=True)
    html = answer.content.decode()
    assert (answer.status_code, answer.request["PATH_INFO"]) == (200, f"/requests/{request.pk}/")
    assert f"It was tried again, and {request} has no plan yet." in html
    assert "Try now" in html


def test_one_with_a_plan_keeps_it(world: World, page: Client) -> None:
    request = world.ask(world.upload("Old plan"), "api.northwind.example")
    world.edge.switch(down=True)
    answer = page.post(f"/requests/{request.pk}/rebuild/")
    html = answer.content.decode()
    assert answer.status_code == 503
    assert f"No new plan was made. {request} is as it was: rebuild its plan later." in html
    assert 'id="progress"' in html and "api.northwind.example" in html


def test_one_whose_token_cannot_be_read_any_more_keeps_it(world: World, page: Client) -> None:
    request = world.ask(world.upload("Old plan"), "api.northwind.example")
    Account.objects.filter(pk=world.account.pk).update(token_encrypted="not what was stored")
    answer = page.post(f"/requests/{request.pk}/rebuild/")
    html = answer.content.decode()
    assert answer.status_code == 503
    assert f"No new plan was made. {request} is as it was: rebuild its plan later." in html
    assert 'id="progress"' in html and "api.northwind.example" in html
