"""The page of one CA: what its hostnames' rules do, zone by zone."""

from __future__ import annotations

import pytest

from apps.identity.permissions import Role
from tests.unit.inventory.test_hold_pages import page_for
from tests.unit.probing.desk import Desk

pytestmark = pytest.mark.django_db
NAMES = ("api.pay.example", "settle.pay.example")


@pytest.mark.parametrize(
    ("asked", "at_the_edge", "words"),
    [
        ({NAMES[0]: "block", NAMES[1]: "block"}, {NAMES: "block"}, ("2 of 2 hostnames in block", "Enforced")),
        ({NAMES[0]: "log"}, {NAMES[:1]: "log"}, ("0 of 1 hostname in block", "Logging")),
        ({NAMES[0]: "block", NAMES[1]: "log"}, {NAMES[:1]: "block"}, ("1 of 2 hostnames in block", "Queued")),
        ({NAMES[0]: "block", NAMES[1]: "verify"}, {NAMES[:1]: "block"}, ("1 of 2 hostnames in block", "No rule")),
    ],
)
def test_its_rules_are_summed_up_by_the_one_that_is_furthest_from_block(
    asked: dict[str, str], at_the_edge: dict[tuple[str, ...], str], words: tuple[str, str]
) -> None:
    desk = Desk()
    for hostname, mode in asked.items():
        desk.approve(hostname, mode=mode)
    for hostnames, action in at_the_edge.items():
        desk.edge(*hostnames, action=action)
    page = page_for(Role.ENGINEER).get(f"/cas/{desk.ca.pk}/").content.decode()
    card = page.partition("Block rules</h2>")[2].partition("</section>")[0]
    for word in words:
        assert word in card, card
