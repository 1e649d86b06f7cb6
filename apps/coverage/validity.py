"""Whether a CA lets any client pass at this moment."""

from __future__ import annotations

from django.utils import timezone

from apps.authorities.models import CertificateAuthority


def validity_problem(ca: CertificateAuthority) -> tuple[str, str] | None:
    """Why no client passes under the CA at this moment, and a code; None when it is valid."""
    now = timezone.now()
    if ca.not_after <= now:
        return f"{ca.name} expired on {ca.not_after:%d %b %Y}.", "ca_expired"
    if ca.not_before > now:
        return f"{ca.name} is valid from {ca.not_before:%d %b %Y} only.", "ca_not_yet_valid"
    return None
