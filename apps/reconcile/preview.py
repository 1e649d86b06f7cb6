"""The plan of one request: what approving it would send, from a fresh read. This is what people see and approve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from apps.coverage.afterwards import afterwards_of, losing_check
from apps.coverage.models import Association, CoverageRequest, Kind
from apps.coverage.selectors import desired_with
from apps.inventory.models import EdgeList, EdgeRules, Zone
from apps.inventory.selectors import slot_certificates, slot_keys
from apps.planning.diff import diff
from apps.planning.guards import Removal
from apps.planning.plan import AddRule, DeleteRule, EditRule, Plan, ReplaceList
from apps.planning.rule import is_pinned
from apps.planning.state import Mode, ObservedZone
from apps.reconcile.dry_run import REFUSED as TRIAL_REFUSED
from apps.reconcile.dry_run import Trial
from apps.reconcile.forecast import REFUSED, dry_run_guard, zone_guards
from apps.reconcile.labels import ca_labels, named
from apps.reconcile.observe import revision_key
from apps.reconcile.passed_over import warning_of


def request_document(
    request: CoverageRequest, observed: Mapping[Zone, ObservedZone], trials: Mapping[Zone, Trial | None]
) -> dict[str, Any]:
    """The plan document (docs/plans.md) of a request over the zones it touches.

    `trials` is what came of a dry run of each zone's rules; None where there is nothing to try.
    """
    names = set(request.hostnames.values_list("hostname", flat=True))
    labels = ca_labels(request.account)
    zones, effects, guards = [], [], []
    afterwards: list[dict[str, Any]] = []
    earlier: list[Removal] = []
    in_the_way: list[str] = []
    for zone, state in sorted(observed.items(), key=lambda item: item[0].name):
        desired = desired_with(zone, request)
        plan = diff(desired, state, heal=False)
        trial = trials.get(zone)
        zones.append({**_zone_document(zone, plan, labels), "dry_run": trial.to_dict() if trial else None})
        guards += zone_guards(zone, plan, desired, state, earlier, labels)
        guards += [dry_run_guard(zone, trial.reason)] if trial and trial.outcome == TRIAL_REFUSED else []
        effects += [effect.to_dict() for effect in plan.effects if effect.hostname in names]
        sent = {name for step in plan.steps if isinstance(step, ReplaceList) for name in step.after}
        in_the_way += warning_of(zone, sent)
        afterwards += afterwards_of(desired, request.hostnames.filter(zone=zone).values_list("hostname", flat=True))
    leaving = _leaving(request, effects)
    loses = losing_check(request, {zone: state.lists for zone, state in observed.items()})
    return {
        "request": str(request),
        "kind": request.kind,
        "mode": request.mode,
        "override": request.override,
        "ca": {"name": request.ca.name, "fingerprint": request.ca.fingerprint},
        "summary": _summary(zones, effects),
        "loses_check": loses,
        "owners": _owners(request, effects),
        "guards": guards,
        "confirm": leaving if leaving and (loses or any(row["guard"] not in REFUSED for row in guards)) else None,
        "precedence": _precedence(request, observed),
        "zones": zones,
        "effects": effects,
        "afterwards": afterwards,
        "warnings": _warnings(request, zones, effects, loses)
        + in_the_way
        + [f"{row['message']} {row['needs']}" for row in guards if row["guard"] in REFUSED],
    }


def document_digest(request: CoverageRequest, number: int, document: Mapping[str, Any]) -> str:
    """SHA-256 over the plan's number, effects, full lists and rules, and what comes of each hostname: an
    approval for one plan fits no other.

    What came of the dry run is not in it: people approve what will be sent, and a try that comes later or ends
    otherwise changes nothing of that.
    """
    content = {
        "request": request.pk,
        "number": number,
        "override": request.override,
        "effects": document["effects"],
        "afterwards": document["afterwards"],
        "zones": [{"zone": zone["zone"], "lists": zone["lists"], "rules": zone["rules"]} for zone in document["zones"]],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def revisions_of(request: CoverageRequest, document: Mapping[str, Any], zones: list[Zone]) -> dict[str, int]:
    """The edge revisions the plan stands on: the CA's list in each zone, and our rules where it changes one or counts
    on one that stands."""
    ruled = {row["zone"] for row in document["afterwards"] if row["mode"] != Mode.VERIFY}
    touched = {zone["zone_id"] for zone in document["zones"] if zone["rules"] or zone["zone"] in ruled}
    revisions: dict[str, int] = {}
    for zone in zones:
        ca_id = request.ca.cloudflare_id
        row = EdgeList.objects.filter(zone=zone, ca_cloudflare_id=ca_id).first()
        revisions[revision_key(zone, ca_id)] = row.foreign_revision if row else 0
        if str(zone.pk) in touched:
            rules = EdgeRules.objects.filter(zone=zone).first()
            revisions[revision_key(zone, "rules")] = rules.foreign_revision if rules else 0
    return revisions


def _leaving(request: CoverageRequest, effects: list[dict[str, Any]]) -> int:
    """How many associations go: those taken off a list, and those that no list shows any more but a rule still does."""
    gone = [effect["hostname"] for effect in effects if effect["operation"] == "dissociate"]
    relaxed = {effect["hostname"] for effect in effects if effect["operation"] == "relax"}
    return len(gone) + (len(relaxed - set(gone)) if request.kind == Kind.UNCOVER else 0)


def _zone_document(zone: Zone, plan: Plan, labels: Mapping[str, str]) -> dict[str, Any]:
    # A plan may write one list twice (additions first, removals last): people see the first before and last after.
    lists: dict[str, dict[str, Any]] = {}
    rules: dict[str, dict[str, Any]] = {}
    for step in plan.steps:
        if isinstance(step, ReplaceList):
            row = lists.setdefault(step.ca, {"before": list(step.before)})
            row["after"] = list(step.after)
        elif isinstance(step, AddRule):
            rules[step.rule.ref] = _rule(step.rule.ref, step.rule.action, "add", None, step.rule.expression)
        elif isinstance(step, EditRule):
            before = rules.get(step.rule.ref, {}).get("before", step.before.expression)
            operation = rules.get(step.rule.ref, {}).get("operation", "edit")
            rules[step.rule.ref] = _rule(step.rule.ref, step.rule.action, operation, before, step.rule.expression)
        elif isinstance(step, DeleteRule) and rules.get(step.before.ref, {}).get("operation") == "add":
            # A bridge: it stands only while the plan is applied, so it is among the steps and not in the result.
            del rules[step.before.ref]
        elif isinstance(step, DeleteRule):
            rules[step.before.ref] = _rule(step.before.ref, step.before.action, "delete", step.before.expression, None)
    return {
        "zone": zone.name,
        "zone_id": str(zone.pk),
        "lists": [_list(key, labels, row["before"], row["after"]) for key, row in lists.items()],
        "rules": list(rules.values()),
        "waits": list(plan.waits),
        "steps": [{"kind": step.kind, "summary": named(step.summary(), labels)} for step in plan.steps],
    }


def _list(key: str, labels: Mapping[str, str], before: list[str], after: list[str]) -> dict[str, Any]:
    return {
        "ca": key,
        "ca_name": labels.get(key, key[:12]),
        "before": before,
        "after": after,
        "adds": sorted(set(after) - set(before)),
        "removes": sorted(set(before) - set(after)),
    }


def _rule(ref: str, action: str, operation: str, before: str | None, after: str | None) -> dict[str, Any]:
    pinned = is_pinned(after or before or "")
    return {"ref": ref, "action": action, "operation": operation, "before": before, "after": after, "pinned": pinned}


def _summary(zones: list[dict[str, Any]], effects: list[dict[str, Any]]) -> dict[str, int]:
    lists = [row for zone in zones for row in zone["lists"]]
    return {
        "adds": sum(len(row["adds"]) for row in lists),
        "removes": sum(len(row["removes"]) for row in lists),
        "adopts": sum(1 for effect in effects if effect["operation"] == "adopt"),
        "rules": sum(len(zone["rules"]) for zone in zones),
        "unchanged": sum(len(set(row["before"]) & set(row["after"])) for row in lists),
    }


def _owners(request: CoverageRequest, effects: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Whose hostnames go: the team that owns each as it is planned, "" for none."""
    leaving = sorted((row["zone"], row["hostname"]) for row in effects if row["operation"] == "dissociate")
    rows = Association.objects.filter(ca=request.ca, hostname__in=[name for _, name in leaving])
    teams = {(row.zone.name, row.hostname): row.owner_team for row in rows.select_related("zone", "owner_team")}
    return [{"zone": zone, "hostname": name, "owner": str(teams.get((zone, name)) or "")} for zone, name in leaving]


