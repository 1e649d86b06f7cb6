"""An account's tokens as pages and the API show them: names, states and checks, never the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.inventory.credentials import CredentialUnreadable
from apps.inventory.models import Account, TokenKind
from apps.inventory.selectors import token_of

NAMES = {TokenKind.WRITE: "Write token", TokenKind.READ: "Read token"}


@dataclass(frozen=True)
class HeldToken:
    """`checks` are rows of scope, result and detail (`token_check.py`). `state`: unknown, working or broken."""

    name: str
    state: str
    checks: list[dict[str, str]]
    checked_at: datetime | None

    @property
    def troubled(self) -> bool:
        """Whether its last check found a permission that lacks, or one too many."""
        return any(row["result"] in {"failed", "excess"} for row in self.checks)


def tokens_held(account: Account) -> list[HeldToken]:
    """The account's tokens; one that is alone is just its token."""
    kinds = account.token_kinds
    return [
        HeldToken(
            name=NAMES[kind] if len(kinds) > 1 else "Token",
            state=getattr(account, kind.field("token_state")),
            checks=getattr(account, kind.field("scope_check")),
            checked_at=getattr(account, kind.field("scope_checked_at")),
        )
        for kind in kinds
    ]


def is_token(account: Account, kind: TokenKind, token: str) -> bool:
    """Whether this very token is stored as that one. One that cannot be decrypted is not it."""
    try:
        return kind in account.token_kinds and token_of(account, kind) == token
    except CredentialUnreadable:
        return False
