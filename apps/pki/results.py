"""Short ways to write a check's result, and the sources the checks cite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from apps.pki.certificate import CertificateFacts
from apps.pki.findings import Finding, Severity

CLOUDFLARE = "https://developers.cloudflare.com/ssl/client-certificates/byo-ca/"
RFC5280 = "https://www.rfc-editor.org/rfc/rfc5280"
SHA1_BROKEN = "https://csrc.nist.gov/pubs/sp/800/131/a/r2/final"
GO_RSA_LIMIT = "https://nvd.nist.gov/vuln/detail/CVE-2023-29409"
GOODKEY = "https://github.com/letsencrypt/boulder/blob/main/goodkey/good_key.go"

Check = Callable[[CertificateFacts, datetime], Finding | None]
"""None when the check does not apply to this certificate."""


def passed(check: str, message: str, detail: str, citation: str) -> Finding:
    return Finding(check, Severity.PASSED, message, detail, citation)


def note(check: str, message: str, detail: str, citation: str) -> Finding:
    return Finding(check, Severity.NOTE, message, detail, citation)


def caution(check: str, message: str, detail: str, citation: str) -> Finding:
    return Finding(check, Severity.CAUTION, message, detail, citation)


def refuse(check: str, message: str, detail: str, citation: str) -> Finding:
    return Finding(check, Severity.REFUSE, message, detail, citation)
