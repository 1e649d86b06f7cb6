"""Building and judging certification paths (RFC 5280 section 6, RFC 4158), offline and within fixed bounds.

The account's CAs are the trust anchors, roots or not. As OpenSSL and BoringSSL do, an anchor's own dates, usages and
constraints count too. Revocation is not judged: Cloudflare checks no revocation lists of uploaded CAs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from apps.pki.certificate import CertificateFacts
from apps.pki.extensions import ANY_USAGE, CERT_SIGN, CLIENT_AUTH
from apps.pki.issuing import Member, Relation, member, relation
from apps.pki.name_constraints import forbidden_name

MAX_DEPTH = 16
MAX_STEPS = 2000
SIGNING_USAGES = frozenset({"Digital Signature", "Key Agreement"})


class Fault(StrEnum):
    """Why a complete path is not valid. Stable for programs."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NOT_A_CLIENT = "not_a_client"
    KEY_USAGE = "key_usage"
    NOT_A_CA = "not_a_ca"
    CERT_SIGN = "cert_sign"
    EKU = "eku"
    PATH_LENGTH = "path_length"
    NAME_CONSTRAINTS = "name_constraints"
    CRITICAL_EXTENSION = "critical_extension"


@dataclass(frozen=True)
class Problem:
    """A fault of one certificate of a path. `name` is the name that `name_constraints` does not allow."""

    fault: Fault
    certificate: CertificateFacts
    name: str = ""


@dataclass(frozen=True)
class IssuerCheck:
    """Whether a CA issued an intermediate. `ski` is what a rule pins it by: UPPER hex, "" when it has none."""

    relation: Relation
    ski: str
    problems: tuple[Problem, ...]

    @property
    def fits(self) -> bool:
        """Whether its clients chain to the CA: issued by it, and nothing on the path stands against that."""
        return self.relation is Relation.ISSUED and not self.problems


@dataclass
class Search:
    """Every path from one certificate upwards. Paths begin with the client and end with an anchor.

    `tops` are the certificates where climbing ended without a known issuer, the farthest first. `exhausted` tells
    that the bounds ended the search, so that a path may have been missed.
    """

    client: Member
    paths: dict[str, list[tuple[Member, ...]]] = field(default_factory=dict)
    tops: list[tuple[int, Member]] = field(default_factory=list)
    exhausted: bool = False


def check_issuer(intermediate: CertificateFacts, ca: CertificateFacts, *, now: datetime) -> IssuerCheck:
    """Whether `ca` itself issued `intermediate`, and whether clients below that pair could be valid at `now`."""
    below, above = member(intermediate), member(ca)
    return IssuerCheck(relation(below, above), intermediate.ski, issuer_problems((below, above), now=now))


def find_paths(client: Member, pool: Iterable[Member], anchors: Iterable[str]) -> Search:
    """All paths from `client` to the certificates whose fingerprints are in `anchors`.

    No name and key stand twice in a path, so cross-signatures and loops end. The work is bounded, not the input.
    """
    by_subject: dict[object, list[Member]] = {}
    for candidate in {one.facts.fingerprint: one for one in pool}.values():
        by_subject.setdefault(candidate.subject, []).append(candidate)
    search = Search(client)
    _Climb(search, by_subject, frozenset(anchors)).from_path((client,))
    search.tops.sort(key=lambda top: -top[0])
    return search


class _Climb:
    """The depth-first walk. A relation is computed once: its signature is the dear part."""

    def __init__(self, search: Search, by_subject: Mapping[object, list[Member]], anchors: frozenset[str]) -> None:
        self.search, self.by_subject, self.anchors = search, by_subject, anchors
        self.steps = 0
        self.known: dict[tuple[str, str], bool] = {}

    def from_path(self, path: tuple[Member, ...]) -> None:
        owners = {one.owner for one in path}
        climbed = False
        for parent in self.by_subject.get(path[-1].issuer, ()):
            if parent.owner in owners or not self._issued(path[-1], parent):
                continue
            climbed = True
            if len(path) >= MAX_DEPTH or self.steps >= MAX_STEPS:
                self.search.exhausted = True
                return
            self.steps += 1
            longer = (*path, parent)
            if parent.facts.fingerprint in self.anchors:
                self.search.paths.setdefault(parent.facts.fingerprint, []).append(longer)
            self.from_path(longer)
        if not climbed and path[-1].facts.fingerprint not in self.anchors:
            self.search.tops.append((len(path), path[-1]))

    def _issued(self, child: Member, parent: Member) -> bool:
        key = (child.facts.fingerprint, parent.facts.fingerprint)
        if key not in self.known:
            self.known[key] = relation(child, parent) is Relation.ISSUED
        return self.known[key]


def path_problems(path: Sequence[Member], *, now: datetime) -> tuple[Problem, ...]:
    """Everything that keeps a signed path from the client to an anchor from being valid at `now`."""
    return _client_problems(path[0].facts) + issuer_problems(path, now=now)


def _client_problems(client: CertificateFacts) -> tuple[Problem, ...]:
    problems = []
    if _lacks_client_auth(client):
        problems.append(Problem(Fault.NOT_A_CLIENT, client))
    if client.has_key_usage and not SIGNING_USAGES & set(client.key_usage):
        problems.append(Problem(Fault.KEY_USAGE, client))
    return tuple(problems)


def issuer_problems(path: Sequence[Member], *, now: datetime) -> tuple[Problem, ...]:
    """What stands against a path whoever is at its lower end: dates, and all that an issuer must be."""
    problems = [problem for one in path for problem in _own_problems(one.facts, now)]
    between = 0
    for index, issuer in enumerate(path[1:], 1):
        facts = issuer.facts
        problems += _signer_problems(facts)
        if facts.path_length is not None and between > facts.path_length:
            problems.append(Problem(Fault.PATH_LENGTH, facts))
        between += not _names_itself(issuer)
        problems += _name_problems(issuer, path[:index])
    return tuple(problems)


def _own_problems(facts: CertificateFacts, now: datetime) -> list[Problem]:
    problems = []
    if facts.not_after < now:
        problems.append(Problem(Fault.EXPIRED, facts))
    if facts.not_before > now:
        problems.append(Problem(Fault.NOT_YET_VALID, facts))
    if facts.unknown_critical:
        problems.append(Problem(Fault.CRITICAL_EXTENSION, facts))
    return problems


def _signer_problems(facts: CertificateFacts) -> list[Problem]:
    problems = []
    if not facts.is_ca:
        problems.append(Problem(Fault.NOT_A_CA, facts))
    if facts.has_key_usage and CERT_SIGN not in facts.key_usage:
        problems.append(Problem(Fault.CERT_SIGN, facts))
    if _lacks_client_auth(facts):
        problems.append(Problem(Fault.EKU, facts))
    return problems


def _name_problems(issuer: Member, below: Sequence[Member]) -> list[Problem]:
    """RFC 5280 section 6.1.3 (b): self-issued certificates are free, but for the client itself."""
    problems = []
    for index, one in enumerate(below):
        if index == 0 or not _names_itself(one):
            name = forbidden_name(issuer, one, is_client=not one.facts.is_ca)
            if name is not None:
                problems.append(Problem(Fault.NAME_CONSTRAINTS, issuer.facts, name))
    return problems


def _lacks_client_auth(facts: CertificateFacts) -> bool:
    return bool(facts.extended_key_usage) and not {CLIENT_AUTH, ANY_USAGE} & set(facts.extended_key_usage)


def _names_itself(one: Member) -> bool:
    return one.subject == one.issuer
