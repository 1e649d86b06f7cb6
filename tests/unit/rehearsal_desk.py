"""What rehearsals of the pages and of the API are tried on."""

from __future__ import annotations

from django.utils import timezone

from apps.authorities.services import admit_ca
from apps.identity.permissions import Role
from apps.inventory.models import Account, EdgeRules, Zone
from apps.planning.rule import make_rule
from tests.certs import Made
from tests.factories import actor, at_edge, make_account, make_live

HOST = "api.pay.example"


def account_that_blocks(root: Made) -> Account:
    """One hostname in block under this CA, pinned to it, as the last read showed it."""
    account = make_account()
    ca = make_live(admit_ca(by=actor(Role.ENGINEER), account=account, name="Partners", data=root.pem))
    zone = Zone.objects.get(account=account, name="pay.example")
    at_edge(ca, zone, HOST)
    rule = make_rule("byoca-1-0", "block", [HOST], frozenset({root.ski}))
    found = {
        "id": "1",
        "position": 0,
        "description": "",
        "ref": rule.ref,
        "action": "block",
        "expression": rule.expression,
        "enabled": True,
    }
    EdgeRules.objects.create(zone=zone, rules=[found], read_at=timezone.now(), changed_at=timezone.now())
    return account
