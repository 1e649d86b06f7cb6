"""Which of an account's CAs would accept a client certificate, judged offline: an answer before anybody is locked out."""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.errors import Invalid
from apps.pki import rehearsal_words as words
from apps.pki.bundle import BundleRefused, read_bundle
from apps.pki.certificate import CertificateFacts, read_sound_certificate
from apps.pki.chain import Problem, Search, find_paths, path_problems
from apps.pki.extensions import ANY_USAGE, CLIENT_AUTH
from apps.pki.issuing import Member, Relation, member, relation
from apps.pki.rehearsal_words import Reason


@dataclass(frozen=True)
class TrustedCa:
    """A CA to judge against. `key` names it to the caller, `issuers` are the known intermediates below it."""

    key: str
    name: str
    certificate: CertificateFacts
    issuers: tuple[CertificateFacts, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What one CA makes of the client certificate.

    `path` runs from the client to the CA, empty when no signature leads there. `until` is the earliest end on it and
    `issuer_ski` what a rule has to be pinned to: the key identifier of the direct issuer, UPPER hex, "" when it has
    none. `sends` are the intermediates that the client has to send along. `reasons` is empty when accepted.
    """

    ca: TrustedCa
    path: tuple[CertificateFacts, ...]
    reasons: tuple[Reason, ...]
    cautions: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.reasons

    @property
    def until(self) -> datetime | None:
        return min((one.not_after for one in self.path), default=None)

    @property
    def issuer_ski(self) -> str:
        return self.path[1].ski if self.path else ""

    @property
    def sends(self) -> tuple[CertificateFacts, ...]:
        return self.path[1:-1]


@dataclass(frozen=True)
class Rehearsal:
    """One verdict per CA, in the order given. `reason` says why nothing accepts it, None when a CA does."""

    client: CertificateFacts
    verdicts: tuple[Verdict, ...]
    reason: Reason | None

    @property
    def accepting(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.accepted)


def rehearse(data: bytes | str, cas: Sequence[TrustedCa], *, now: datetime) -> Rehearsal:
    """Judge a pasted client certificate, with its intermediates if it has any, at the moment `now` (aware).

    Raises Invalid, and nothing else, for what is no client certificate to judge: a private key, a bundle that cannot
    be read, several client certificates. Nothing of the input is kept beyond the facts that are returned.
    """
    given = _read(data)
    client = _client_of(given)
    if client.is_ca:
        return _nothing_accepts(client, cas, words.ca_given(client, _named(client, cas)))
    pool = [member(facts) for facts in _pool(given, cas) if facts.fingerprint != client.fingerprint]
    search = find_paths(member(client), pool, {ca.certificate.fingerprint for ca in cas})
    pasted = {facts.fingerprint for facts in given}
    judged = {ca.key: _judge(ca, search, pasted, now) for ca in cas}
    reached = [ca.name for ca in cas if judged[ca.key]]
    stuck = _Stuck(search, pool, given, cas)
    verdicts = tuple(judged[ca.key] or Verdict(ca, (), (stuck.reason_for(ca, reached),)) for ca in cas)
    return Rehearsal(client, verdicts, _overall(verdicts, stuck))


def _read(data: bytes | str) -> list[CertificateFacts]:
    try:
        unique = dict.fromkeys(read_bundle(data).ders)
    except BundleRefused as refused:
        raise BundleRefused(tuple(words.for_clients(finding) for finding in refused.findings)) from None
    return [read_sound_certificate(der) for der in unique]


def _client_of(given: list[CertificateFacts]) -> CertificateFacts:
    """The one certificate that is no CA; which of several is meant is never guessed."""
    clients = [facts for facts in given if not facts.is_ca]
    if len(clients) > 1:
        shown = "; ".join(words.short(facts.subject) for facts in clients)
        raise Invalid(
            f"That holds {len(clients)} client certificates: {shown}. Paste one, with its intermediates below it.",
            field="pem",
            code="several_clients",
        )
    return clients[0] if clients else given[0]


def _pool(given: list[CertificateFacts], cas: Sequence[TrustedCa]) -> Iterable[CertificateFacts]:
    yield from given
    for ca in cas:
        yield ca.certificate
        yield from ca.issuers


def _named(client: CertificateFacts, cas: Sequence[TrustedCa]) -> str:
    return next((ca.name for ca in cas if ca.certificate.fingerprint == client.fingerprint), "")


def _nothing_accepts(client: CertificateFacts, cas: Sequence[TrustedCa], reason: Reason) -> Rehearsal:
    return Rehearsal(client, tuple(Verdict(ca, (), (reason,)) for ca in cas), reason)


def _judge(ca: TrustedCa, search: Search, pasted: set[str], now: datetime) -> Verdict | None:
    """The best path to the CA: valid, then of certificates the client has, then lasting longest. None without one."""
    found = search.paths.get(ca.certificate.fingerprint)
    if not found:
        return None
    judged = [(path, path_problems(path, now=now)) for path in found]
    path, problems = min(judged, key=lambda pair: _rank(pair[0], pair[1], pasted))
    facts = tuple(one.facts for one in path)
    reasons = dict.fromkeys(words.fault(problem, facts) for problem in problems)
    if reasons and search.exhausted:
        reasons[words.too_complex()] = None
    return Verdict(ca, facts, tuple(reasons), _cautions(facts, pasted))


def _rank(path: tuple[Member, ...], problems: tuple[Problem, ...], pasted: set[str]) -> tuple[int, int, float, int]:
    facts = [one.facts for one in path]
    unsent = sum(one.fingerprint not in pasted for one in facts[1:-1])
    return len(problems), unsent, -min(one.not_after for one in facts).timestamp(), len(path)


def _cautions(path: tuple[CertificateFacts, ...], pasted: set[str]) -> tuple[Reason, ...]:
    cautions = [words.not_sent(one) for one in path[1:-1] if one.fingerprint not in pasted]
    cautions += [
        words.any_usage(one, path)
        for one in path
        if ANY_USAGE in one.extended_key_usage and CLIENT_AUTH not in one.extended_key_usage
    ]
    return tuple(cautions)


def _overall(verdicts: tuple[Verdict, ...], stuck: _Stuck) -> Reason | None:
    if any(verdict.accepted for verdict in verdicts):
        return None
    with_path = [verdict for verdict in verdicts if verdict.path]
    telling = min(with_path, key=lambda verdict: len(verdict.reasons), default=None)
    return telling.reasons[0] if telling else stuck.reason


class _Stuck:
    """Where climbing ended without an issuer, and what the certificates at hand have to do with that."""

    def __init__(
        self, search: Search, pool: list[Member], given: list[CertificateFacts], cas: Sequence[TrustedCa]
    ) -> None:
        self.search, self.pool, self.given, self.cas = search, pool, given, cas
        self.top = search.tops[0][1] if search.tops else search.client
        self.near = {one.facts.fingerprint: relation(self.top, one) for one in pool if one is not self.top}
        self.reason = self._reason()

    def reason_for(self, ca: TrustedCa, reached: list[str]) -> Reason:
        """Why no signature leads to this CA."""
        if reached:
            return words.wrong_ca(reached)
        near = self.near.get(ca.certificate.fingerprint, Relation.OTHER_NAME)
        if near is not Relation.OTHER_NAME:
            return self._about(near, ca.certificate, ca.name)
        return self.reason

    def _reason(self) -> Reason:
        """The most telling reason, whichever CA is meant."""
        if self.search.exhausted:
            return words.too_complex()
        names = {ca.certificate.fingerprint: ca.name for ca in self.cas}
        order = (Relation.BAD_SIGNATURE, Relation.UNCHECKED, Relation.OTHER_KEY)
        for wanted in order:
            for one in self.pool:
                if self.near.get(one.facts.fingerprint) is wanted:
                    return self._about(wanted, one.facts, names.get(one.facts.fingerprint, ""))
        top = self.top.facts
        if self.top.subject == self.top.issuer:
            return words.self_signed(top) if self.top is self.search.client else words.unknown_root(top)
        return words.missing_intermediate(top) if self._hints_at_intermediate() else words.unknown_issuer(top)

    def _about(self, near: Relation, issuer: CertificateFacts, ca_name: str) -> Reason:
        top = self.top.facts
        if near is Relation.BAD_SIGNATURE:
            return words.bad_signature(top, issuer)
        if near is Relation.UNCHECKED:
            return words.signature_unchecked(top)
        if near is Relation.OTHER_KEY:
            return words.other_key(top, issuer, ca_name) if ca_name else words.missing_intermediate(top)
        return self.reason  # issued, yet on no path: only when the bounds ended the search

    def _hints_at_intermediate(self) -> bool:
        """Signs that the issuer that is missing stands below a CA of the account, and is not simply a stranger."""
        anchors = {ca.certificate.fingerprint for ca in self.cas}
        subjects = {one.subject for one in self.pool if one.facts.fingerprint in anchors}
        if subjects & set(self.top.authority_issuers):
            return True
        organisations = {pair for subject in subjects for part in subject for pair in part if pair[0] == "2.5.4.10"}
        if organisations & {pair for part in self.top.issuer for pair in part}:
            return True
        others = [one for one in self.pool if one.facts in self.given and one is not self.top]
        return any(find_paths(one, self.pool, anchors).paths for one in others)
