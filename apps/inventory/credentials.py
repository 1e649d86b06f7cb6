"""Cloudflare tokens at rest: AES-256-GCM, keys outside the database, bound to the row they belong to.

A stored value reads `v1:<key id>:<nonce>:<ciphertext>`. The row's identity is authenticated with it, so a
ciphertext copied to another row does not decrypt (INV-43). New values use the first configured key; older keys
still decrypt, which is how a key is rotated.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from apps.errors import PortalError


class CredentialUnreadable(PortalError):
    """The key is missing or wrong, or the value was moved or changed."""

    category = "edge"


def _keys() -> dict[str, bytes]:
    pairs = (entry.strip().split(":", 1) for entry in settings.BYOCA_ENCRYPTION_KEYS)
    return {key_id: base64.b64decode(key) for key_id, key in pairs}


def encrypt(secret: str, *, bound_to: str) -> str:
    """Encrypt under the newest key. `bound_to` names the row, for example `account:<id>`."""
    key_id, key = next(iter(_keys().items()))
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key).encrypt(nonce, secret.encode("utf-8"), bound_to.encode("utf-8"))
    return f"v1:{key_id}:{_text(nonce)}:{_text(sealed)}"


def decrypt(stored: str, *, bound_to: str) -> str:
    """Raises CredentialUnreadable; the message never holds the value."""
    try:
        version, key_id, nonce, sealed = stored.split(":")
        if version != "v1":
            raise ValueError(version)
        key = _keys()[key_id]
        plain = AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), bound_to.encode("utf-8"))
    except (ValueError, KeyError, InvalidTag, binascii.Error):
        raise CredentialUnreadable(
            "The stored Cloudflare token cannot be decrypted. The encryption key is missing or was changed. "
            "Restore BYOCA_ENCRYPTION_KEYS, or save the token again."
        ) from None
    return plain.decode("utf-8")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
