"""Custom rules, one at a time, and rehearsals that must keep nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.cloudflare import errors
from apps.cloudflare.client import Client
from apps.cloudflare.rules import Rule, Ruleset, RuleWrite
from tests.unit.cloudflare.conftest import RULE, RULESET, ZONE
from tests.unit.cloudflare.server import Edge, failure, html, reply, success

BASE = f"/client/v4/zones/{ZONE}/rulesets"
WRITE = RuleWrite(ref="byoca-1", description="mTLS", action="block", expression='(http.host in {"a.example.com"})')
BODY = {
    "ref": "byoca-1",
    "description": "mTLS",
    "action": "block",
    "expression": '(http.host in {"a.example.com"})',
    "enabled": True,
}


def rule(**changes: Any) -> dict[str, Any]:
    return {
        "id": RULE,
        "ref": "byoca-1",
        "version": "3",
        "action": "block",
        "expression": "true",
        "description": "mTLS",
        "enabled": False,
    } | changes


def ruleset(*rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": RULESET, "name": "default", "kind": "zone", "version": "7", "rules": list(rules)} | changes


def test_the_entry_point_is_read_in_order(edge: Edge, client: Client) -> None:
    edge.script(success(ruleset(rule(), {"id": "e" * 32, "action": "skip"})))
    assert client.rules.entrypoint(ZONE) == Ruleset(
        RULESET,
        "7",
        (
            Rule(RULE, "byoca-1", "3", "block", "true", "mTLS", False, 0),
            Rule("e" * 32, "e" * 32, "", "skip", "", "", True, 1),
        ),
    )
    assert edge.requests[0].path == f"{BASE}/phases/http_request_firewall_custom/entrypoint"


@pytest.mark.parametrize("code", [10003, 10001])
def test_a_zone_that_never_had_rules(edge: Edge, client: Client, code: int) -> None:
    edge.script(failure(404, code))
    assert client.rules.entrypoint(ZONE) is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (failure(404, 7003), errors.NotFoundAtEdge),
        (failure(404), errors.NotFoundAtEdge),
        (failure(404, 9109), errors.NotFoundAtEdge),
        (html(404), errors.Unreadable),
        (failure(403, 10003), errors.PermissionMissing),
    ],
)
def test_any_other_404_is_not_an_empty_ruleset(
    edge: Edge, client: Client, answer: Any, fault: type[errors.CloudflareError]
) -> None:
    edge.script(answer)
    with pytest.raises(fault):
        client.rules.entrypoint(ZONE)


@pytest.mark.parametrize("changes", [{"rules": None}, {"rules": []}, {"version": None}])
def test_an_entry_point_may_have_no_rules(edge: Edge, client: Client, changes: dict[str, Any]) -> None:
    edge.script(success(ruleset() | changes))
    found = client.rules.entrypoint(ZONE)
    assert found is not None
    assert found.rules == ()


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {},
        ruleset(id=7),
        ruleset(version=7),
        ruleset(rules={}),
        ruleset(rules=""),
        ruleset(rules=[None]),
        ruleset(rule(id=None)),
        ruleset(rule(ref=1)),
        ruleset(rule(expression=[])),
        ruleset(rule(action={})),
        ruleset(rule(description=1)),
        ruleset(rule(enabled="yes")),
    ],
)
def test_a_ruleset_of_the_wrong_shape_is_unreadable(edge: Edge, client: Client, result: Any) -> None:
    edge.script(success(result))
    with pytest.raises(errors.Unreadable):
        client.rules.entrypoint(ZONE)


WRITES: dict[str, tuple[Callable[..., Ruleset | None], str, str, dict[str, Any] | None]] = {
    "create": (
        lambda client, **more: client.rules.create_ruleset(ZONE, rules=[WRITE], **more),
        "POST",
        BASE,
        {"name": "default", "kind": "zone", "phase": "http_request_firewall_custom", "rules": [BODY]},
    ),
    "add": (
        lambda client, **more: client.rules.add(ZONE, RULESET, WRITE, **more),
        "POST",
        f"{BASE}/{RULESET}/rules",
        BODY | {"position": {"before": ""}},
    ),
    "add last": (
        lambda client, **more: client.rules.add(ZONE, RULESET, WRITE, first=False, **more),
        "POST",
        f"{BASE}/{RULESET}/rules",
        BODY,
    ),
    "edit": (
        lambda client, **more: client.rules.edit(ZONE, RULESET, RULE, WRITE, **more),
        "PATCH",
        f"{BASE}/{RULESET}/rules/{RULE}",
        BODY,
    ),
    "delete": (
        lambda client, **more: client.rules.delete(ZONE, RULESET, RULE, **more),
        "DELETE",
        f"{BASE}/{RULESET}/rules/{RULE}",
        None,
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_sends_one_complete_rule_and_returns_the_ruleset(edge: Edge, client: Client, name: str) -> None:
    write, method, path, body = WRITES[name]
    edge.script(success(ruleset(rule())))
    found = write(client)
    assert found is not None
    assert [each.ref for each in found.rules] == ["byoca-1"]
    (seen,) = edge.requests
    assert (seen.method, seen.target) == (method, path)
    assert (seen.json if seen.content else None) == body


@pytest.mark.parametrize("name", WRITES)
def test_a_rehearsal_asks_for_one_and_returns_nothing(edge: Edge, client: Client, name: str) -> None:
    write, method, path, _ = WRITES[name]
    edge.script(success(None), reply(204, b""))
    assert write(client, dry_run=True) is None
    assert write(client, dry_run=True) is None
    assert {(seen.method, seen.target) for seen in edge.requests} == {(method, f"{path}?dry_run=true")}


@pytest.mark.parametrize("name", WRITES)
def test_a_rehearsal_that_was_a_write_is_told(edge: Edge, client: Client, name: str) -> None:
    edge.script(success(ruleset(rule())))
    with pytest.raises(errors.NotRehearsed, match="may have changed") as caught:
        WRITES[name][0](client, dry_run=True)
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("name", WRITES)
def test_a_write_without_a_ruleset_in_return_is_unknown(edge: Edge, client: Client, name: str) -> None:
    edge.script(success(None))
    with pytest.raises(errors.Unreadable) as caught:
        WRITES[name][0](client)
    assert caught.value.outcome == "unknown"


def test_a_refused_rehearsal_says_why(edge: Edge, client: Client) -> None:
    edge.script(failure(400, 50001, message="exceeded the maximum number of rules in the phase: 6 out of 5"))
    with pytest.raises(errors.Rejected, match="6 out of 5") as caught:
        client.rules.add(ZONE, RULESET, WRITE, dry_run=True)
    assert caught.value.codes == (50001,)


@pytest.mark.parametrize("bad", ["", "x", "a/../b", f"{RULE}?"])
def test_an_id_that_is_none_never_becomes_a_path(edge: Edge, client: Client, bad: str) -> None:
    for call in (
        lambda: client.rules.entrypoint(bad),
        lambda: client.rules.create_ruleset(bad, rules=[]),
        lambda: client.rules.add(ZONE, bad, WRITE),
        lambda: client.rules.edit(ZONE, RULESET, bad, WRITE),
        lambda: client.rules.delete(ZONE, RULESET, bad),
    ):
        with pytest.raises(ValueError, match="id"):
            call()
    assert edge.requests == []
