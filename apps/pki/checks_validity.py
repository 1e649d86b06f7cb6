"""Is it valid now, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta

from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding
from apps.pki.results import CLOUDFLARE, RFC5280, caution, passed, refuse

# The first expiry reminder: a CA this close to its end starts its life in the portal with a warning.
SHORT = timedelta(days=120)
NEVER = 9999
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def valid_now(facts: CertificateFacts, now: datetime) -> Finding:
    """No client of an expired CA passes. Whether Cloudflare takes one is not documented."""
    name = "valid_now"
    since, until = _day(facts.not_before), _day(facts.not_after)
    if facts.not_after < facts.not_before:
        fix = "Ask its issuer for a corrected one. A year after 2049 may have been written with two digits."
        return refuse(name, f"It ends ({until}) before it begins ({since})", fix, RFC5280)
    if has_expired(facts, now):
        fix = "No client certificate under it can pass. Upload its successor."
        return refuse(name, f"It expired on {until}", fix, RFC5280)
    if now < facts.not_before:
        risk = "Hostnames can use it from that day. Until then its clients are refused."
        return caution(name, f"It is not valid before {since}", risk, RFC5280)
    return passed(name, "Valid now", f"From {since} to {until}", RFC5280)


def has_expired(facts: CertificateFacts, now: datetime) -> bool:
    """Was valid once and is no more. Dates that contradict each other are another fault."""
    return facts.not_before <= facts.not_after < now


def expired_but_wanted(facts: CertificateFacts) -> Finding:
    """In place of the refusal, when whoever uploads asked for the expired CA by an explicit option."""
    risk = "It was asked for all the same. No client certificate under it can pass while verifiers read dates."
    return caution("valid_now", f"It expired on {_day(facts.not_after)}", risk, RFC5280)


def lifetime(facts: CertificateFacts, now: datetime) -> Finding | None:
    """Enough time to use it, and an end to plan for."""
    name = "lifetime"
    if facts.not_after <= facts.not_before or facts.not_after < now:
        return None
    if facts.not_after.year >= NEVER:
        risk = "No expiry will ever force a change. Set a date for its replacement yourself."
        return caution(name, "It has no end (year 9999)", risk, RFC5280)
    left = facts.not_after - now
    if left < SHORT:
        risk = f"Our guidance is at least {SHORT.days} days. Plan the next rotation now."
        return caution(name, f"Only {left.days} days are left", risk, CLOUDFLARE)
    return passed(name, "Lasts long enough", f"{left.days} days left", CLOUDFLARE)


def date_form(facts: CertificateFacts, _now: datetime) -> Finding | None:
    """RFC 5280 section 4.1.2.5: dates through 2049 are written as UTCTime."""
    if not facts.old_dates_generalized:
        return None
    risk = "RFC 5280 wants two-digit years through 2049. Strict verifiers refuse it: test a client first."
    return caution("date_form", "A date before 2050 is written in the long form", risk, RFC5280)


def _day(moment: datetime) -> str:
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"
