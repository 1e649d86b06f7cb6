"""The page of the stand-in: what is at the edge, and forms that change it past the API.

Every text goes through `escape`. There is no script and no inline style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from apps.sandbox.page_parts import button, card, form, line, table
from apps.sandbox.page_switches import behaviour, waiting_faults
from apps.sandbox.switches import Switches

State = Mapping[str, Any]


@dataclass(frozen=True)
class Notice:
    """A sentence above the page; `bad` for a refusal."""

    text: str
    bad: bool = False


def render(
    state: State, log: list[dict[str, Any]], *, notice: Notice | None = None, drafts: Mapping[str, str] | None = None
) -> bytes:
    """`state` as `dashboard.state` gives it, `log` newest first. `drafts` keeps refused text, by field key."""
    body = "".join(
        [
            _banner(notice),
            _switches(state),
            behaviour(state),
            waiting_faults(state),
            _slots(state),
            *(_zone(zone, state["certificates"], drafts or {}) for zone in state["zones"]),
            _log(log),
        ]
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Cloudflare sandbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="/static/sandbox.css"></head><body>'
        '<a class="skip" href="#main">Skip to content</a>'
        "<header><h1>Cloudflare sandbox</h1>"
        "<p>Local stand-in for Cloudflare. Nothing here reaches the internet. What you change here happens past "
        "the portal, as if somebody used Cloudflare's dashboard.</p></header>"
        f'<main id="main">{body}</main></body></html>'
    ).encode()


def list_key(zone_id: str, certificate_id: str) -> str:
    return f"list-{zone_id}-{certificate_id or 'managed'}"


def rule_key(zone_id: str, rule_id: str) -> str:
    return f"rule-{zone_id}-{rule_id}"


def _banner(notice: Notice | None) -> str:
    if notice is None:
        return ""
    kind, role = ("bad", "alert") if notice.bad else ("ok", "status")
    return f'<p class="notice {kind}" role="{role}">{escape(notice.text)}</p>'


def _switches(state: State) -> str:
    switches = Switches(**state["switches"])
    down = ("0", "Bring the API back", "The API is down: every call is answered with 503.")
    if not switches.down:
        down = ("1", "Take the API down", "The API answers.")
    parts = [line(down[2], form("down", button(down[1]), value=down[0]))]
    for token in state["tokens"]:
        said = "is revoked" if token["revoked"] else "works" if token["status"] == "active" else f"is {token['status']}"
        verb = "Restore token" if token["revoked"] else "Revoke token"
        change = form("token", button(verb), id=token["id"], value="0" if token["revoked"] else "1")
        parts.append(line(f"Token <b>{escape(token['name'])}</b> {said}.", change))
    field = (
        '<label for="latency">Delay of each call (ms)</label>'
        f'<input id="latency" name="value" inputmode="numeric" value="{switches.latency_ms}">' + button("Save delay")
    )
    parts.append(form("latency", f'<div class="inline">{field}</div>'))
    return card("Switches", "".join(parts))


def _slots(state: State) -> str:
    used = sum(1 for item in state["certificates"] if item["ca"] and item["type"] == "custom")
    rows = (
        (
            f"{escape(item['name'] or 'no name')}<br><code>{item['id']}</code>",
            "CA" if item["ca"] else "leaf",
            escape(item["type"]),
            escape(item["issuer"]),
            escape(item["expires_on"][:10]),
        )
        for item in state["certificates"]
    )
    shown = table(("Name", "Kind", "Type", "Issuer", "Expires"), rows)
    quota = state["switches"]["quota"]
    return card(f"Certificates: {used} of {quota} CA slots used", shown)


def _zone(zone: State, certificates: list[dict[str, Any]], drafts: Mapping[str, str]) -> str:
    cas = [(item["id"], item["name"] or item["id"]) for item in certificates if item["ca"]]
    lists = "".join(_list(zone, *ca, drafts) for ca in (*cas, ("", "Cloudflare Managed CA")))
    ruleset = zone["ruleset"]
    if ruleset is None:
        rules = '<p class="muted">No custom rules yet: this zone has no entry point.</p>'
    else:
        shown = "".join(_rule(zone, number, rule, drafts) for number, rule in enumerate(ruleset["rules"], 1))
        rules = f'<p class="muted">Version {ruleset["version"]}</p>{shown or "<p>No rules.</p>"}'
    inside = f'<h3>Hostnames by CA</h3><div class="grid">{lists}</div><h3>Custom rules</h3>{rules}'
    return card(f"Zone {zone['name']}", inside)


def _list(zone: State, certificate_id: str, label: str, drafts: Mapping[str, str]) -> str:
    key = list_key(zone["id"], certificate_id)
    text = drafts.get(key, "\n".join(zone["lists"].get(certificate_id or "managed", [])))
    rows = min(12, max(3, text.count("\n") + 2))
    field = (
        f'<label for="{key}">{escape(label)}</label>'
        f'<textarea id="{key}" name="hostnames" rows="{rows}" spellcheck="false">\n{escape(text)}</textarea>'
    )
    return form("list", field + button("Save list"), zone=zone["id"], certificate=certificate_id)


def _rule(zone: State, number: int, rule: State, drafts: Mapping[str, str]) -> str:
    key = rule_key(zone["id"], rule["id"])
    text = drafts.get(key, rule["expression"])
    checked = " checked" if rule["enabled"] else ""
    title = f"{number}. {escape(rule['action'])}: {escape(rule['description'] or rule['ref'])}"
    field = (
        f'<p class="rule"><b>{title}</b> <code>{escape(rule["ref"])}</code></p>'
        f'<label for="{key}">Expression</label>'
        f'<textarea id="{key}" name="expression" rows="3" spellcheck="false">\n{escape(text)}</textarea>'
        f'<label class="check"><input type="checkbox" name="enabled" value="1"{checked}> Enabled</label>'
    )
    save = form("rule", field + button("Save rule"), zone=zone["id"], rule=rule["id"])
    return f"{save}{form('delete-rule', button('Delete rule', 'danger'), zone=zone['id'], rule=rule['id'])}"


def _log(log: list[dict[str, Any]]) -> str:
    rows = (
        (
            *(str(item["seq"]), escape(item["at"][11:23]), escape(item["origin"]), escape(item["method"])),
            f"<code>{escape(item['path'])}</code>",
            str(item["status"] or "none"),
            escape(item["fault"] or ""),
            escape(item["violation"] or ""),
        )
        for item in log
    )
    names = ("No.", "Time (UTC)", "From", "Method", "Path", "Status", "Fault", "Against the rules")
    return card(f"Last {len(log)} requests", table(names, rows) if log else "<p>Nobody has called yet.</p>")
