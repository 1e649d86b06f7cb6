"""The judge of "would this client be let in": associations ask for a certificate, rules refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.certs import Made, make_ca, make_leaf

from .conftest import Edge

ZONE = "northwind.example"
HOST = "api.northwind.example"
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


def authority(name: str, **options: Any) -> Made:
    return make_ca(name, not_before=START, not_after=END, **options)


def client(issuer: Made, **options: Any) -> Made:
    return make_leaf("client", issuer=issuer, **{"not_before": START, "not_after": END, **options})


@pytest.fixture
def root() -> Made:
    return authority("Partner Root")


@pytest.fixture
def ca(edge: Edge, root: Made) -> str:
    """Associated with HOST, and a rule that pins it."""
    added = edge.control("POST", "certificates", {"name": "partner", "certificates": root.pem})[1]["id"]
    associate(edge, added, HOST)
    guard(edge, f'(http.host in {{"{HOST}"}} and (not cf.tls_client_auth.cert_verified or not '
                f'cf.tls_client_auth.cert_issuer_ski in {{"{root.ski}"}}))')  # fmt: skip
    return str(added)


def associate(edge: Edge, ca: str, *hostnames: str) -> None:
    sent = {"zone": ZONE, "mtls_certificate_id": ca, "hostnames": list(hostnames)}
    assert edge.control("POST", "edit", sent)[0] == 200


def guard(edge: Edge, expression: str, **fields: Any) -> None:
    rule = {"ref": "guard", "action": "block", "expression": expression, **fields}
    assert edge.control("POST", "rules/add", {"zone": ZONE, "rule": rule})[0] == 200


def judge(edge: Edge, host: str = HOST, pem: str = "", **fields: Any) -> dict[str, Any]:
    status, document = edge.control("POST", "client", {"host": host, "certificate": pem, **fields})
    assert status == 200, document
    return dict(document)


def test_a_client_of_the_ca_gets_in_and_others_do_not(edge: Edge, root: Made, ca: str) -> None:
    inside = judge(edge, pem=client(root).pem)
    assert (inside["status"], inside["certificate_asked"], inside["verified"], inside["ca"]) == (200, True, True, ca)
    without = judge(edge)
    assert (without["status"], without["certificate_asked"], without["presented"]) == (403, True, False)
    assert without["rule"] == "guard"
    stranger = judge(edge, pem=client(authority("Partner Root")).pem)
    assert (stranger["status"], stranger["presented"], stranger["verified"]) == (403, True, False)


def test_without_an_association_nobody_is_asked(edge: Edge, root: Made, ca: str) -> None:
    associate(edge, ca)
    found = judge(edge, pem=client(root).pem)
    assert (found["status"], found["certificate_asked"], found["presented"]) == (403, False, False)


def test_without_a_rule_nobody_is_refused(edge: Edge, ca: str) -> None:
    edge.control("POST", "rules/delete", {"zone": ZONE, "rule": "guard"})
    found = judge(edge)
    assert (found["status"], found["certificate_asked"]) == (200, True)


@pytest.mark.parametrize(("days", "status"), [(0, 200), (-400, 403), (800, 403)])
def test_dates_count(edge: Edge, root: Made, ca: str, days: int, status: int) -> None:
    edge.clock.advance(timedelta(days=days).total_seconds())
    assert judge(edge, pem=client(root).pem)["status"] == status


def test_an_intermediate_is_followed_and_the_pin_is_the_direct_issuers(edge: Edge, root: Made, ca: str) -> None:
    middle = authority("Middle", issuer=root)
    leaf = client(middle)
    assert judge(edge, pem=leaf.pem)["verified"] is False
    found = judge(edge, pem=leaf.pem + middle.pem)
    assert (found["verified"], found["status"]) == (True, 403)
    guard_again = f'http.host eq "{HOST}" and not cf.tls_client_auth.cert_issuer_ski eq "{middle.ski}"'
    edge.control("POST", "rules/edit", {"zone": ZONE, "rule": "guard", "changes": {"expression": guard_again}})
    assert judge(edge, pem=leaf.pem + middle.pem)["status"] == 200


def test_a_leaf_cannot_vouch_for_another(edge: Edge, root: Made, ca: str) -> None:
    holder = client(root)
    assert judge(edge, pem=client(holder).pem + holder.pem)["verified"] is False


def test_two_cas_on_one_host_both_let_in(edge: Edge, root: Made, ca: str) -> None:
    other = authority("Other Root")
    second = edge.control("POST", "certificates", {"name": "other", "certificates": other.pem})[1]["id"]
    associate(edge, second, HOST)
    assert judge(edge, pem=client(root).pem)["ca"] == ca
    found = judge(edge, pem=client(other).pem)
    assert (found["ca"], found["verified"], found["status"]) == (second, True, 403)


def test_of_two_cas_that_both_verify_the_last_one_deployed_wins(edge: Edge, root: Made, ca: str) -> None:
    bundle = root.pem + authority("Beside it").pem
    second = edge.control("POST", "certificates", {"name": "again", "certificates": bundle})[1]["id"]
    assert judge(edge, pem=client(root).pem)["ca"] == ca, "the newer one does not hold the hostname yet"
    associate(edge, second, HOST)
    assert judge(edge, pem=client(root).pem)["ca"] == second
    associate(edge, ca)
    associate(edge, ca, HOST)
    assert judge(edge, pem=client(root).pem)["ca"] == second, "the CA counts, not its list"
    associate(edge, second)
    assert judge(edge, pem=client(root).pem)["ca"] == ca


@pytest.mark.parametrize(
    ("trusts", "by_root", "by_middle"), [("all", True, True), ("first", False, True), ("last", True, True)]
)
def test_which_block_of_a_chain_is_trusted(edge: Edge, root: Made, trusts: str, by_root: bool, by_middle: bool) -> None:
    """A path through the intermediate, which is presented along, ends at the root where that one is trusted."""
    middle = authority("Middle", issuer=root)
    added = edge.control("POST", "certificates", {"name": "chain", "certificates": middle.pem + root.pem})[1]["id"]
    associate(edge, added, HOST)
    edge.control("POST", "switches", {"chain_trusts": trusts})
    assert judge(edge, pem=client(root).pem)["verified"] is by_root
    assert judge(edge, pem=client(middle).pem + middle.pem)["verified"] is by_middle
    assert judge(edge, pem=client(middle).pem)["verified"] is (trusts != "last"), "without what it stands on"


def test_a_leaf_that_was_taken_as_a_ca_verifies_nobody(edge: Edge, root: Made) -> None:
    holder = client(root)
    edge.control("POST", "switches", {"leaf_as_ca": True})
    sent = {"ca": True, "certificates": holder.pem}
    added = edge.call("POST", edge.certificates(), sent)[1]["result"]["id"]
    associate(edge, added, HOST)
    found = judge(edge, pem=client(holder).pem)
    assert (found["certificate_asked"], found["verified"]) == (True, False)


def test_an_unassociated_ca_verifies_only_with_its_switch(edge: Edge, root: Made, ca: str) -> None:
    other = authority("Other Root")
    edge.control("POST", "certificates", {"name": "other", "certificates": other.pem})
    assert judge(edge, pem=client(other).pem)["verified"] is False
    edge.control("POST", "switches", {"unassociated_ca_verifies": True})
    assert judge(edge, pem=client(other).pem)["verified"] is True


def test_the_edge_may_lag_behind_the_list(edge: Edge, ca: str) -> None:
    edge.control("POST", "switches", {"edge_lag_s": 60})
    edge.clock.advance(60)
    associate(edge, ca)
    assert judge(edge)["certificate_asked"] is True
    edge.clock.advance(60)
    assert judge(edge)["certificate_asked"] is False


def test_rules_are_walked_in_order(edge: Edge, ca: str) -> None:
    skip = {"ref": "skip", "action": "skip", "expression": 'http.request.uri.path eq "/health"'}
    log = {"ref": "log", "action": "log", "expression": "ssl"}
    for rule in (skip, log):
        edge.control("POST", "rules/add", {"zone": ZONE, "rule": rule, "position": {"before": ""}})
    passed = judge(edge, path="/health?full=1")
    assert (passed["status"], passed["rule"], passed["logged"]) == (200, "skip", ["log"])
    assert judge(edge)["status"] == 403
    edge.control("POST", "rules/edit", {"zone": ZONE, "rule": "guard", "changes": {"enabled": False}})
    assert judge(edge)["status"] == 200


def test_a_rule_answers_with_its_own_status_and_unplayed_ones_are_named(edge: Edge) -> None:
    response = {"status_code": 451, "content": "no", "content_type": "text/plain"}
    guard(edge, 'http.request.method in {"POST" "PUT"}', action_parameters={"response": response})
    edge.control(
        "POST",
        "rules/add",
        {"zone": ZONE, "rule": {"ref": "listed", "action": "block", "expression": "ip.src in $bad"}},
    )
    assert judge(edge, method="POST")["status"] == 451
    assert judge(edge)["not_evaluated"] == ["listed: the list $bad is not played here"]


def test_a_port_in_the_host_escapes_a_rule_unless_it_is_dropped(edge: Edge, ca: str) -> None:
    assert judge(edge, f"{HOST}:8443")["status"] == 200
    edge.control("POST", "switches", {"host_keeps_port": False})
    assert judge(edge, f"{HOST}:8443")["status"] == 403


def test_a_switch_can_be_set_for_one_client(edge: Edge, ca: str) -> None:
    assert judge(edge, f"{HOST}:8443", switches={"host_keeps_port": False})["status"] == 403
    assert judge(edge, f"{HOST}:8443")["status"] == 200
    assert edge.control("POST", "client", {"host": HOST, "switches": {"nonsense": 1}})[0] == 400


def test_a_host_of_no_zone_and_a_bad_certificate(edge: Edge, ca: str) -> None:
    assert judge(edge, "a.elsewhere.example")["status"] is None
    assert edge.control("POST", "client", {"host": HOST, "certificate": "nonsense"})[0] == 400
    assert edge.control("POST", "client", {"hostname": HOST})[0] == 400


def test_the_judge_can_be_asked_with_a_get(edge: Edge, root: Made, ca: str) -> None:
    from urllib.parse import urlencode

    query = urlencode({"host": HOST, "certificate": client(root).pem})
    assert edge.control("GET", "client", query=query)[1]["status"] == 200
