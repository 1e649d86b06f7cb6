"""Certificates are described as Cloudflare describes them."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from apps.sandbox import x509_text
from apps.sandbox.errors import ApiError
from tests.certs import make_ca


def test_a_certificate_is_described_in_gos_words() -> None:
    made = make_ca("Root", organisation="Example", country="DE", serial=4711, key="ec384", hash_name="sha384")
    found = x509_text.describe("text before\n" + made.pem + "\n\n")
    assert found.issuer.startswith("CN=Root,")
    assert found.serial_number == "4711"
    assert found.signature == "ECDSAWithSHA384"
    assert found.pem == made.pem.strip()
    assert found.all_cas


def test_names_are_escaped_and_unknown_types_are_hex() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'A, "B" + C'),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "#1"),
        ]
    )
    email = "1.2.840.113549.1.9.1=#0c0b" + b"a@b.example".hex()
    assert x509_text.go_name(name) == rf"CN=\#1,{email},O=A\, \"B\" \+ C"


def test_the_order_of_a_chain_does_not_make_another_upload() -> None:
    root = make_ca("Root")
    middle = make_ca("Middle", issuer=root)
    there, back = x509_text.describe(middle.pem + root.pem), x509_text.describe(root.pem + middle.pem)
    assert there.digest == back.digest
    assert there.serial_number == str(middle.cert.serial_number)


def test_pss_is_not_on_the_list() -> None:
    assert not x509_text.describe(make_ca("Pss", key="rsa2048", pss=True).pem).signature_known


@pytest.mark.parametrize("extra", ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_other_blocks_are_refused(extra: str) -> None:
    pem = make_ca("Root").pem + extra if extra else "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----"
    with pytest.raises(ApiError) as refused:
        x509_text.describe(pem)
    assert refused.value.code == 1470
