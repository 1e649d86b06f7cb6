"""A client certificate against a whole account: which hostnames would let it through, and why the others would not.

Judged from the stored reads of the edge. Nothing of what was pasted is stored or logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from apps.authorities.models import CertificateAuthority
from apps.coverage.models import Association
from apps.coverage.selectors import associations_in
from apps.errors import Invalid
from apps.inventory.models import Account, EdgeRules, Zone
from apps.inventory.selectors import edge_lists_of, zones_of
from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.certificate import CertificateFacts, CertificateUnreadable, read_sound_certificate
from apps.pki.rehearsal import Rehearsal, TrustedCa, Verdict, rehearse
from apps.pki.rehearsal_words import Reason
from apps.planning.hostnames import HostnameRefused, canonical, zone_of
from apps.planning.rule import hostnames_in, pins_in
from apps.reconcile.row_types import Column
from apps.reconcile.rows import columns


class Status(StrEnum):
    """What would happen to the client at one hostname. Stable for programs."""

    ACCEPTED = "accepted"
    ACCEPTED_NOT_PINNED = "accepted_not_pinned"
    ACCEPTED_NOT_ENFORCED = "accepted_not_enforced"
    REFUSED_ISSUER_NOT_PINNED = "refused_issuer_not_pinned"
    REFUSED_NO_ASSOCIATION = "refused_no_association"
    REFUSED_CERTIFICATE = "refused_certificate"


@dataclass(frozen=True)
class CaVerdict:
    """What one CA of the account makes of the certificate. `ca` is None for one that only the edge knows."""

    label: str
    ca: CertificateAuthority | None
    at_edge: bool
    verdict: Verdict


@dataclass(frozen=True)
class HostnameVerdict:
    """What one hostname would make of the client, as the edge was last read.

    `by` is the CA that accepts it or comes nearest to that. `rule` is enforced, logging, paused or no_rule. `pins`
    are the issuer SKIs the rules ask for, None when there is no rule or none of its rules is pinned. `caution` is a
    sentence, or "".
    """

    hostname: str
    zone: Zone
    status: Status
    sentence: str
    caution: str
    by: CaVerdict | None
    rule: str
    pins: tuple[str, ...] | None
    reasons: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status.value.startswith("accepted")

    @property
    def until(self) -> datetime | None:
        return self.by.verdict.until if self.by and self.accepted else None

    @property
    def issuer_ski(self) -> str:
        """What the rule has to be pinned to for this client; "" when no path is known or its issuer has none."""
        return self.by.verdict.issuer_ski if self.by else ""


@dataclass(frozen=True)
class AccountRehearsal:
    """The whole answer. Hostnames that accept come first; `unjudged` are CAs at the edge that cannot be read."""

    client: CertificateFacts
    cas: tuple[CaVerdict, ...]
    hostnames: tuple[HostnameVerdict, ...]
    reason: Reason | None
    unjudged: tuple[str, ...]

    @property
    def accepting(self) -> tuple[HostnameVerdict, ...]:
        return tuple(row for row in self.hostnames if row.accepted)

    @property
    def refusing(self) -> tuple[HostnameVerdict, ...]:
        return tuple(row for row in self.hostnames if not row.accepted)


@dataclass(frozen=True)
class _Rule:
    action: str
    enabled: bool
    pins: frozenset[str] | None


@dataclass
class _Place:
    """One hostname: the columns whose lists name it at the edge, the CAs approved for it, and the rules about it."""

    zone: Zone
    keys: set[str] = field(default_factory=set)
    approved: set[object] = field(default_factory=set)
    rules: list[_Rule] = field(default_factory=list)


def rehearse_client(*, account: Account, data: bytes | str, hostname: str = "", now: datetime) -> AccountRehearsal:
    """Judge a pasted client certificate for every hostname of the account, or for the one named.

    Raises Invalid: `pem` for a paste that holds no client certificate, `hostname` for a name outside the account.
    """
    places = _places(account)
    if hostname.strip():
        name, zone = _named(account, hostname)
        places = {(zone.pk, name): places.get((zone.pk, name), _Place(zone))}
    cols = columns(account)
    read = {col.key: facts for col in cols if (facts := _certificate_of(col))}
    trusted = [TrustedCa(col.key, col.label, read[col.key], _issuers_of(col)) for col in cols if col.key in read]
    result = rehearse(data, trusted, now=now)
    by_key = {col.key: col for col in cols}
    cas = tuple(_ca_verdict(by_key[verdict.ca.key], verdict) for verdict in result.verdicts)
    unjudged = {col.key: col.label for col in cols if col.key not in read}
    rows = [_HostnameJudge(place, result, cas, unjudged).row(name) for (_, name), place in places.items()]
    rows.sort(key=lambda row: (not row.accepted, row.zone.name, row.hostname))
    return AccountRehearsal(result.client, cas, tuple(rows), result.reason, tuple(unjudged.values()))


def _named(account: Account, text: str) -> tuple[str, Zone]:
    try:
        name = canonical(text)
    except HostnameRefused as refused:
        raise Invalid(refused.message, field="hostname", code=refused.code) from None
    zones = {zone.name: zone for zone in zones_of(account)}
    zone = zones.get(zone_of(name, zones) or "")
    if zone is None:
        words = f"No zone in {account} holds {name}. Check the spelling or pick another account."
        raise Invalid(words, field="hostname", code="outside_zones")
    return name, zone


def _places(account: Account) -> dict[tuple[object, str], _Place]:
    zones = {zone.pk: zone for zone in zones_of(account)}
    places: dict[tuple[object, str], _Place] = {}

    def place(zone_id: object, name: str) -> _Place:
        return places.setdefault((zone_id, name), _Place(zones[zone_id]))  # type: ignore[index]

    for listed in edge_lists_of(account):
        for name in listed.hostnames:
            place(listed.zone_id, name).keys.add(listed.ca_cloudflare_id)
    for rules in EdgeRules.objects.filter(zone__in=zones):
        for rule in rules.rules:
            expression = str(rule["expression"])
            read = _Rule(str(rule["action"]), bool(rule["enabled"]), pins_in(expression))
            for name in hostnames_in(expression):
                place(rules.zone_id, name).rules.append(read)
    for row in associations_in(account).filter(zone__in=zones, state=Association.State.APPROVED):
        place(row.zone_id, row.hostname).approved.add(row.ca_id)
    return places


def _issuers_of(col: Column) -> tuple[CertificateFacts, ...]:
    """The intermediates that are known to sign the CA's clients."""
    pems = [str(issuer["pem"]) for issuer in col.ca.issuers if issuer["pem"]] if col.ca else []
    return tuple(read_sound_certificate(read_bundle(pem).ders[0]) for pem in pems)


