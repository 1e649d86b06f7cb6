"""What can go wrong between the portal and Cloudflare.

CloudflareError
├── Unreachable          refused, no name, no route, no connection in time: certainly not applied
│   └── TlsFailure       wrong name, unknown issuer, old protocol: never tried without verification
├── DeadlineExceeded     the whole call took too long: outcome unknown
├── BodyTooLarge         the answer is longer than any real one
├── Unreadable           an answer that is none: HTML, broken JSON, wrong types, a connection that broke off
│   └── NotRehearsed     a dry run was answered as if it had been a write
├── RateLimited          429
├── Unauthorized         the token is unknown, revoked or expired
├── PermissionMissing    the token lacks a permission
├── NotFoundAtEdge       404 and its codes
├── SlotsExhausted       1489
├── AlreadyExists        1471
├── StillInUse           a certificate that hostnames still use
├── AlreadyDeleted       a second deletion while the first one spreads
├── Rejected             any other 4xx
└── ServerFault          5xx and 52x

`retryable` says whether the same call may help later; `outcome` whether a write may have happened (`unknown`) or
certainly did not (`not_applied`). For a read, `outcome` means nothing.
"""

from __future__ import annotations

from typing import Literal

from apps.errors import EdgeFault

Outcome = Literal["not_applied", "unknown"]


class CloudflareError(EdgeFault):
    """Base of all. `codes` are Cloudflare's own, `ray` finds the call in its logs, `pointer` the field at fault.

    `status` is 0 when there was no answer. `retry_after_s` is in seconds and set by RateLimited only.
    """

    retryable = False
    outcome: Outcome = "not_applied"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        codes: tuple[int, ...] = (),
        ray: str = "",
        pointer: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes
        self.ray = ray
        self.pointer = pointer
        self.retry_after_s = retry_after_s


class Unreachable(CloudflareError):
    """No connection was made, so nothing was sent."""

    retryable = True


class TlsFailure(Unreachable):
    """Somebody answered who could not prove to be Cloudflare. The token was not sent."""


class DeadlineExceeded(CloudflareError):
    """The call was cut off. A write may have happened: read to find out."""

    retryable = True
    outcome: Outcome = "unknown"


class BodyTooLarge(CloudflareError):
    """The answer was cut off at the size cap. A write may have happened."""

    retryable = True
    outcome: Outcome = "unknown"


class Unreadable(CloudflareError):
    """Nothing of the answer can be used, least of all as an empty list. A write may have happened."""

    retryable = True
    outcome: Outcome = "unknown"


class NotRehearsed(Unreadable):
    """A dry run was answered as if it had been a write, and may have been one."""


class RateLimited(CloudflareError):
    """Every call of this token is refused for `retry_after_s` seconds."""

    retryable = True


class Unauthorized(CloudflareError):
    """The token itself is refused: repeating the call cannot help."""


class PermissionMissing(CloudflareError):
    """The token is known and may not do this, or not with this zone or account."""


class NotFoundAtEdge(CloudflareError):
    """Cloudflare itself said that the object is not there. A 404 without its envelope is Unreadable."""


class SlotsExhausted(CloudflareError):
    """The account's CA quota is used up, perhaps by another product."""


class AlreadyExists(CloudflareError):
    """The same certificate, by content, is in the account: list and match by fingerprint."""


class StillInUse(CloudflareError):
    """The certificate cannot be deleted yet. Cloudflare may say so for a while after its last list was emptied."""

    retryable = True


class AlreadyDeleted(CloudflareError):
    """The deletion was accepted before and is spreading."""


class Rejected(CloudflareError):
    """Cloudflare understood the call and refuses it as it is."""


class ServerFault(CloudflareError):
    """Cloudflare failed. A write may have happened."""

    retryable = True
    outcome: Outcome = "unknown"
