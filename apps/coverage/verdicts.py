"""One verdict per hostname of a request, before anything is stored. The page, the API and the service share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from apps.authorities.models import CertificateAuthority
from apps.authorities.states import CaState
from apps.coverage.ladder import Ladder
from apps.coverage.models import Association, Enforcement, Kind, ModeChoice, RequestHostname
from apps.coverage.states import OPEN
from apps.coverage.validity import validity_problem
from apps.identity.actors import Actor
from apps.identity.models import Team
from apps.identity.permissions import Permission
from apps.identity.selectors import reserved_teams
from apps.inventory.models import Account, EdgeRules, Zone
from apps.inventory.selectors import edge_lists_of, zones_of, zones_of_others
from apps.planning.hostnames import MAX_NAMES, Line, read_lines, zone_of
from apps.planning.seen import edge_modes
from apps.planning.state import Mode, RuleState

STRICTNESS = {"verify": 0, "log": 1, "block": 2}
MAX_OVERRIDE = 2000


@dataclass(frozen=True)
class Verdict:
    """`status` is ready, check (allowed, read the message) or fix (blocks the request)."""

    line: int
    raw: str
    hostname: str
    zone: Zone | None
    status: str
    message: str
    code: str = ""


@dataclass(frozen=True)
class _Known:
    """Everything the verdicts compare with, read once for all lines."""

    zones: dict[str, Zone]
    gone: dict[str, Zone]
    elsewhere: dict[str, Zone]
    approved: dict[str, list[Association]]
    modes: dict[str, str]
    ladder: Ladder
    pending: dict[str, RequestHostname]
    edge: dict[str, list[Zone]]
    meant: Mapping[str, Zone]
    edge_modes: dict[str, Mode]
    reserved: dict[str, Team]
    my_teams: set[int]
    any_team: bool


def assess(
    *,
    by: Actor,
    ca: CertificateAuthority,
    kind: str,
    mode: str,
    text: str,
    override: str = "",
    ignore_request: int | None = None,
    most: int = MAX_NAMES,
    in_zones: Mapping[str, Zone] | None = None,
) -> tuple[Verdict, ...]:
    """Verdicts in input order. `text` is the bulk field: one hostname per line, or any usual separator.

    `override` says why hostnames may go to block without a quiet period in log. `in_zones` is hostname -> the zone that
    is meant, for one that stands in several.
    """
    lines = read_lines(text, most=most)
    names = [line.hostname for line in lines if line.hostname]
    known = replace(_known(by, ca, kind, names, override, ignore_request), meant=in_zones or {})
    return tuple(_verdict(line, ca, kind, mode, known) for line in lines)


def _known(
    by: Actor, ca: CertificateAuthority, kind: str, names: list[str], override: str, ignore_request: int | None
) -> _Known:
    approved: dict[str, list[Association]] = {}
    account = ca.account
    associations = Association.objects.filter(zone__account=account, zone__vanished_at=None, hostname__in=names)
    for row in associations.select_related("zone", "ca", "owner_team", "request", "release_request"):
        approved.setdefault(row.hostname, []).append(row)
    pending = RequestHostname.objects.filter(
        request__account=account, request__ca=ca, hostname__in=names, request__state__in=OPEN
    ).exclude(request_id=ignore_request)
    here = Enforcement.objects.filter(zone__account=account, zone__vanished_at=None, hostname__in=names)
    zones = {zone.name: zone for zone in zones_of(account)}
    held_by = {name: zone_of(name, zones) for name in names}
    modes = [row for row in here.select_related("request", "zone") if row.zone.name == held_by[row.hostname]]
    edge: dict[str, list[Zone]] = {}
    if ca.cloudflare_id:
        for row in edge_lists_of(account).filter(ca_cloudflare_id=ca.cloudflare_id):
            for name in row.hostnames:
                edge.setdefault(name, []).append(row.zone)
    return _Known(
        zones=zones,
        gone={zone.name: zone for zone in Zone.objects.filter(account=account, vanished_at__isnull=False)},
        elsewhere={zone.name: zone for zone in zones_of_others(account)},
        approved=approved,
        modes={row.hostname: row.mode_in_force for row in modes},
        ladder=Ladder.of(account, modes, override),
        pending={row.hostname: row for row in pending},
        edge=edge,
        meant={},
        edge_modes=_edge_modes(account) if kind == Kind.ADOPT else {},
        reserved=reserved_teams(names),
        my_teams=set(by.person.teams.values_list("pk", flat=True)) if by.person else set(),
        any_team=by.may(Permission.REQUEST_CREATE_ANY_TEAM),
    )


def _verdict(line: Line, ca: CertificateAuthority, kind: str, mode: str, known: _Known) -> Verdict:
    def say(status: str, message: str, code: str, zone: Zone | None = None) -> Verdict:
        return Verdict(line.number, line.raw, line.hostname or "", zone, status, message, code)

    if line.problem or not line.hostname:
        return say("fix", line.problem, line.code)
    if line.duplicate_of is not None:
        return say("check", f"Also on line {line.duplicate_of}. Counted once.", "duplicate")
    zone = _zone_for(line.hostname, ca, kind, known)
    if zone is None:
        return say("fix", *_no_zone(line.hostname, ca.account, known))
    refusal = (
        _longer_zone(line.hostname, zone, kind, known)
        or _ownership(line.hostname, known)
        or _pending(line.hostname, known)
        or _ca_problem(ca, kind)
    )
    if refusal:
        return say("fix", *refusal, zone)
    status, message, code = _by_kind(line.hostname, zone, ca, kind, mode, known)
    if status != "fix" and mode == ModeChoice.BLOCK and _goes_to_block(line.hostname, kind, known):
        status, message, code = known.ladder.judge(line.hostname, status, message, code)
    if zone.name == line.hostname and status == "ready":
        status, message, code = "check", "This is the zone's own name. Everything on it is covered.", "apex"
    if line.note and status != "fix":
        message = f"{line.note}. {message}"
    return say(status, message, code, zone)


def _zone_for(hostname: str, ca: CertificateAuthority, kind: str, known: _Known) -> Zone | None:
    """The longest zone that holds the hostname; to adopt, restore or remove it, one in which it stands.

    A longer zone may have come after a hostname was covered in a shorter one. Where it stands in both, what is asked of
    the shorter one must not be taken for the one that serves it.
    """
    longest = known.zones.get(zone_of(hostname, known.zones) or "")
    stands: list[Zone] = []
    if kind in {Kind.UNCOVER, Kind.RESTORE}:
        stands = [row.zone for row in known.approved.get(hostname, []) if row.ca_id == ca.pk]
    elif kind == Kind.ADOPT:
        stands = known.edge.get(hostname, [])
    meant = known.meant.get(hostname)
    if meant in stands:
        return meant
    return stands[0] if stands and longest not in stands else longest


def _no_zone(hostname: str, account: Account, known: _Known) -> tuple[str, str]:
    other = known.elsewhere.get(zone_of(hostname, known.elsewhere) or "")
    if other is not None:
        words = (
            f"{other.name} in {other.account} holds this name, and no zone in {account}. Pick a CA of {other.account}."
        )
        return words, "other_account"
    gone = known.gone.get(zone_of(hostname, known.gone) or "")
    if gone is not None:
        words = (
            f"Cloudflare no longer lists {gone.name} in {account}, so nothing can be changed there and nothing need be "
            "removed: its hostnames hold no CA any more. If the zone comes back, ask again."
        )
        return words, "zone_gone"
    return f"No zone in {account} holds this name. Check the spelling or pick another account.", "outside_zones"


def _longer_zone(hostname: str, zone: Zone, kind: str, known: _Known) -> tuple[str, str] | None:
    """The longest zone counts among all accounts. What stands in a shorter one can be adopted and removed still."""
    other = known.elsewhere.get(zone_of(hostname, known.elsewhere) or "")
    if other is None or len(other.name) <= len(zone.name) or kind in {Kind.UNCOVER, Kind.ADOPT}:
        return None
    words = f"{other.name} in {other.account} holds this name, not {zone.name}. Pick a CA of {other.account}."
    return words, "other_account"


def _edge_modes(account: Account) -> dict[str, Mode]:
    modes: dict[str, Mode] = {}
    for row in EdgeRules.objects.filter(zone__account=account):
        modes |= edge_modes(RuleState(**rule) for rule in row.rules)
    return modes


def _goes_to_block(hostname: str, kind: str, known: _Known) -> bool:
    """Whether clients are refused by it who are let through now. Adopting a block that stands refuses nobody new."""
    if kind in {Kind.UNCOVER, Kind.RESTORE}:
        return False
    return kind != Kind.ADOPT or known.edge_modes.get(hostname) is not Mode.BLOCK


def _ownership(hostname: str, known: _Known) -> tuple[str, str] | None:
    if known.any_team:
        return None
    teams = {row.owner_team for row in known.approved.get(hostname, []) if row.owner_team}
    owner = next(iter(teams), None) or known.reserved.get(hostname)
    if owner is None or owner.pk in known.my_teams:
        return None
    return f"{owner.name} owns this hostname. Ask that team to request it.", "other_team"


def _pending(hostname: str, known: _Known) -> tuple[str, str] | None:
    row = known.pending.get(hostname)
    if row is None:
        return None
    return f"REQ-{row.request_id} already asks for a change of this hostname with this CA.", "pending"


def _ca_problem(ca: CertificateAuthority, kind: str) -> tuple[str, str] | None:
    if kind == Kind.UNCOVER:
        return None
    if ca.state != CaState.LIVE:
        return f"{ca.name} is not live at the edge yet. Wait until it is, or pick another CA.", "ca_not_live"
    if kind in {Kind.ADOPT, Kind.RESTORE}:
        # That it is at the edge already, or was approved while it was valid, is no new trust.
        return None
    if problem := validity_problem(ca):
        words, code = problem
        return f"{words} Pick another CA.", code
    return None


def _by_kind(
    hostname: str, zone: Zone, ca: CertificateAuthority, kind: str, mode: str, known: _Known
) -> tuple[str, str, str]:
    rows = [row for row in known.approved.get(hostname, []) if row.zone_id == zone.pk]
    mine = next((row for row in rows if row.ca_id == ca.pk and row.state == Association.State.APPROVED), None)
    beside = [row for row in rows if row.ca_id != ca.pk and row.state == Association.State.APPROVED]
    others = [row.ca.name for row in beside if not row.is_held]
    at_edge = zone in known.edge.get(hostname, [])
    if kind == Kind.UNCOVER:
        return _uncover(mine or _not_released(rows, ca), others, ca)
    if mine and mine.is_held:
        return _failed_before(mine, kind)
    if kind == Kind.RESTORE:
        return _restore(mine, at_edge, ca)
    if kind == Kind.ADOPT and mine:
        return "fix", f"Approved already under {ca.name}. Nothing to adopt.", "already_approved"
    if kind == Kind.ADOPT and not at_edge:
        return "fix", f"The edge does not list it under {ca.name}. Request coverage instead.", "not_at_edge"
    if kind == Kind.ADOPT:
        return "ready", "At the edge now. Adopting approves it as it is.", "adopt"
    if mine and known.modes.get(hostname, "verify") == mode:
        return "fix", f"Already covered by {ca.name}. Nothing to change.", "already_covered"
    if mine:
        now = known.modes.get(hostname, "verify")
        return "check", f"Covered already. The mode goes from {now} to {mode}.", "mode_change"
    kept = known.modes.get(hostname, "verify")
    if others and STRICTNESS[kept] > STRICTNESS[mode]:
        return "check", f"Also on {', '.join(others)}. The mode stays {kept}.", "second_ca"
    if others:
        return "check", f"Also on {', '.join(others)}. Clients of both will pass.", "second_ca"
    if at_edge:
        return "check", "At the edge already, not approved yet. This request approves it.", "unexpected"
    return "ready", "Not covered yet", "new"


def _failed_before(mine: Association, kind: str) -> tuple[str, str, str]:
    if kind == Kind.RESTORE:
        return "fix", f"{mine.request} failed to bring it to the edge. Retry that, or ask again.", "failed_before"
    return "check", f"{mine.request} failed to bring it to the edge. This request answers for it now.", "failed_before"


def _not_released(rows: Iterable[Association], ca: CertificateAuthority) -> Association | None:
    """An approval under this CA whose removal was asked for before, and failed."""
    return next((row for row in rows if row.ca_id == ca.pk and row.release_is_held), None)


def _restore(mine: Association | None, at_edge: bool, ca: CertificateAuthority) -> tuple[str, str, str]:
    if mine is None:
        return "fix", f"Not approved under {ca.name}. Nothing to restore.", "not_covered"
    if mine.live_at is None:
        return "fix", "It is on its way to the edge. Nothing to restore.", "on_its_way"
    if at_edge:
        return "check", "At the edge. Its rule is written anew where it differs.", "restore_rule"
    return "ready", "Missing at the edge. It is put back as it was approved.", "restore"


def _uncover(mine: Association | None, others: Iterable[str], ca: CertificateAuthority) -> tuple[str, str, str]:
    if mine is None:
        return "fix", f"Not approved under {ca.name}. Nothing to remove.", "not_covered"
    others = list(others)
    if others:
        return "ready", f"Stays on {', '.join(others)}", "keeps_other"
    return "check", "No other CA. The edge stops asking its clients for a certificate.", "loses_check"
