"""What Cloudflare says of the token itself.

https://developers.cloudflare.com/api/resources/accounts/subresources/tokens/methods/verify/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.cloudflare.errors import NotFoundAtEdge, PermissionMissing, Unauthorized
from apps.cloudflare.records import Caller, mapping, moment, segment, text


@dataclass(frozen=True)
class TokenStatus:
    """`status` is active, disabled or expired. It says nothing about permissions."""

    id: str
    status: str
    expires_on: datetime | None


@dataclass(frozen=True)
class Tokens:
    """The token of the client."""

    client: Caller

    def verify(self, account_id: str) -> TokenStatus:
        """Account-owned tokens are known to the account's endpoint only, so it is asked before the user's."""
        path = f"/accounts/{segment(account_id, 'account')}/tokens/verify"
        try:
            answer = self.client.call("GET", path)
        except (Unauthorized, PermissionMissing, NotFoundAtEdge):
            answer = self.client.call("GET", "/user/tokens/verify")
        row = mapping(answer.result, "token")
        return TokenStatus(text(row, "id"), text(row, "status"), moment(row, "expires_on"))
