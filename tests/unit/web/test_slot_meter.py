"""The slots beside the upload form: how many are used, by whom, and what the upload would leave."""

from __future__ import annotations

import pytest

from apps.identity.permissions import Role
from apps.inventory.models import Account
from tests.certs import make_ca as make_certificate
from tests.factories import make_account, make_ca
from tests.unit.authorities.test_adoption import outside
from tests.unit.inventory.test_hold_pages import page_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    # Nothing listens there: a page that asked Cloudflare would not come up.
    account = make_account(base_url="http://127.0.0.1:9/client/v4", slot_limit=5)
    make_ca(account, name="Partners")
    outside(account, make_certificate("Legacy Root"))
    return account


def meter(account: Account, limit: int, path: str = "/cas/upload/", **form: str) -> str:
    """The meter's HTML with this many slots."""
    account.slot_limit = limit
    account.save()
    client = page_for(Role.ENGINEER)
    page = (client.post(path, form) if form else client.get(path)).content.decode()
    return page[page.index('id="slot-meter"') :].partition("</section>")[0]


def bars(html: str) -> tuple[int, int, int]:
    """Used, taken by this upload, and left free afterwards."""
    return html.count("<i></i>"), html.count('<i class="this"></i>'), html.count('<i class="free"></i>')


def test_it_shows_what_is_used_and_by_whom(account: Account) -> None:
    html = meter(account, 5)
    assert ("2 of 5 used" in html, bars(html)) == (True, (2, 1, 2))
    assert "After this upload 2 slots are free." in html
    assert ">Partners</a>" in html
    assert "Legacy, uploaded outside" in html


def test_it_follows_the_inspection(account: Account) -> None:
    html = meter(account, 4, "/cas/inspect/", pem=make_certificate("New").pem, name="New")
    assert ("2 of 4 used" in html, bars(html)) == (True, (2, 1, 1))
    assert "After this upload 1 slot is free." in html


def test_the_last_slot_and_none_at_all_are_said_in_words(account: Account) -> None:
    html = meter(account, 3)
    assert ("This takes the last slot" in html, bars(html)) == (True, (2, 1, 0))
    # A limit below what is used stops uploads and takes nothing away.
    for limit in (2, 1):
        html = meter(account, limit)
        assert ("No slot is free. Remove or replace a CA first." in html, bars(html)) == (True, (2, 0, 0))


def test_many_slots_are_counted_and_not_drawn(account: Account) -> None:
    account.slot_limit = 41
    account.save()
    for number in range(9):
        make_ca(account, name=f"Partner {number}")
    html = meter(account, 41)
    assert ("11 of 41 used" in html, bars(html)) == (True, (0, 0, 0))
    assert html.count("<li>") == 10
    assert "All 11 holders" in html