def _certificate_of(col: Column) -> CertificateFacts | None:
    """Of several certificates in one slot, the first: that is how Cloudflare names the slot."""
    pem = col.ca.pem if col.ca else col.edge.pem if col.edge else ""
    try:
        return read_sound_certificate(read_bundle(pem).ders[0])
    except (BundleRefused, CertificateUnreadable):
        return None


def _ca_verdict(col: Column, verdict: Verdict) -> CaVerdict:
    return CaVerdict(col.label, col.ca, col.edge is not None, verdict)


class _HostnameJudge:
    """One hostname. The first of its CAs that accepts the client decides; then the rule has its say."""

    def __init__(self, place: _Place, result: Rehearsal, cas: Iterable[CaVerdict], unjudged: dict[str, str]) -> None:
        self.place, self.result, self.cas = place, result, tuple(cas)
        self.unread = [label for key, label in unjudged.items() if key in place.keys]
        self.blocking, self.logging = self._rules("block"), self._rules("log")
        self.pins = [rule.pins for rule in self.blocking or self.logging if rule.pins is not None]

    def _rules(self, action: str) -> list[_Rule]:
        return [rule for rule in self.place.rules if rule.action == action and rule.enabled]

    @property
    def rule(self) -> str:
        if self.blocking or self.logging:
            return "enforced" if self.blocking else "logging"
        return "paused" if self.place.rules else "no_rule"

    def row(self, hostname: str) -> HostnameVerdict:
        here = [ca for ca in self.cas if ca.verdict.accepted and ca.verdict.ca.key in self.place.keys]
        elsewhere = [ca for ca in self.cas if ca.verdict.accepted]
        reasons: tuple[Reason, ...] = ()
        by: CaVerdict | None
        if here:
            by = max(here, key=lambda ca: (self._pinned_to(ca), ca.verdict.until))
            status, sentence, caution = self._associated(by)
        elif elsewhere:
            by = max(elsewhere, key=self._approved)
            status, (sentence, caution) = Status.REFUSED_NO_ASSOCIATION, self._not_associated(by)
        else:
            by = self._nearest()
            reasons = by.verdict.reasons if by else tuple(filter(None, (self.result.reason,)))
            status, sentence = Status.REFUSED_CERTIFICATE, " ".join(reason.sentence for reason in reasons)
            caution = "" if self.blocking else f"{self._no_effect()} The request gets through all the same."
        if self.unread and not here:
            caution = f"{caution} {', '.join(self.unread)} cannot be read and was not judged.".strip()
        pins = tuple(sorted(frozenset().union(*self.pins))) if self.pins else None
        return HostnameVerdict(hostname, self.place.zone, status, sentence, caution, by, self.rule, pins, reasons)

    def _pinned_to(self, ca: CaVerdict) -> bool:
        return all(ca.verdict.issuer_ski in pins for pins in self.pins)

    def _approved(self, ca: CaVerdict) -> bool:
        return ca.ca is not None and ca.ca.pk in self.place.approved

    def _associated(self, by: CaVerdict) -> tuple[Status, str, str]:
        until = by.verdict.until
        accepts = f"{by.label} accepts it until {until:%d %b %Y}."
        sends = " ".join(caution.sentence for caution in by.verdict.cautions)
        if not self._pinned_to(by):
            ski = by.verdict.issuer_ski
            needs = f"It would need {ski}." if ski else "Its issuer has no SKI, so no rule can be pinned to it."
            if not self.blocking:
                caution = f"The log rule is pinned to other issuers: in block mode it would be refused. {needs}"
                return Status.ACCEPTED_NOT_ENFORCED, f"{accepts} {self._no_effect()}", f"{caution} {sends}".strip()
            sentence = f"{by.label} accepts it, but the block rule is pinned to other issuers. {needs}"
            return Status.REFUSED_ISSUER_NOT_PINNED, sentence, sends
        if not self.blocking:
            return Status.ACCEPTED_NOT_ENFORCED, f"{accepts} {self._no_effect()}", sends
        if self.pins:
            return Status.ACCEPTED, f"{accepts} The block rule is pinned to its issuer.", sends
        said = "The block rule is not pinned: it lets clients of any CA in the account through."
        return Status.ACCEPTED_NOT_PINNED, f"{accepts} {said}", sends

    def _not_associated(self, by: CaVerdict) -> tuple[str, str]:
        """A CA of the account accepts the client, yet its list does not name this hostname."""
        if not by.at_edge:
            sentence = f"{by.label} accepts it, but is not at the edge yet."
        elif self._approved(by):
            sentence = f"{by.label} accepts it and is approved for this hostname, but not at the edge yet."
        elif self.place.keys:
            sentence = f"It is a client of {by.label}, which is not associated with this hostname."
        else:
            sentence = f"It is a client of {by.label}, but no CA is associated with this hostname at the edge."
        if not self.blocking:
            return sentence, f"{self._no_effect()} The request gets through all the same."
        if self.place.keys and not self.pins:
            return sentence, "The block rule is not pinned, so the edge may let it through all the same. Pin the rule."
        return sentence, ""

    def _nearest(self) -> CaVerdict | None:
        """The CA whose refusal says most: one with a path to it, of this hostname if possible."""
        with_path = [ca for ca in self.cas if ca.verdict.path]
        return max(with_path, key=lambda ca: ca.verdict.ca.key in self.place.keys, default=None)

    def _no_effect(self) -> str:
        """Why nobody is refused here."""
        if self.logging:
            return "The rule only logs."
        return "The block rule is switched off." if self.place.rules else "No block rule is in effect."
