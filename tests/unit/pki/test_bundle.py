"""What is read as a certificate, and what is refused before anything is parsed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import CertificateRevocationListBuilder, load_pem_x509_csr

from apps.errors import Invalid
from apps.pki.bundle import MAX_BLOCKS, MAX_BYTES, BundleRefused, canonical_pem, read_bundle
from apps.pki.der import read_element
from apps.pki.findings import Severity
from apps.pki.private_keys import holds_private_key
from tests.certs import Made, make_ca, make_csr
from tests.private_keys import private_keys
from tests.unit.pki.conftest import Judge, finding, only
from tests.unit.pki.raw import armour, oid, tlv

DASHES = "-----"


def test_clean_pem_passes_without_a_note(judge: Judge, root: Made) -> None:
    bundle = read_bundle(root.pem)
    assert bundle.ders == (root.der,)
    assert bundle.notes == ()
    assert canonical_pem(root.der) == root.pem
    assert judge(root.pem).verdict == "accept"
    assert read_bundle(root.pem.rstrip("\n")).notes == ()


def decorated(pem: str) -> dict[str, tuple[bytes | str, str]]:
    """Every decoration that is accepted, with the note that it earns."""
    body = "".join(pem.splitlines()[1:-1])
    return {
        "CRLF": (pem.replace("\n", "\r\n"), "line_endings"),
        "CR only": (pem.replace("\n", "\r"), "line_endings"),
        "one line": (pem.replace("\n", ""), "layout"),
        "one line, blanks": (pem.replace("\n", " "), "layout"),
        "indented": ("".join(f"    {line}\n" for line in pem.splitlines()), "layout"),
        "long lines": (f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", "layout"),
        "trailing NULs": (pem.encode() + b"\0" * 8, "layout"),
        "UTF-8 BOM": (b"\xef\xbb\xbf" + pem.encode(), "byte_order_mark"),
        "BOM in text": ("\ufeff" + pem, "byte_order_mark"),
        "UTF-16 LE": (b"\xff\xfe" + pem.encode("utf-16-le"), "encoding"),
        "UTF-16 BE": (b"\xfe\xff" + pem.encode("utf-16-be"), "encoding"),
        "text dump": ("Certificate:\n  X509v3 Private Key Usage Period:\n" + pem, "extra_text"),
        "trailing text": (pem + "Regards, Ines\n", "extra_text"),
        "not UTF-8 around": (b"caf\xe9\n" + pem.encode(), "extra_text"),
        "old label": (pem.replace("CERTIFICATE", "X509 CERTIFICATE"), "old_label"),
    }


@pytest.mark.parametrize("case", decorated(""))
def test_decorated_text_becomes_the_canonical_form(case: str, judge: Judge, root: Made) -> None:
    data, check = decorated(root.pem)[case]
    inspection = judge(data)
    assert inspection.verdict == "accept"
    assert inspection.certificate is not None
    assert (inspection.certificate.pem, inspection.certificate.fingerprint) == (root.pem, root.fingerprint)
    assert check in only(inspection, Severity.NOTE)


def test_der_is_read_when_it_spans_the_whole_file(judge: Judge, root: Made) -> None:
    inspection = judge(root.der)
    assert inspection.verdict == "accept"
    assert inspection.certificate is not None
    assert inspection.certificate.pem == root.pem
    assert "der" in only(inspection, Severity.NOTE)


def broken(pem: str, der: bytes) -> dict[str, tuple[bytes | str, str]]:
    """Every upload that holds no readable certificate, with the check that refuses it."""
    return {
        "empty": ("", "empty"),
        "blank": (" \r\n\t", "empty"),
        "NULs": (b"\0" * 40, "empty"),
        "random": (bytes(range(1, 48)), "no_certificate"),
        "prose": ("nothing like a certificate", "no_certificate"),
        "too large": (b"A" * (MAX_BYTES + 1), "size"),
        "too large in UTF-8": ("é" * (MAX_BYTES // 2 + 1), "size"),
        "dashes": ("-" * MAX_BYTES, "no_certificate"),
        "many BEGIN": ("-----BEGIN " * 5000, "blocks"),
        "eleven blocks": (pem * 11, "blocks"),
        "UTF-16 without mark": (pem.encode("utf-16-le"), "encoding"),
        "UTF-16 cut": (b"\xff\xfe" + pem.encode("utf-16-le")[:-1], "encoding"),
        "literal newlines": (pem.replace("\n", "\\n"), "literal_newlines"),
        "literal newlines, no end": (pem.replace("\n", "\\n").replace("-----END", "--END"), "literal_newlines"),
        "mail quotes": ("".join(f"> {line}\n" for line in pem.splitlines()), "quoted"),
        "typographic dashes": (pem.replace("-----", "\u2014\u2014-"), "dashes"),
        "typographic END": (pem.replace("-----END", "\u2013\u2013END"), "dashes"),
        "no END": (pem.split("-----END")[0], "end_line"),
        "other END": (pem.replace("END CERTIFICATE", "END X509 CRL"), "end_line"),
        "no BEGIN": ("".join(pem.partition("\n")[2]), "begin_line"),
        "bare base64": ("".join(pem.splitlines()[1:-1]), "begin_line"),
        "bare base64 of nothing known": (base64.b64encode(b"hello there").decode(), "no_certificate"),
        "four dashes": (pem.replace("-----BEGIN", "----BEGIN"), "begin_line"),
        "small letters": (pem.lower(), "begin_line"),
        "BEGIN cut": ("-----BEGIN CERTIFICATE\n" + pem, "begin_line"),
        "changed character": (pem.replace("\nMII", "\n!II"), "base64"),
        "empty block": ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "base64"),
        "headers": (pem.replace("-----\nM", "-----\nComment: x\n\nM", 1), "headers"),
        "DER and one byte": (der + b"\0", "not_der"),
        "DER cut": (der[:-1], "not_der"),
        "block and one byte": (armour(der + b"\0"), "not_der"),
        "no DER inside": (armour(b"hello"), "not_der"),
        "BER, indefinite length": (b"\x30\x80" + der[4:] + b"\0\0", "not_der"),
        "trusted": (pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "trusted_certificate"),
        "CRL label": (pem.replace("CERTIFICATE", "X509 CRL"), "revocation_list"),
        "request label": (pem.replace("CERTIFICATE", "NEW CERTIFICATE REQUEST"), "certificate_request"),
        "public key label": (pem.replace("CERTIFICATE", "RSA PUBLIC KEY"), "public_key"),
        "SSH2": (pem.replace("CERTIFICATE", "SSH2 PUBLIC KEY"), "ssh"),
        "SSH line": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA host", "ssh"),
        "SSH certificate": ("ecdsa-sha2-nistp256-cert-v01@openssh.com AAAA", "ssh"),
        "PGP": (pem.replace("CERTIFICATE", "PGP PUBLIC KEY BLOCK"), "pgp"),
        "unknown label": (pem.replace("CERTIFICATE", "SECRET CANARY"), "label"),
        "HTML": ("\n<!DOCTYPE html><html><body>403</body></html>", "html"),
        "XML": ("<note>hello</note>", "no_certificate"),
        "zip": (b"PK\x03\x04" + b"x" * 40, "archive"),
        "gzip": (b"\x1f\x8b\x08" + b"x" * 40, "archive"),
    }


@pytest.mark.parametrize("case", broken("", b""))
def test_refused_with_a_name_and_advice(case: str, judge: Judge, root: Made) -> None:
    data, check = broken(root.pem, root.der)[case]
    inspection = judge(data)
    assert (inspection.verdict, inspection.certificates) == ("refuse", ())
    assert only(inspection, Severity.REFUSE)[0] == check
    assert all(found.detail.endswith((".", "FILE")) or "openssl" in found.detail for found in inspection.findings)


def test_containers_and_other_structures_are_named(judge: Judge, root: Made) -> None:
    csr = load_pem_x509_csr(make_csr().encode()).public_bytes(serialization.Encoding.DER)
    issued = root.cert.not_valid_before_utc
    crl = CertificateRevocationListBuilder().issuer_name(root.cert.subject).last_update(issued)
    crl_der = crl.next_update(root.cert.not_valid_after_utc).sign(root.key, hashes.SHA256())
    spki = root.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    cases = {
        "certificate_request": csr,
        "revocation_list": crl_der.public_bytes(serialization.Encoding.DER),
        "public_key": spki,
    }
    for check, der in cases.items():
        assert only(judge(der), Severity.REFUSE) == [check]
        assert only(judge(armour(der)), Severity.REFUSE) == [check], "also behind a certificate's label"
    assert only(judge(make_csr()), Severity.REFUSE) == ["certificate_request"]
    assert only(judge(tlv(0x30, tlv(2, b"\0" + b"\x99" * 128), tlv(2, b"\3"))), Severity.REFUSE) == ["public_key"]


def test_pkcs7_is_unpacked_in_every_form(judge: Judge, root: Made, rsa_root: Made) -> None:
    der = pkcs7.serialize_certificates([root.cert], serialization.Encoding.DER)
    for form in (der, armour(der, "PKCS7"), armour(der, "CMS"), armour(der, "PKCS #7 SIGNED DATA"), armour(der)):
        inspection = judge(form)
        assert (inspection.verdict, only(inspection, Severity.NOTE)) == ("accept", ["unpacked"])
        assert inspection.certificate is not None
        assert (inspection.certificate.pem, inspection.certificate.der) == (root.pem, root.der)
    both = judge(pkcs7.serialize_certificates([root.cert, rsa_root.cert], serialization.Encoding.DER))
    assert {facts.fingerprint for facts in both.certificates} == {root.fingerprint, rsa_root.fingerprint}
    assert (both.verdict, both.certificate) == ("caution", None)
    mixed = judge(rsa_root.pem + armour(der, "PKCS7"))
    assert [facts.fingerprint for facts in mixed.certificates] == [rsa_root.fingerprint, root.fingerprint]


def test_pkcs7_in_ber_is_unpacked(judge: Judge, root: Made) -> None:
    der = pkcs7.serialize_certificates([root.cert], serialization.Encoding.DER)
    outer = read_element(der)
    ber = b"\x30\x80" + outer.value + b"\0\0"
    assert judge(ber).certificate == judge(root.der).certificate
    assert judge(armour(ber, "PKCS7")).certificate == judge(root.der).certificate


def test_pkcs7_without_certificates_is_refused(judge: Judge) -> None:
    encrypted = tlv(0x30, oid("1.2.840.113549.1.7.3"), tlv(0xA0, tlv(0x30)))
    for form in (encrypted, armour(encrypted, "PKCS7"), b"\x30\x80\x06"):
        assert only(judge(form), Severity.REFUSE) == ["pkcs7"]


def test_more_certificates_than_people_can_choose_from_are_refused(judge: Judge) -> None:
    many = [make_ca(f"Root {number}").cert for number in range(MAX_BLOCKS + 1)]
    der = pkcs7.serialize_certificates(many, serialization.Encoding.DER)
    assert only(judge(der), Severity.REFUSE) == ["blocks"]
    assert only(judge(armour(der, "PKCS7")), Severity.REFUSE) == ["blocks"]
    assert len(judge(pkcs7.serialize_certificates(many[:-1], serialization.Encoding.DER)).certificates) == MAX_BLOCKS


def test_every_bad_block_is_named_at_once(judge: Judge, root: Made) -> None:
    inspection = judge(root.pem + make_csr() + root.pem.replace("\nMII", "\n!II"))
    assert [(found.check, found.position) for found in inspection.findings] == [
        ("certificate_request", 2),
        ("base64", 3),
    ]


def test_a_refusal_is_an_error_fit_for_a_form() -> None:
    with pytest.raises(BundleRefused) as refused:
        read_bundle("")
    assert isinstance(refused.value, Invalid)
    assert (refused.value.code, refused.value.field) == ("empty", "pem")
    expected = "There is nothing to read. Paste the CA certificate, or choose its file."
    assert refused.value.details == {"pem": [expected]}


def test_a_private_key_of_any_form_ends_the_reading(judge: Judge) -> None:
    for case, key in private_keys().items():
        inspection = judge(key)
        assert only(inspection, Severity.REFUSE) == ["private_key"], case
        assert (len(inspection.findings), inspection.certificates) == (1, ()), case


def test_a_key_in_a_field_for_text_is_recognised(root: Made) -> None:
    for case, key in private_keys().items():
        text = key if isinstance(key, str) else key.decode("latin-1")
        assert holds_private_key(text), case
    assert holds_private_key("0\0" * 9 + "0\3\2\1\1"), "the tenth of several structures"
    for harmless in (
        "",
        "0\0" * 20,
        "Partners Root G2",
        "0 upper limit",
        "We rotate the private key in May.",
        root.pem,
    ):
        assert not holds_private_key(harmless)


@pytest.mark.parametrize("order", ["key first", "key last"])
def test_a_key_beside_a_certificate_refuses_the_whole_upload(order: str, judge: Judge, root: Made) -> None:
    for case, key in private_keys().items():
        if case.startswith("UTF-16"):
            continue  # cannot stand beside text in another encoding
        key = key.encode() if isinstance(key, str) else key
        if b"-----" not in key and key[:1] in {b"\x30", b"\xfe"}:
            parts = [key, root.der] if order == "key first" else [root.der, key]
            if case in {"PKCS#8 DER cut off", "Java keystore"} and order == "key first":
                parts = [key]
        else:
            parts = [key, root.pem.encode()] if order == "key first" else [root.pem.encode(), key]
        assert only(judge(b"\n".join(parts) if b"-----" in key else b"".join(parts)), Severity.REFUSE) == [
            "private_key"
        ], case


def test_no_message_repeats_a_byte_of_a_refused_upload(judge: Judge, root: Made) -> None:
    canary = "SECRETCANARY"
    uploads = (
        root.pem + root.key_pem.replace("-----\n", f"-----\n{canary}", 1),
        f"-----BEGIN {canary}-----\n{canary}\n-----END {canary}-----\n",
        f"-----BEGIN CERTIFICATE-----\n{canary}!\n-----END CERTIFICATE-----\n",
        armour(canary.encode()),
        canary,
    )
    for upload in uploads:
        inspection = judge(upload)
        assert inspection.verdict == "refuse"
        assert canary not in repr(inspection)
        with pytest.raises(BundleRefused) as refused:
            read_bundle(upload)
        assert canary not in repr(refused.value.details)
        assert refused.value.__context__ is None or canary not in repr(refused.value.__context__)


def test_a_private_key_message_tells_what_to_do(judge: Judge, root: Made) -> None:
    told = finding(judge(root.key_pem), "private_key")
    assert "exposed" in told.detail
    assert "nothing of it was stored" in told.detail
