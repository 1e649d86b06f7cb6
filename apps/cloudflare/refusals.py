"""Which error a refused call means. Keyed on status, `success` and codes; on text only where there is no code."""

from __future__ import annotations

import httpx

from apps.cloudflare import errors
from apps.cloudflare.answers import Answer
from apps.cloudflare.errors import CloudflareError
from apps.cloudflare.headers import plain, retry_after_s

TOKEN_CODES = frozenset({1000, 6003, 6111, 9109})
PERMISSION_CODES = frozenset({10000})
MISSING_CODES = frozenset({1472, 7003, 10001, 10003})
THROTTLE_CODES = frozenset({971, 10100, 10429})
SHOWN_COMPLAINTS = 3

Verdict = tuple[type[CloudflareError], str]


def refusal(
    method: str, path: str, status: int, headers: httpx.Headers, answer: Answer, ray: str
) -> CloudflareError | None:
    """The error an answer means, or None for a success."""
    if answer.success and 200 <= status < 300:
        return None
    said = _said(answer)
    kind, sentence = (
        _of_the_status(status)
        or _of_the_call(status, answer, said)
        or _of_the_object(method, path, status, answer, said)
    )
    return kind(
        sentence.strip(),
        status=status,
        codes=answer.codes,
        ray=ray,
        pointer=next((plain(error.pointer) for error in answer.errors if error.pointer), ""),
        retry_after_s=retry_after_s(headers) if kind is errors.RateLimited else None,
    )


def _of_the_status(status: int) -> Verdict | None:
    """What the status alone decides."""
    if status == 429:
        return _throttled()
    if status >= 500:
        return errors.ServerFault, f"Cloudflare has a fault ({status}). The portal tries again by itself."
    if status < 200 or 300 <= status < 400:
        return errors.Unreadable, (
            f"A redirect or an empty answer came back ({status}) where Cloudflare's was expected. It is not followed. "
            "Check the API address and the network path."
        )
    return None


def _throttled() -> Verdict:
    return errors.RateLimited, "Cloudflare asked the portal to slow down. The change goes on by itself. Nothing to do."


def _of_the_call(status: int, answer: Answer, said: str) -> Verdict | None:
    """Reasons that lie with the token or the path to Cloudflare, whatever the call was about."""
    codes = set(answer.codes)
    if codes & THROTTLE_CODES:
        return _throttled()
    if status == 401 or (codes & TOKEN_CODES and status != 404):
        return errors.Unauthorized, f"Cloudflare refused the API token ({status}). Ask an admin to replace it. {said}"
    if status == 403 or codes & PERMISSION_CODES:
        return errors.PermissionMissing, (
            f"Cloudflare refused the call ({status}). The API token lacks a permission for it. "
            f"Ask an admin to extend the token. {said}"
        )
    if not answer.understood and status in {404, 410}:
        return errors.Unreadable, (
            f"Something that is not the Cloudflare API answered ({status}). Check the API address and the network path."
        )
    if answer.understood and not answer.errors and status < 300:
        return errors.Unreadable, "Cloudflare said that the call failed, and not why. The portal reads again."
    return None


def _of_the_object(method: str, path: str, status: int, answer: Answer, said: str) -> Verdict:
    """Reasons that lie with what was sent or asked for."""
    codes = set(answer.codes)
    if 1489 in codes:
        return errors.SlotsExhausted, (
            "Cloudflare has no free CA slot in this account (1489). Delete a CA that nothing uses, or ask Cloudflare "
            "for more slots, then retry."
        )
    if 1471 in codes:
        return errors.AlreadyExists, "Cloudflare holds this certificate already (1471). The portal looks it up."
    if status == 404 or codes & MISSING_CODES:
        return errors.NotFoundAtEdge, f"Cloudflare does not know this object. It may have been deleted outside. {said}"
    if method == "DELETE" and "/mtls_certificates/" in path and answer.understood and status in {200, 400, 409}:
        # The one decision on text: Cloudflare gives this case no code of its own (observed by API clients).
        if any("already deleted" in error.message.lower() for error in answer.errors):
            return errors.AlreadyDeleted, "Cloudflare is deleting this certificate already. Nothing to do."
        return errors.StillInUse, (
            f"Cloudflare says that the certificate is still in use. Remove its hostnames, then wait. {said}"
        )
    return errors.Rejected, f"Cloudflare refused the call ({status}). Change what was sent, then retry. {said}"


def _said(answer: Answer) -> str:
    texts = []
    for error in answer.errors[:SHOWN_COMPLAINTS]:
        text = plain(error.message).rstrip(". ") or "no text"
        texts.append(f"{error.code}: {text}" if error.code else text)
    return f"It said: {'; '.join(texts)}." if texts else ""
