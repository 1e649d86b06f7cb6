"""Two panels of the page: how the edge behaves, and the faults that wait for calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from html import escape
from typing import Any

from apps.sandbox.page_parts import button, card, form, line, select, table
from apps.sandbox.switches import (
    CHOICES,
    DEFAULTS,
    PROFILES,
    CallSwitches,
    CertificateSwitches,
    Switches,
    ZoneSwitches,
)

State = Mapping[str, Any]
# Those have a line of their own on the page.
APART = ("down", "latency_ms")
GROUPS: tuple[tuple[str, type], ...] = (
    ("Calls and tokens", CallSwitches),
    ("Certificates", CertificateSwitches),
    ("Hostnames, rules and clients", ZoneSwitches),
)
LABELS = {
    "rate_limit_on": "Enforce the request budget",
    "rate_limit": "Calls in a window",
    "rate_window_s": "Window (s)",
    "rate_block_s": "Block after it is spent (s)",
    "rate_code": "Code of the 429",
    "rate_body": "Body of the 429",
    "retry_after": "Retry-After of the 429",
    "ratelimit_headers": "Ratelimit headers",
    "bad_token_status": "Status for a bad token",
    "token_spread_s": "A new token is refused for (s)",
    "audit_lag_s": "Audit items appear after (s)",
    "quota": "CA slots",
    "leaves_count": "Leaves take a slot",
    "managed_count": "Managed rows take a slot",
    "chain_counts_each": "A chain takes a slot for each block",
    "pem_newline": "Newline at the end of the PEM",
    "chain_reversed": "Chains come back reversed",
    "chain_deduplicated": "Chains lose repeated blocks",
    "expired_ca_refused": "Refuse an expired CA",
    "leaf_as_ca": "Accept a leaf as a CA",
    "any_signature": "Accept any signature algorithm",
    "refused_ca_code": "Code for a CA that is refused (0: one for each reason)",
    "bad_pem_code": "Code for an unreadable PEM",
    "type_shown": "Rows of the list have a type",
    "certificates_paged": "The list has pages",
    "list_lag_s": "A new row is missing from the list for (s)",
    "delete_refused_s": "Delete is refused after clearing for (s)",
    "deleted_lag_s": "A deleted row is still seen for (s)",
    "in_use_status": "Status for a CA in use",
    "in_use_code": "Code for a CA in use",
    "association_lag_s": "A read shows the old list for (s)",
    "rules_lag_s": "A read shows the old rules for (s)",
    "edge_lag_s": "Clients meet the old list for (s)",
    "hostname_order": "Order of hostnames",
    "hostname_case": "Upper case in hostnames",
    "trailing_dot": "Trailing dot of a hostname",
    "wildcards": "Accept wildcards",
    "apex_hosts": "Accept the zone's own name",
    "punycode": "Accept international names",
    "foreign_hosts": "Accept hosts outside the zone",
    "max_hostnames": "Longest list (0: no limit)",
    "unknown_certificate": "Unknown CA in a PUT",
    "omitted_hostnames": "A PUT without hostnames",
    "hostnames_stored": "What a PUT stores",
    "associations_entitled": "The plan has hostname lists",
    "rules_quota": "Custom rules in a zone",
    "empty_rules_shown": "An empty ruleset shows its rules",
    "unassociated_ca_verifies": "A CA without the host verifies clients",
    "chain_trusts": "Blocks of a chain that are trusted",
    "host_keeps_port": "http.host keeps the port",
}
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "500": ("500, not applied", {"fault": "status", "applied": False}),
    "502": ("502 with a page, applied", {"fault": "status", "status": 502, "applied": True}),
    "429": ("429, retry after 30 s", {"fault": "rate_limited"}),
    "timeout-applied": ("No answer, applied", {"fault": "timeout", "applied": True}),
    "timeout": ("No answer, not applied", {"fault": "timeout", "applied": False}),
    "reset": ("Connection reset, not applied", {"fault": "reset", "applied": False}),
    "trickle": ("One byte a second", {"fault": "trickle"}),
    "truncated": ("Truncated JSON", {"fault": "truncated_json"}),
    "empty": ("Null instead of a result", {"fault": "null_result"}),
    "slow": ("Three seconds late", {"fault": "delay", "ms": 3000}),
}
TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "any": ("any call", {}),
    "writes": ("hostname list writes", {"method": "PUT", "path": "/hostname_associations$"}),
    "reads": ("hostname list reads", {"method": "GET", "path": "/hostname_associations$"}),
    "uploads": ("certificate uploads", {"method": "POST", "path": "/mtls_certificates$"}),
    "rules": ("rule calls", {"path": "/rulesets"}),
    "zones": ("zone lists", {"path": "^/zones$"}),
}
TIMES = (("1", "once"), ("3", "three times"), ("ever", "until cleared"))


def behaviour(state: State) -> str:
    """Profiles as buttons, and every switch in a folded form."""
    switches = Switches(**state["switches"])
    changed = [name for name, value in asdict(switches).items() if value != getattr(DEFAULTS, name)]
    said = "The edge shows every write at once." if not any(_lags(switches)) else "The edge lags behind writes."
    buttons = [form("profile", button(f"{name.capitalize()} edge"), value=name) for name in PROFILES]
    groups = "".join(_group(title, kind, switches) for title, kind in GROUPS)
    count = f"{len(changed)} changed" if changed else "all as they come"
    folded = (
        f"<details><summary>All switches ({count})</summary>{form('switches', groups + button('Save switches'))}"
        f"{form('reset', button('Reset switches'))}</details>"
    )
    return card("Behaviour", line(said, *buttons) + folded)


def waiting_faults(state: State) -> str:
    """The script as a table, the random mode, and a form for one more rule."""
    script = state["faults"]
    rules = [rule for rule in script["rules"] if rule["left"] != 0]
    heads = ("Calls", "Fault", "Left", "Played")
    shown = (
        table(heads, (_rule(rule) for rule in rules)) if rules else '<p class="muted">No fault waits for a call.</p>'
    )
    mode = script["random"]
    chaos = ""
    if mode:
        chaos = (
            f"<p>Random faults: {mode['probability']:.0%} of calls, seed {mode['seed']}, {mode['played']} played.</p>"
        )
    fault = select("fault", "fault", ((key, words) for key, (words, _) in PRESETS.items()), "500")
    target = select("target", "target", ((key, words) for key, (words, _) in TARGETS.items()), "any")
    times = select("times", "times", TIMES, "1")
    fields = (
        f'<div class="fields"><div><label for="fault">Fault</label>{fault}</div>'
        f'<div><label for="target">On</label>{target}</div><div><label for="times">How often</label>{times}</div></div>'
    )
    clear = form("clear-faults", button("Clear faults", "danger")) if rules or mode else ""
    return card("Faults", shown + chaos + form("fault", fields + button("Add fault")) + clear)


def _lags(switches: Switches) -> list[int]:
    return [getattr(switches, name) for name in PROFILES["instant"]]


def _group(title: str, kind: type, switches: Switches) -> str:
    names = [field.name for field in fields(kind) if field.name not in APART]
    inputs = "".join(_field(name, getattr(switches, name)) for name in names)
    return f'<fieldset><legend>{title}</legend><div class="fields">{inputs}</div></fieldset>'


def _field(name: str, value: object) -> str:
    key, text = f"switch-{name}", str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, bool):
        control = select(key, name, (("true", "yes"), ("false", "no")), text)
    elif name in CHOICES:
        control = select(key, name, ((str(choice), str(choice)) for choice in CHOICES[name]), text)
    else:
        control = f'<input id="{key}" name="{name}" inputmode="numeric" value="{escape(text)}">'
    return f'<div><label for="{key}">{LABELS[name]}</label>{control}</div>'


def _rule(rule: Mapping[str, Any]) -> tuple[str, str, str, str]:
    match = {name: value for name, value in rule["match"].items() if name not in ("nth", "times")}
    calls = " ".join(f"{name} <code>{escape(str(value))}</code>" for name, value in match.items()) or "any call"
    if rule["waits"]:
        calls += f", after {rule['waits']} more"
    told = " ".join(_told(name, value) for name, value in rule["do"].items() if name not in ("fault", "status"))
    kind = f"{rule['do']['fault']} {rule['do'].get('status', '')}".strip()
    left = "until cleared" if rule["left"] is None else str(rule["left"])
    return calls, f"<b>{escape(kind)}</b> {told}", left, str(rule["played"])


def _told(name: str, value: object) -> str:
    if name == "applied":
        return "applied" if value else "not applied"
    return f"{escape(name)} {escape(str(value))}"