def _precedence(request: CoverageRequest, observed: Mapping[Zone, ObservedZone]) -> list[str]:
    """Names of the CAs that stand together on a hostname of a cover request, in Cloudflare's order of priority.

    The most recently deployed CA comes first: https://developers.cloudflare.com/ssl/client-certificates/byo-ca/
    """
    if request.kind != Kind.COVER:
        return []
    names = set(request.hostnames.values_list("hostname", flat=True))
    together: set[str] = set()
    for zone in observed:
        desired = desired_with(zone, request)
        together |= {ca for name in names if len(cas := desired.cas_of(name)) > 1 for ca in cas}
    newest_first = reversed(slot_certificates(request.account))
    labels = {ca.fingerprint: ca.name for ca in request.account.cas.exclude(state="deleted")}
    keys = slot_keys(request.account)
    found = [(keys[row.cloudflare_id], row) for row in newest_first]
    return [labels.get(key, str(row)) for key, row in found if key in together]


def _warnings(
    request: CoverageRequest, zones: list[dict[str, Any]], effects: list[dict[str, Any]], loses: list[str]
) -> list[str]:
    warnings = []
    if loses:
        warnings.append(
            f"{len(loses)} hostname{'s lose their' if len(loses) > 1 else ' loses its'} check: no other CA covers "
            "them. After this change the edge stops asking their clients for a certificate."
        )
    left = sorted(e["hostname"] for e in effects if e["operation"] == "associate" and request.kind == Kind.ADOPT)
    if left:
        warnings.append(
            f"No longer at the edge, so this would add it again: {', '.join(left)}. Reject the request if somebody "
            "took it off the list on purpose."
        )
    if request.override:
        warnings.append(
            f"Override: hostnames go to block without a quiet period in log. {request.requested_by_label} says: "
            f"{request.override}"
        )
    blocked = [e for e in effects if e["operation"] == "enforce" and e["mode"] == "block"]
    if blocked:
        warnings.append(
            f"{len(blocked)} hostname{' starts' if len(blocked) == 1 else 's start'} refusing clients without a "
            "certificate. "
            "Not sure that every client is ready? Choose log first."
        )
    if any(not rule["pinned"] and rule["after"] for zone in zones for rule in zone["rules"]):
        warnings.append(
            "A rule is not pinned, because it is not known who issues the clients of every CA it covers. "
            "It accepts a client certificate of any CA in the account."
        )
    warnings += [finding["message"] for finding in request.ca.findings]
    return warnings
