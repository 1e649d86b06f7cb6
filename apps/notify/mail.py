"""A notice as a plain text mail, handed to the mail server of EMAIL_URL by Django."""

from __future__ import annotations

import smtplib
import textwrap
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage

from apps.audit.models import AuditEvent
from apps.notify.kinds import KINDS, one_line, why_of
from apps.notify.models import Notice
from apps.notify.outcome import MAIL_IS_OFF, SENT, Outcome, later, never
from apps.notify.selectors import events_of

WIDTH = 76
NOUNS = {
    "hostname": "Hostname", "request": "Request", "change": "Change", "zone": "Zone", "account": "Account", "ca": "CA",
}  # fmt: skip
PERMANENT = 500


def send_mail(notices: list[Notice]) -> Outcome:
    """Send one mail to the recipient that all the notices share. Never raises for what the mail server does."""
    if not settings.BYOCA_MAIL:
        # Django's backend for that swallows it without a word.
        return never(MAIL_IS_OFF)
    if not notices[0].recipient.rpartition("@")[0].isascii():
        # Django would write it in another way, which is another address.
        return never("An address with other letters than ASCII before its @ cannot be used.")
    try:
        _message(notices).send()
    except smtplib.SMTPRecipientsRefused as refused:
        code, said = next(iter(refused.recipients.values()))
        return _refused("The mail server refused the address", code, said)
    except smtplib.SMTPDataError as refused:
        return _refused("The mail server refused the mail", refused.smtp_code, refused.smtp_error)
    except smtplib.SMTPResponseException as refused:
        # Sign-in, sender or greeting: it would refuse every other mail just so.
        return later(_words("The mail server refused", refused.smtp_code, refused.smtp_error), receiver_down=True)
    except (smtplib.SMTPException, OSError, ImproperlyConfigured) as error:
        # smtplib says that the connection was closed when it was itself that waited no longer.
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            return later(f"The mail server did not answer within {settings.EMAIL_TIMEOUT:g} s.", receiver_down=True)
        return later(one_line(f"The mail server could not be used: {error}"), receiver_down=True)
    except ValueError as error:
        return never(one_line(f"The mail cannot be written: {error}"))
    return SENT


def _refused(what: str, code: int, said: bytes | str) -> Outcome:
    words = _words(what, code, said)
    return never(words) if code >= PERMANENT else later(words)


def _words(what: str, code: int, said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return one_line(f"{what}: {code} {' '.join(text.split())}")


def _message(notices: list[Notice]) -> EmailMessage:
    events, kind = events_of(notices), KINDS[notices[0].action]
    host = urlsplit(settings.BYOCA_PUBLIC_URL).hostname or "localhost"
    return EmailMessage(
        subject=f"[BYOCA Portal] {kind.headline_of(events)}",
        body=body_of(events, reasons={notice.because for notice in notices}),
        to=[notices[0].recipient],
        headers={"Message-ID": f"<byoca-{_mail_id(notices)}@{host}>", "Auto-Submitted": "auto-generated"},
    )


def _mail_id(notices: list[Notice]) -> UUID:
    """The same on every attempt, so that a mail server that got it twice can tell. A mail that tells of more is another
    one: servers throw away what bears an id that they know."""
    return uuid5(NAMESPACE_URL, " ".join(f"byoca:{notice.pk}" for notice in notices))


def body_of(events: list[AuditEvent], *, reasons: set[str]) -> str:
    """What happened, what to do, one link, and why it is them who get this."""
    kind = KINDS[events[0].action]
    parts = [
        f"{kind.headline_of(events)}.",
        *("\n".join(_facts(event)) for event in events),
        _filled(kind.todo),
        f"{settings.BYOCA_PUBLIC_URL}{kind.path_of(events)}",
        _filled(f"You get this mail because {'; '.join(sorted(reasons))}."),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(event: AuditEvent) -> list[str]:
    why = one_line(why_of(event), 1000)
    facts = {
        NOUNS.get(event.subject_type, "About"): one_line(event.subject_label),
        "Zone": one_line(event.zone),
        "Seen": f"{event.at:%Y-%m-%d %H:%M:%S} UTC",
        "Why": why,
        "Audit record": str(event.seq),
    }
    return [_filled(f"{name + ':':<14}{value}", hang=14) for name, value in facts.items() if value]


def _filled(text: str, *, hang: int = 0) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)
