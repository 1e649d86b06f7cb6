"""mTLS certificates of an account. https://developers.cloudflare.com/api/resources/mtls_certificates/"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.cloudflare.records import Caller, all_pages, flag, identifier, mapping, moment, segment, text

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


@dataclass(frozen=True)
class Certificate:
    """One row. `fingerprints` are the SHA-256 of each DER block, as hex: text changes on the way, the DER does not.

    `serial_number` is decimal, `signature` a name such as `ECDSAWithSHA256`. A block that is not base64 has no
    fingerprint, so there may be none.
    """

    id: str
    name: str | None
    ca: bool
    type: str
    pem: str
    issuer: str
    serial_number: str
    signature: str
    expires_on: datetime | None
    uploaded_on: datetime | None
    fingerprints: tuple[str, ...]

    @property
    def counts_as_slot(self) -> bool:
        """Custom CAs use up the account's quota; leaves and managed rows are listed beside them."""
        return self.ca and self.type == "custom"


@dataclass(frozen=True)
class Certificates:
    """The account's certificate list. A certificate cannot be changed, only uploaded and deleted."""

    client: Caller

    def list(self, account_id: str) -> tuple[Certificate, ...]:
        """Every certificate: CAs, leaves and managed ones."""
        return all_pages(self.client, _path(account_id), {}, _certificate, paged=False)

    def upload(self, account_id: str, *, name: str, pem: str) -> Certificate:
        """Upload a CA. Raises ValueError for text that holds a private key: the portal never sends one."""
        if "PRIVATE KEY" in pem.upper():
            raise ValueError("a private key must never be sent")
        body = {"ca": True, "name": name, "certificates": pem}
        return _certificate(self.client.call("POST", _path(account_id), body=body).result)

    def get(self, account_id: str, certificate_id: str) -> Certificate:
        """Raises NotFoundAtEdge (1472) once a deletion has spread."""
        return _certificate(self.client.call("GET", _path(account_id, certificate_id)).result)

    def delete(self, account_id: str, certificate_id: str) -> None:
        """Ask for deletion; it spreads within 90 s. Raises StillInUse while any hostname list is not empty."""
        self.client.call("DELETE", _path(account_id, certificate_id))


def _path(account_id: str, certificate_id: str | None = None) -> str:
    path = f"/accounts/{segment(account_id, 'account')}/mtls_certificates"
    return path if certificate_id is None else f"{path}/{segment(certificate_id, 'certificate')}"


def _certificate(value: Any) -> Certificate:
    row = mapping(value, "certificate")
    pem = text(row, "certificates", "")
    return Certificate(
        id=identifier(row),
        name=text(row, "name", "") or None,
        ca=flag(row, "ca", default=False),
        type=text(row, "type", "") or "custom",
        pem=pem,
        issuer=text(row, "issuer", ""),
        serial_number=text(row, "serial_number", ""),
        signature=text(row, "signature", ""),
        expires_on=moment(row, "expires_on"),
        uploaded_on=moment(row, "uploaded_on"),
        fingerprints=_fingerprints(pem),
    )


def _fingerprints(pem: str) -> tuple[str, ...]:
    found = []
    for block in BLOCK.findall(pem):
        try:
            der = base64.b64decode("".join(block.split()), validate=True)
        except binascii.Error:
            continue
        found.append(hashlib.sha256(der).hexdigest())
    return tuple(found)
