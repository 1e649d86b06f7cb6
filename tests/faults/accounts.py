"""What an administrator or an impostor does to the portal's one account, and what the portal says of it."""

from __future__ import annotations

from typing import Any

from tests.faults.driver import Driver

MOVE = """
import sys
from apps.inventory.models import Account
Account.objects.update(base_url=sys.argv[1])
"""
REPLACE_TOKEN = """
import sys
from apps.identity.actors import Actor
from apps.inventory.models import Account
from apps.inventory.services import replace_token
replace_token(by=Actor("portal", "portal:test", "Portal (test)", "cli"), account_id=Account.objects.get().pk,
              token=sys.argv[1])
"""

ADD = """
import sys
from apps.identity.actors import Actor
from apps.inventory.services import add_account
by = Actor("portal", "portal:test", "Portal (test)", "cli")
add_account(by=by, name=sys.argv[1], cloudflare_id=sys.argv[2], token=sys.argv[3], mode="read_write")
"""


def add_account(driver: Driver, name: str, *zones: str) -> str:
    """A second account, at the edge's own address, with these zones. Returns Cloudflare's id of it."""
    cloudflare_id = driver.edge.add_account(name)
    driver.edge.seed(*zones, account_id=cloudflare_id)
    token = driver.edge.make_token(name, account_id=cloudflare_id)
    driver.python(ADD, name, cloudflare_id, token)
    return cloudflare_id


def move(driver: Driver, url: str) -> None:
    """Point the account at another address; "" is the edge's own."""
    driver.python(MOVE, url)


def replace_token(driver: Driver) -> None:
    """Give the portal another token, with a budget of its own."""
    token = driver.edge.make_token("the next one")
    driver.tokens |= {str(item["id"]) for item in driver.edge.state()["tokens"]}
    driver.python(REPLACE_TOKEN, token)


def token_in_use(driver: Driver) -> str:
    """Id of the token of the portal's last call."""
    return next(row["token_id"] for row in reversed(driver.edge.requests()) if row["token_id"] in driver.tokens)


def account(driver: Driver) -> dict[str, Any]:
    return dict(driver.get("/accounts/")["results"][0])


def failing(driver: Driver, zone: str) -> bool:
    return bool(next(row for row in driver.zones() if row["name"] == zone)["failing_since"])


def told(driver: Driver, action: str, since: int) -> list[dict[str, Any]]:
    """Events of the audit log with this action, after the first `since` ones."""
    return [event for event in driver.audit()[since:] if event["action"] == action]


def writes(driver: Driver, since: int) -> list[dict[str, Any]]:
    """Whatever the portal asked to change, in any zone; what it only tried is not among it."""
    rows = [row for row in driver.edge.requests(since) if row["method"] != "GET" and row["token_id"] in driver.tokens]
    return [row for row in rows if "dry_run" not in row["query"]]
